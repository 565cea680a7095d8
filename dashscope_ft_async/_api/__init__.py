"""Requests to the service: each endpoint, the one request runner, and what they stand on."""

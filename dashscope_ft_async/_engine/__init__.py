"""Waiting: the scheduler of all waits of a client, and what it stands on."""

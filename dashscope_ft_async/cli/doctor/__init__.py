"""The command `doctor`: `probe` looks at the way to the service, `checks` says what it means, pure, and
`command` tells.
"""

"""How a client connects: connectors, and the checks of what users give in their place."""

from __future__ import annotations

import copy
import inspect
import netrc
import os
import socket
import ssl as ssl_module
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import aiohttp

from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models.limits import CONNECTIONS, DEAD_PEER, DNS_TTL, KEEP_ALIVE

Ssl: TypeAlias = ssl_module.SSLContext | aiohttp.Fingerprint


def make_connector() -> aiohttp.TCPConnector:
    """The connector of an owned session."""
    options: dict[str, Any] = {}
    # aiohttp 3.11 takes no socket options; there only the timeout finds dead connections.
    if "socket_factory" in inspect.signature(aiohttp.TCPConnector).parameters:
        options["socket_factory"] = _probed_socket
    return aiohttp.TCPConnector(
        limit=CONNECTIONS, ttl_dns_cache=DNS_TTL, keepalive_timeout=KEEP_ALIVE, **options
    )


def _probed_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket that notices when its peer is gone, since a pooled connection may die unnoticed."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _TCP_OPTIONS:
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


_TCP_OPTIONS = (
    ("TCP_KEEPIDLE", 20),  # seconds idle before the peer is probed
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", int(1000 * DEAD_PEER)),  # a request that the peer does not acknowledge
)


class _OneConnection(aiohttp.BaseConnector):
    """Makes one new connection as another connector would, and no second one: aiohttp sends a GET again
    when its connection is dropped."""

    def __init__(self, pool: aiohttp.BaseConnector) -> None:
        super().__init__(force_close=True)
        self._pool = pool
        self._used = False

    async def _create_connection(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        if self._used:
            raise aiohttp.ServerDisconnectedError
        self._used = True
        return await self._pool._create_connection(req, traces, timeout)  # noqa: SLF001 - of our base class


def with_one_connection(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """A copy of `session` with all its options, for one request on a connection of its own.

    `detach` must follow.
    """
    made = copy.copy(session)
    vars(made)["_connector"] = _OneConnection(cast("aiohttp.BaseConnector", session.connector))
    return made


def check_options(proxy: object, ssl: object, trace_configs: object) -> None:
    """Raise `ConfigurationError` for options that aiohttp would find wrong only at the first request."""
    # False would switch verification off.
    if ssl is not None and not isinstance(ssl, ssl_module.SSLContext | aiohttp.Fingerprint):
        raise ConfigurationError("ssl must be an ssl.SSLContext or an aiohttp.Fingerprint.")
    if _is_unverified(ssl):
        raise ConfigurationError("ssl must verify certificates and host names: load a private CA into it.")
    # The URL is not shown: it may hold a password.
    if proxy is not None and not (isinstance(proxy, str) and _is_http(proxy)):
        raise ConfigurationError("proxy must be the URL of an HTTP proxy, such as http://127.0.0.1:3128.")
    if trace_configs is not None and not (
        isinstance(trace_configs, Sequence)
        and all(isinstance(one, aiohttp.TraceConfig) for one in cast("Sequence[object]", trace_configs))
    ):
        raise ConfigurationError("trace_configs must be a list of aiohttp.TraceConfig.")


def _is_unverified(ssl: object) -> bool:
    """Whether connections would accept any certificate."""
    if isinstance(ssl, ssl_module.SSLContext):
        return ssl.verify_mode != ssl_module.CERT_REQUIRED or not ssl.check_hostname
    return ssl is False


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_borrowed(session: aiohttp.ClientSession, host: str) -> None:
    """Raise `ConfigurationError` for a session that cannot be used, or that would replace the API key."""
    if not isinstance(cast("object", session), aiohttp.ClientSession):
        raise ConfigurationError("session must be an aiohttp.ClientSession.")
    if session.closed:
        raise ConfigurationError("the borrowed aiohttp session is closed.")
    if _is_unverified(getattr(session.connector, "_ssl", None)):
        raise ConfigurationError("the borrowed session's connector does not verify certificates.")
    if session.auth is not None:
        raise ConfigurationError("the borrowed session has an auth of its own, which replaces the API key.")
    if session.trust_env and _netrc_has(host):
        raise ConfigurationError(
            f"the borrowed session trusts a netrc file that has an entry for {host}, "
            "which replaces the API key."
        )
    if getattr(session, "_base_url", None) is not None and aiohttp.__version__.startswith("3.11."):
        raise ConfigurationError("aiohttp 3.11 cannot send to us from a session with a base_url.")


def _netrc_has(host: str) -> bool:
    try:
        path = os.environ.get("NETRC") or Path.home() / (".netrc" if os.name == "posix" else "_netrc")
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, RuntimeError, netrc.NetrcParseError):  # RuntimeError: there is no home
        return False

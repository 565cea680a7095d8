"""The async session wrapper. The only door to aiohttp; it moves bytes and knows no jobs.

It adds the key and the base URL, keeps one timeout around headers *and* body, stops at the size limit,
follows no redirect, and turns every way an exchange can go wrong into one of our errors. Those errors
are raised outside the `except` that caught aiohttp's: aiohttp's exceptions and frames hold the request
headers, and so the key, and must not be reachable from ours.
"""

from __future__ import annotations

import asyncio
import inspect
import netrc
import os
import socket
import ssl as ssl_module
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp import http_exceptions

from dashscope_ft_async._api.config import Mask, Settings
from dashscope_ft_async._api.wire import BODY_LIMIT, HEADERS_READ, Request, Response, inflate, too_large
from dashscope_ft_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    ClientClosedError,
    ConfigurationError,
)
from dashscope_ft_async.models import redact, safe_text

Ssl: TypeAlias = ssl_module.SSLContext | aiohttp.Fingerprint

_CONNECT_TIMEOUT = 10.0
_SILENCE_TIMEOUT = 15.0
# Polls come up to 30 s (and jitter) apart: connections and names must outlive the gap.
_KEEP_ALIVE = 75.0
_DNS_TTL = 300
_CONNECTIONS = 100
_NOTHING: Mapping[str, str] = {}
_STREAMING = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
_JSON = {"Content-Type": "application/json"}
_TROUBLE = (
    APIError,
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    OSError,  # TimeoutError is one
    RuntimeError,  # a session or connector closed under the request
)


class Session:
    """One aiohttp session, borrowed or owned, and what every request needs.

    An owned one is made at the first request, inside the loop that sends it. A borrowed one is never
    closed, and its own time-outs, redirects and raise_for_status are overridden in each request.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        timeout: float,
        user_agent: str,
        borrowed: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: Ssl | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] | None = None,
    ) -> None:
        self._settings = settings
        self.closed = False
        """Whether `close` was called."""
        if borrowed is not None:
            _check_borrowed(borrowed, settings.host)
        _check_options(proxy, ssl, trace_configs)
        self._timeout = timeout
        # Before the whole time-out, or it could not be told that no connection was made.
        self._connect_timeout = min(_CONNECT_TIMEOUT, 0.9 * timeout)
        self._limits = self._limited(min(_SILENCE_TIMEOUT, timeout))
        self._user_agent = user_agent
        self._borrowed = borrowed
        self._owned: aiohttp.ClientSession | None = None
        self._proxy = proxy
        self._ssl = ssl
        self._trace_configs = list(trace_configs or ())
        self._loop: asyncio.AbstractEventLoop | None = getattr(borrowed, "_loop", None)
        self._pid = os.getpid()

    @property
    def shown_url(self) -> str:
        """The base URL without anything that looks like a key, and whether the session is closed."""
        url = redact(self._masked(self._settings.base_url))  # some gateways want a key in the path
        return f"{url}{' closed' if self.closed else ''}"

    def __repr__(self) -> str:
        return f"<Session {self.shown_url}>"

    def check_usable(self) -> None:
        """Raise `ClientClosedError` after closing, else what `check_home` raises."""
        if self.closed:
            raise ClientClosedError("the client is closed.")
        self.check_home()
        if self._borrowed is not None and self._borrowed.closed:
            raise ClientClosedError("the borrowed aiohttp session is closed.")

    def check_home(self) -> None:
        """Raise `ConfigurationError` in another event loop or process than the first use's."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise ConfigurationError(
                "this client belongs to another event loop: make one inside each asyncio.run()."
            )
        if self._pid != os.getpid():
            raise ConfigurationError("this client belongs to another process: make one after the fork.")

    async def send(self, request: Request, *, fresh: bool = False) -> Response:
        """One exchange: the whole answer, or an error; cancelling leaves no request in flight.

        Raises:
            APIConnectionError, APITimeoutError: no whole answer.
            APIResponseValidationError: a body too large, or broken compression.
            ClientClosedError, ConfigurationError: as `check_usable` says.
        """
        self.check_usable()
        failure: APIError
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._exchange(request)
        except asyncio.CancelledError as cancelled:
            # A time-out around us chains it, and the frames it went through hold the request's headers.
            raise cancelled.with_traceback(None) from None
        except _TROUBLE as error:
            failure = self._told(error)
        except AttributeError as error:
            # aiohttp 3.11 tries a dropped request again on the connector that closing has taken away.
            if not self.closed:
                raise
            failure = self._broken(error)
        else:
            return response
        if self.closed:
            raise ClientClosedError("the client was closed during the request.")
        raise failure

    async def stream(self, request: Request, silence: float) -> AsyncGenerator[bytes, None]:
        """The pieces of an event stream, as they come; the end is the service's.

        `silence` is the longest time between two pieces, in seconds; the head comes within `timeout`.

        Raises:
            APIError: as `send`; an answer that is no event stream is an `APIResponseValidationError`.
        """
        self.check_usable()
        failure: APIError
        try:
            async with aclosing(self._pieces(request, silence)) as pieces:
                async for piece in pieces:
                    yield piece
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None) from None
        except _TROUBLE as error:
            failure = self._told(error)
        else:
            return
        if self.closed:
            raise ClientClosedError("the client was closed during the request.")
        raise failure

    async def _pieces(self, request: Request, silence: float) -> AsyncGenerator[bytes, None]:
        async with asyncio.timeout(self._timeout):
            response = await self._head(request, _STREAMING, self._limited(silence))
        try:
            _check_streams(response)
            mask = Mask(self._settings.api_key)
            async for piece in response.content.iter_any():
                yield mask.feed(piece)
            yield mask.end()
        finally:
            response.close()

    async def _exchange(self, request: Request) -> Response:
        headers = _NOTHING if request.body is None else _JSON
        async with await self._head(request, headers, self._limits) as response:
            body = await self._body(response)
            found = response.headers
            read = {name: self._masked(found[name]) for name in HEADERS_READ if name in found}
            return Response(response.status, read, body, time.time())

    async def _head(
        self, request: Request, headers: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The answer as far as its headers."""
        return await self._session().request(
            request.method,
            self._settings.base_url + request.path,
            headers={**self._headers(), **headers},
            data=request.body,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            proxy=self._proxy,
            ssl=True if self._ssl is None else self._ssl,
            timeout=limits,
        )

    def _limited(self, silence: float) -> aiohttp.ClientTimeout:
        # No total: ours is around the whole exchange.
        return aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout, sock_read=silence)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise too_large()
        encoding = self._masked(response.headers.get("Content-Encoding", "identity"))
        plain = (
            bytes(body) if encoding.strip().lower() in ("", "identity") else inflate(bytes(body), encoding)
        )
        # Whatever echoes the key (a debugging proxy does) shall not carry it into a snapshot or an error.
        return self._settings.api_key.struck_from(plain)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self._settings.api_key.reveal()}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": self._user_agent,
        }
        if self._settings.workspace is not None:
            headers["X-DashScope-WorkSpace"] = self._settings.workspace
        return headers

    def _session(self) -> aiohttp.ClientSession:
        if self._borrowed is not None:
            return self._borrowed
        if self._owned is None:
            self._owned = aiohttp.ClientSession(
                connector=_connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=self._trace_configs,
            )
        return self._owned

    def _told(self, error: Exception) -> APIError:
        """What went wrong, as an error of ours."""
        if isinstance(error, APIError):
            return error.with_traceback(
                None
            )  # its frames hold the answer as it came, an echoed key and all
        return self._timed_out(error) if isinstance(error, TimeoutError) else self._broken(error)

    def _timed_out(self, error: TimeoutError) -> APITimeoutError:
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        stage, limit = "no whole answer", self._timeout
        if connecting:
            stage, limit = "no connection", self._connect_timeout
        elif isinstance(error, aiohttp.SocketTimeoutError):
            stage, limit = "nothing came", min(_SILENCE_TIMEOUT, limit)
        return APITimeoutError(f"{stage} within {limit:g} s", never_connected=connecting)

    def _broken(self, error: Exception) -> APIConnectionError:
        never_connected = isinstance(
            error,
            aiohttp.ClientConnectorError
            | aiohttp.ClientHttpProxyError
            | aiohttp.InvalidURL
            | aiohttp.ServerFingerprintMismatch,
        )
        # Of an error that carries an answer only number and phrase are told: the rest holds our headers.
        if isinstance(error, aiohttp.ClientResponseError):
            text = f"HTTP {error.status} {error.message}"
        elif isinstance(error, aiohttp.ServerFingerprintMismatch):
            text = f"the certificate of {error.host} is not the one that ssl= names"
        else:
            text = str(error)
        return APIConnectionError(
            safe_text(self._masked(f"{type(error).__name__}: {text}"), 500), never_connected=never_connected
        )

    def _masked(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogateescape")  # as aiohttp decodes headers
        return self._settings.api_key.struck_from(raw).decode("utf-8", "surrogateescape")

    async def close(self) -> None:
        """Close the owned session; requests under way fail with `ClientClosedError`. Idempotent."""
        self.closed = True
        if self._owned is not None:
            await self._owned.close()


def _check_streams(response: aiohttp.ClientResponse) -> None:
    encoded = response.headers.get("Content-Encoding", "identity").strip().lower()
    if response.status != 200 or response.content_type != "text/event-stream" or encoded != "identity":
        raise APIResponseValidationError("the answer is no event stream", status=response.status)


def _connector() -> aiohttp.TCPConnector:
    options: dict[str, Any] = {}
    # aiohttp 3.11 has no place for socket options; there the silence timeout alone finds dead peers.
    if "socket_factory" in inspect.signature(aiohttp.TCPConnector).parameters:
        options["socket_factory"] = _kept_alive_socket
    return aiohttp.TCPConnector(
        limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE, ttl_dns_cache=_DNS_TTL, **options
    )


def _kept_alive_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket whose peer is probed while idle: a pooled connection may die without a word."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _check_options(proxy: object, ssl: object, trace_configs: object) -> None:
    # False would switch verification off, and aiohttp finds the others wrong only at the first request.
    if ssl is not None and not isinstance(ssl, ssl_module.SSLContext | aiohttp.Fingerprint):
        raise ConfigurationError("ssl must be an ssl.SSLContext or an aiohttp.Fingerprint.")
    if _is_blind(ssl):
        raise ConfigurationError("ssl must verify certificates and host names: load a private CA into it.")
    # The URL is not shown: it may hold a password.
    if proxy is not None and not (isinstance(proxy, str) and _is_http(proxy)):
        raise ConfigurationError("proxy must be the URL of an HTTP proxy, such as http://127.0.0.1:3128.")
    if trace_configs is not None and not (
        isinstance(trace_configs, Sequence)
        and all(isinstance(one, aiohttp.TraceConfig) for one in cast("Sequence[object]", trace_configs))
    ):
        raise ConfigurationError("trace_configs must be a list of aiohttp.TraceConfig.")


def _is_blind(ssl: object) -> bool:
    """Whether connections made so would take any certificate."""
    if isinstance(ssl, ssl_module.SSLContext):
        return ssl.verify_mode != ssl_module.CERT_REQUIRED or not ssl.check_hostname
    return ssl is False


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_borrowed(session: aiohttp.ClientSession, host: str) -> None:
    if not isinstance(cast("object", session), aiohttp.ClientSession):
        raise ConfigurationError("session must be an aiohttp.ClientSession.")
    if session.closed:
        raise ConfigurationError("the borrowed aiohttp session is closed.")
    if _is_blind(getattr(session.connector, "_ssl", None)):
        raise ConfigurationError("the borrowed session's connector does not verify certificates.")
    if session.auth is not None:
        raise ConfigurationError(
            "the borrowed session has an auth of its own, which takes the place of the API key."
        )
    if session.trust_env and _netrc_has(host):
        raise ConfigurationError(
            f"the borrowed session trusts a netrc file that has an entry for {host}, "
            "which takes the place of the API key."
        )
    if getattr(session, "_base_url", None) is not None and aiohttp.__version__.startswith("3.11."):
        raise ConfigurationError("aiohttp 3.11 cannot send to us from a session with a base_url.")


def _netrc_has(host: str) -> bool:
    path = os.environ.get("NETRC") or Path.home() / (".netrc" if os.name == "posix" else "_netrc")
    try:
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False

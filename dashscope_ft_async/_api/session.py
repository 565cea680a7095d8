"""The HTTP session of a client. It sends bytes and receives bytes, and knows nothing about jobs.

It adds the API key and the base URL, sets one timeout over headers *and* body, stops at the size limit,
follows no redirect, and turns every failed exchange into one of our errors. Those errors are raised outside
the `except` block of aiohttp's: aiohttp's exceptions and frames hold the request headers, and so the key,
and must not be reachable from ours.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import ssl as ssl_module
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from math import inf
from typing import Any

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from dashscope_ft_async._api.config import Mask, Settings
from dashscope_ft_async._api.connections import (
    Ssl,
    check_borrowed,
    check_options,
    make_connector,
    with_one_connection,
)
from dashscope_ft_async._api.deadlines import Deadlines, TimeLimit
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
from dashscope_ft_async.models.limits import CONNECT_TIMEOUT, HEADER_COUNT_LIMIT, HEADER_SIZE_LIMIT

_STREAM_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
_JSON_HEADERS = {"Content-Type": "application/json"}
_FAILURES = (
    APIError,
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    OSError,  # TimeoutError is one
    RuntimeError,  # a session or connector that was closed during the request
)


class Session:
    """One aiohttp session, borrowed or owned, and what every request needs.

    An owned one is made for the first request, in the event loop that sends it. A borrowed one is never
    closed, and its timeouts, redirects and raise_for_status are overridden in each request.
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
            check_borrowed(borrowed, settings.host)
        check_options(proxy, ssl, trace_configs)
        self._user_agent = user_agent
        self._deadlines = Deadlines(timeout)
        # Shorter than the whole timeout, or it would not be known that no connection was made.
        self._connect_timeout = min(CONNECT_TIMEOUT, 0.9 * timeout)
        self._borrowed = borrowed
        self._owned: aiohttp.ClientSession | None = None
        self._closing: asyncio.Future[None] | None = None
        self._streams: set[aiohttp.ClientResponse] = set()
        self._trace_configs = list(trace_configs or ())
        self._loop: asyncio.AbstractEventLoop | None = getattr(borrowed, "_loop", None)
        self._pid = os.getpid()
        # In a borrowed session `connect` includes the wait for a free connection, which may be long.
        self._timeouts = self._client_timeout(None if borrowed else self._connect_timeout)
        self._fresh_timeouts = self._client_timeout(self._connect_timeout)
        self._options: dict[str, Any] = {
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": False,
            "proxy": proxy,
            "ssl": True if ssl is None else ssl,
            **_HEADER_LIMITS,
        }

    @property
    def shown_url(self) -> str:
        """The base URL without anything that looks like a key, and whether the session is closed."""
        # Some gateways want a key in the path.
        url = redact(self._settings.api_key.masked_in(self._settings.base_url))
        return f"{url}{' closed' if self.closed else ''}"

    def __repr__(self) -> str:
        return f"<Session {self.shown_url}>"

    def check_usable(self) -> None:
        """Raise `ClientClosedError` after closing, else what `check_owner` raises."""
        if self.closed:
            raise ClientClosedError("the client is closed.")
        self.check_owner()
        if self._borrowed is not None and self._borrowed.closed:
            raise ClientClosedError("the borrowed aiohttp session is closed.")

    def check_owner(self) -> None:
        """Raise `ConfigurationError` in another event loop or process than that of the first use."""
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
        """Make one exchange: return the whole answer, or raise. Cancelling leaves no request in flight.

        `fresh` makes a new connection for it, so that nothing below sends it a second time, and so that a
        failure before it was sent is known as one.

        Raises:
            APIConnectionError, APITimeoutError: no whole answer came.
            APIResponseValidationError: the body is too large, or its compression is broken.
            ClientClosedError, ConfigurationError: as `check_usable`.
        """
        self.check_usable()
        failure: APIError
        try:
            with TimeLimit(self._deadlines):
                return await self._exchange_on_new(request) if fresh else await self._exchange(request)
        except asyncio.CancelledError as cancelled:
            # A timeout around us chains it, and the frames it went through hold the request headers.
            raise cancelled.with_traceback(None) from None
        except _FAILURES as error:
            failure = self._translated(error)
        if self.closed:
            raise ClientClosedError("the client was closed during the request.")
        raise failure

    async def stream(self, request: Request, silence: float) -> AsyncGenerator[bytes, None]:
        """The pieces of an event stream, as they come, until the service ends it.

        `silence` is the longest time in seconds between two pieces; the headers come within `timeout`.

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
        except _FAILURES as error:
            failure = self._translated(error, silence)
        else:
            return
        if self.closed:
            raise ClientClosedError("the client was closed during the request.")
        raise failure

    # The frames of the next functions hold the answer as it came, perhaps with an echoed key. They are
    # apart from `send` and `stream`, whose frames are in the tracebacks of our errors.

    async def _exchange_on_new(self, request: Request) -> Response:
        session = with_one_connection(self._session())
        try:
            return await self._read(await self._request(session, request, self._fresh_timeouts))
        finally:
            session.detach()

    async def _exchange(self, request: Request) -> Response:
        return await self._read(await self._request(self._session(), request, self._timeouts))

    async def _read(self, response: aiohttp.ClientResponse) -> Response:
        try:
            body = await self._read_body(response)
            found, masked = response.headers, self._settings.api_key.masked_in
            read = {name: masked(found[name]) for name in HEADERS_READ if name in found}
            return Response(response.status, read, body, time.time())
        finally:
            response.close()  # after a whole answer the connection has gone back to the pool already

    async def _pieces(self, request: Request, silence: float) -> AsyncGenerator[bytes, None]:
        with TimeLimit(self._deadlines):
            timeouts = self._client_timeout(None, silence)
            response = await self._request(self._session(), request, timeouts, _STREAM_HEADERS)
        self._streams.add(response)
        try:
            if (
                response.status != 200
                or response.content_type != "text/event-stream"
                or response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
            ):
                raise APIResponseValidationError("the answer is no event stream", status=response.status)
            mask = Mask(self._settings.api_key)
            async for piece in response.content.iter_any():
                yield mask.feed(piece)
            yield mask.end()
        finally:
            self._streams.discard(response)
            response.close()

    async def _request(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        timeouts: aiohttp.ClientTimeout,
        headers: dict[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer as far as its headers."""
        if request.body is not None:
            headers = _JSON_HEADERS
        if self._borrowed is not None:  # an owned session has them as its defaults
            headers = self._headers() if headers is None else {**self._headers(), **headers}
        url = URL(self._settings.base_url + request.path, encoded=True)
        try:
            return await session.request(
                request.method, url, headers=headers, data=request.body, timeout=timeouts, **self._options
            )
        except KeyError as error:  # the address was removed from the cache while aiohttp waited for it
            raise aiohttp.ClientConnectionError(f"KeyError: {error}") from None
        except AttributeError:
            if not self.closed:
                raise
            # aiohttp 3.11 retries a dropped request on the connector that closing has taken away.
            raise aiohttp.ClientConnectionError("the session was closed") from None

    def _headers(self) -> dict[str, str]:
        # Not an attribute: a log may show those of a client.
        headers = {
            "Authorization": f"Bearer {self._settings.api_key.reveal()}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": self._user_agent,
        }
        if self._settings.workspace is not None:
            headers["X-DashScope-WorkSpace"] = self._settings.workspace
        return headers

    def _client_timeout(self, connect: float | None, silence: float | None = None) -> aiohttp.ClientTimeout:
        # `connect` includes the name lookup. The total is limited by `TimeLimit`. aiohttp would round times
        # of 5 s and more up to whole seconds.
        return aiohttp.ClientTimeout(
            connect=connect, sock_connect=self._connect_timeout, sock_read=silence, ceil_threshold=inf
        )

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        content = response.content
        body = await content.readany()
        if not content.at_eof():  # most answers come in one piece, which need not be copied
            pieces, size = [body], len(body)
            while piece := await content.readany():
                pieces.append(piece)
                size += len(piece)
                if size > BODY_LIMIT:
                    raise too_large()
            body = b"".join(pieces)
        if len(body) > BODY_LIMIT:
            raise too_large()
        key, encoding = self._settings.api_key, response.headers.get("Content-Encoding")
        if encoding is not None and (encoding := key.masked_in(encoding).strip().lower()) != "identity":
            body = inflate(body, encoding) if encoding else body
        # A server that echoes the key (a debugging proxy does) must not put it into a snapshot or an error.
        return key.masked_in_bytes(body)

    def _session(self) -> aiohttp.ClientSession:
        if self._borrowed is not None:
            return self._borrowed
        if self._owned is None:
            self._owned = aiohttp.ClientSession(
                connector=make_connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers(),
                trace_configs=self._trace_configs,
            )
        return self._owned

    # --- failures -----------------------------------------------------------------------------------------

    def _translated(self, error: Exception, silence: float | None = None) -> APIError:
        """A failure as one of our errors; `silence` is the limit between two pieces of a stream."""
        if isinstance(error, APIError):
            error.__context__ = None  # its frames hold the answer, perhaps with an echoed key
            return error.with_traceback(None)
        self._forget_addresses()
        never_connected = isinstance(error, _NEVER_CONNECTED)
        if not isinstance(error, TimeoutError):
            text = safe_text(self._settings.api_key.masked_in(_described(error)), 500)
            return APIConnectionError(text, never_connected=never_connected)
        if never_connected:
            text = f"no connection within {self._connect_timeout:g} s"
        elif silence is not None and isinstance(error, aiohttp.SocketTimeoutError):
            text = f"nothing was received within {silence:g} s"
        else:
            text = f"no complete answer within {self._deadlines.seconds:g} s"
        return APITimeoutError(text, never_connected=never_connected)

    def _forget_addresses(self) -> None:
        """Resolve names anew after a failure: the address behind a name may have changed."""
        session = self._borrowed or self._owned
        connector = None if session is None else session.connector
        if isinstance(connector, aiohttp.TCPConnector):
            connector.clear_dns_cache()

    async def close(self) -> None:
        """Close the owned session; requests in flight fail with `ClientClosedError`. May be called again.

        If the caller is cancelled meanwhile, even repeatedly, the session is closed all the same.
        """
        self.closed = True
        self._deadlines.close()
        for response in tuple(self._streams):
            response.close()
        if self._owned is None:
            return
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._owned.close())
        cancelled: asyncio.CancelledError | None = None
        while not self._closing.done():
            try:
                await asyncio.wait({self._closing})
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled


_LIMITS = {"max_line_size": HEADER_SIZE_LIMIT, "max_field_size": HEADER_SIZE_LIMIT}
_LIMITS["max_headers"] = HEADER_COUNT_LIMIT
_KNOWN = inspect.signature(aiohttp.ClientSession).parameters
_HEADER_LIMITS = {name: limit for name, limit in _LIMITS.items() if name in _KNOWN}
"""Options of a request; older versions of aiohttp lack some."""
_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ServerFingerprintMismatch,
)


_TEXTS: dict[type[Exception], str] = {
    aiohttp.ClientHttpProxyError: "the proxy refused to connect: HTTP {0.status} {0.message}",
    aiohttp.ClientResponseError: "the answer is not valid HTTP, or its headers are too large",
    http_exceptions.HttpProcessingError: "the answer is not valid HTTP, or its headers are too large",
    aiohttp.ServerFingerprintMismatch: "the certificate of {0.host} is not the one that ssl= names",
    aiohttp.ClientConnectorCertificateError: "the certificate of {0.host} is not accepted: {1}",
    aiohttp.ClientConnectorSSLError: "cannot make a TLS connection to {0.host}:{0.port}: {1}",
    aiohttp.ClientConnectorDNSError: "cannot resolve the host name {0.host}: {1}",
    aiohttp.ClientProxyConnectionError: "cannot connect to the proxy {0.host}:{0.port}: {1}",
    aiohttp.ClientConnectorError: "cannot connect to {0.host}:{0.port}: {1}",
    aiohttp.ServerDisconnectedError: "the server closed the connection without an answer",
    aiohttp.ClientPayloadError: "the connection was closed in the middle of the answer",
    OSError: "the connection was lost: {1}",
    Exception: "{0.__class__.__name__}: {0}",
}
"""What failed, in a few literal words; the first class that fits counts. The text of an answer, which may
hold our headers, is never shown."""


def _described(error: Exception) -> str:
    text = next(text for kind, text in _TEXTS.items() if isinstance(error, kind))
    return text.format(error, _reason(error))


def _reason(error: Exception) -> str:
    """The operating system's or TLS library's reason."""
    error = getattr(error, "certificate_error", getattr(error, "os_error", error))
    if isinstance(error, ssl_module.SSLCertVerificationError):
        text = error.verify_message.rstrip(".")
    elif isinstance(error, ssl_module.SSLError):  # its errno is no errno
        text = (error.reason or "the handshake failed").replace("_", " ").lower()
    elif isinstance(error, OSError) and error.errno and error.errno > 0:
        text = os.strerror(error.errno)
    else:
        text = str(getattr(error, "strerror", None) or error)
    return text[:1].lower() + text[1:]

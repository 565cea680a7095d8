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
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from math import inf
from typing import Any

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from dashscope_ft_async._api.config import Mask, Settings
from dashscope_ft_async._api.connections import Ssl, check_borrowed, check_options, make_connector
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
from dashscope_ft_async.models.limits import (
    CONNECT_TIMEOUT,
    HEADER_COUNT_LIMIT,
    HEADER_SIZE_LIMIT,
    LEAST_SILENCE,
    SILENCE_SHARE,
)

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
        self._timeout = timeout
        # Shorter than the whole timeout, or it would not be known that no connection was made.
        self._connect_timeout = min(CONNECT_TIMEOUT, 0.9 * timeout)
        self._silence = min(timeout, max(LEAST_SILENCE, SILENCE_SHARE * timeout))
        self._timeouts = self._client_timeout(timeout, self._silence)
        self._user_agent = user_agent
        self._borrowed = borrowed
        self._pooled: aiohttp.ClientSession | None = None
        self._unpooled: aiohttp.ClientSession | None = None
        self._proxy = proxy
        self._ssl: Ssl | bool = True if ssl is None else ssl
        self._trace_configs = list(trace_configs or ())
        self._loop: asyncio.AbstractEventLoop | None = getattr(borrowed, "_loop", None)
        self._pid = os.getpid()
        self._header_limits: dict[str, Any] = {
            name: limit
            for name, limit in _HEADER_LIMITS.items()
            if name in inspect.signature(aiohttp.ClientSession).parameters
        }

    @property
    def shown_url(self) -> str:
        """The base URL without anything that looks like a key, and whether the session is closed."""
        url = redact(self._masked(self._settings.base_url))  # some gateways want a key in the path
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
            return await self._exchange(request, fresh=fresh)
        except asyncio.CancelledError as cancelled:
            # A timeout around us chains it, and the frames it went through hold the request headers.
            raise cancelled.with_traceback(None) from None
        except _FAILURES as error:
            failure = self._translated(error)
        except AttributeError as error:
            # aiohttp 3.11 retries a dropped request on the connector that closing has taken away.
            if not self.closed:
                raise
            failure = self._connection_error(error)
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
            failure = self._translated(error)
        else:
            return
        if self.closed:
            raise ClientClosedError("the client was closed during the request.")
        raise failure

    # The frames of the next two hold the answer as it came, perhaps with an echoed key. They are apart from
    # `send` and `stream`, whose frames are in the tracebacks of our errors.

    async def _exchange(self, request: Request, *, fresh: bool) -> Response:
        async with await self._request(request, fresh=fresh) as response:
            body = await self._read_body(response)
            headers = response.headers
            read = {name: self._masked(headers[name]) for name in HEADERS_READ if name in headers}
            return Response(response.status, read, body, time.time())

    async def _pieces(self, request: Request, silence: float) -> AsyncGenerator[bytes, None]:
        async with asyncio.timeout(self._timeout):
            timeouts = self._client_timeout(None, silence)
            response = await self._request(request, _STREAM_HEADERS, timeouts)
        try:
            _check_is_stream(response)
            mask = Mask(self._settings.api_key)
            async for piece in response.content.iter_any():
                yield mask.feed(piece)
            yield mask.end()
        finally:
            response.close()

    async def _request(
        self,
        request: Request,
        headers: dict[str, str] | None = None,
        timeouts: aiohttp.ClientTimeout | None = None,
        *,
        fresh: bool = False,
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer as far as its headers."""
        if request.body is not None:
            headers = _JSON_HEADERS
        if self._borrowed is not None:  # an owned session has them as its defaults
            headers = self._headers() if headers is None else {**self._headers(), **headers}
        return await self._session(fresh=fresh).request(
            request.method,
            URL(self._settings.base_url + request.path, encoded=True),
            headers=headers,
            data=request.body,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            proxy=self._proxy,
            ssl=self._ssl,
            timeout=timeouts or self._timeouts,
            **self._header_limits,
        )

    def _client_timeout(self, total: float | None, silence: float) -> aiohttp.ClientTimeout:
        # aiohttp would round times of 5 s and more up to whole seconds.
        return aiohttp.ClientTimeout(
            total=total, sock_connect=self._connect_timeout, sock_read=silence, ceil_threshold=inf
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
        encoding = response.headers.get("Content-Encoding")
        if encoding is not None and (encoding := self._masked(encoding).strip().lower()) != "identity":
            body = inflate(body, encoding) if encoding else body
        # A server that echoes the key (a debugging proxy does) must not put it into a snapshot or an error.
        return self._settings.api_key.masked_in(body)

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

    def _session(self, *, fresh: bool) -> aiohttp.ClientSession:
        if self._borrowed is not None:
            return self._borrowed
        if fresh:
            if self._unpooled is None:
                self._unpooled = self._make_session(pooled=False)
            return self._unpooled
        if self._pooled is None:
            self._pooled = self._make_session(pooled=True)
        return self._pooled

    def _make_session(self, *, pooled: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=make_connector(pooled=pooled),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers(),
            trace_configs=self._trace_configs,
        )

    # --- failures -----------------------------------------------------------------------------------------

    def _translated(self, error: Exception) -> APIError:
        """A failure as one of our errors."""
        if isinstance(error, APIError):
            return error.with_traceback(None)  # its frames hold the answer, perhaps with an echoed key
        if isinstance(error, TimeoutError):
            return self._timeout_error(error)
        return self._connection_error(error)

    def _timeout_error(self, error: TimeoutError) -> APITimeoutError:
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        what, limit = "no complete answer", self._timeout
        if connecting:
            what, limit = "no connection", self._connect_timeout
            self._forget_addresses()
        elif isinstance(error, aiohttp.SocketTimeoutError):
            what, limit = "nothing was received", self._silence
        return APITimeoutError(f"{what} within {limit:g} s", never_connected=connecting)

    def _connection_error(self, error: Exception) -> APIConnectionError:
        never_connected = isinstance(
            error,
            aiohttp.ClientConnectorError
            | aiohttp.ClientHttpProxyError
            | aiohttp.InvalidURL
            | aiohttp.ServerFingerprintMismatch,
        )
        if never_connected:
            self._forget_addresses()
        text = safe_text(self._masked(_described(error)), 500)
        return APIConnectionError(text, never_connected=never_connected)

    def _forget_addresses(self) -> None:
        """Resolve names anew after a failed connection: the address behind a name may have changed."""
        for session in (self._pooled, self._unpooled):
            connector = None if session is None else session.connector
            if isinstance(connector, aiohttp.TCPConnector):
                connector.clear_dns_cache()

    def _masked(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogateescape")  # as aiohttp decodes headers
        return self._settings.api_key.masked_in(raw).decode("utf-8", "surrogateescape")

    async def close(self) -> None:
        """Close the owned session; requests in flight fail with `ClientClosedError`. May be called again.

        If the caller is cancelled meanwhile, the session is closed all the same.
        """
        self.closed = True
        for session in (self._pooled, self._unpooled):
            if session is None or session.closed:
                continue
            closing = asyncio.ensure_future(session.close())
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                await asyncio.wait({closing})
                raise


_HEADER_LIMITS = {
    "max_line_size": HEADER_SIZE_LIMIT,
    "max_field_size": HEADER_SIZE_LIMIT,
    "max_headers": HEADER_COUNT_LIMIT,
}
"""Options of a request; older versions of aiohttp lack some."""


def _described(error: Exception) -> str:
    """What failed, in a few literal words; never the text of an answer, which may hold our headers."""
    match error:
        case aiohttp.ClientResponseError():
            return f"HTTP {error.status} {error.message}"
        case aiohttp.ServerFingerprintMismatch():
            return f"the certificate of {error.host} is not the one that ssl= names"
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host} is not accepted: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            return f"cannot resolve the host name {error.host}: {_reason(error.os_error)}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {error.host}:{error.port}: {_reason(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case _:
            return f"{type(error).__name__}: {error}"


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else (error.strerror or str(error))
    return text[:1].lower() + text[1:]


def _check_is_stream(response: aiohttp.ClientResponse) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if response.status != 200 or response.content_type != "text/event-stream" or encoding != "identity":
        raise APIResponseValidationError("the answer is no event stream", status=response.status)

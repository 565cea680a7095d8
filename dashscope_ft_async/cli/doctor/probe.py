"""Looking at the way to a host, one step after the other. Nothing of it ever knows the key."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

from dashscope_ft_async import __version__
from dashscope_ft_async.cli.doctor.checks import (
    Check,
    Verdict,
    failed,
    of_certificate,
    of_clock,
    of_dns,
    of_trouble,
    skipped,
)

STEPS = ("dns", "tcp", "tls", "http")
"""What is looked at on the way, in this order."""
_EYEBALLS = 0.25
"""Seconds before the next address is tried too, as the client does."""
_DATE = re.compile(rb"\r\nDate:[ \t]*([^\r\n]*)", re.IGNORECASE)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of `host`; raises `OSError`.

    The loop's own look-up would keep the process until name servers that do not answer are given up.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if answer.done() else settle())

    def look() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            refused = error
            tell(lambda: answer.set_exception(refused))
        else:
            addresses = [str(address[0]) for *_, address in found]
            tell(lambda: answer.set_result(addresses))

    threading.Thread(target=look, daemon=True).start()
    return await answer


class Probe:
    """One connection to the host of a base URL, made step by step."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._path = f"{quote(parts.path, safe='/%')}/fine-tunes"
        name = self.host.encode("idna").decode()
        self._authority = f"[{name}]" if ":" in name else name
        self._authority += f":{parts.port}" if parts.port else ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.clock = skipped("clock", "nothing to compare it with")
        """How our clock stands to the server's, once there has been an answer."""

    async def look(self, step: str) -> Check:
        """Make one of the `STEPS`; they are to be made in their order, as far as none fails."""
        try:
            match step:
                case "dns":
                    return await self._resolve()
                case "tcp":
                    return await self._connect()
                case "tls":
                    return await self._secure()
                case _:
                    return await self._ask()
        except OSError as error:  # which the errors of TLS are too
            return of_trouble(step, error, self.host, datetime.now(UTC))

    async def _resolve(self) -> Check:
        return of_dns(self.host, await resolved(self.host, self._port))

    async def _connect(self) -> Check:
        self._reader, self._writer = await asyncio.open_connection(
            self.host, self._port, happy_eyeballs_delay=_EYEBALLS
        )
        address, port = self._writer.get_extra_info("peername")[:2]
        return Check("tcp", Verdict.OK, f"connected to {address}, port {port}")

    async def _secure(self) -> Check:
        if not self._tls:
            return skipped("tls", "the base URL is plain http")
        assert self._writer is not None  # noqa: S101 - it is connected
        # The context that aiohttp makes for the client too.
        await self._writer.start_tls(ssl.create_default_context(), server_hostname=self.host)
        secured: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        certificate = secured.getpeercert() or {}
        return of_certificate(self.host, secured.version() or "TLS", certificate, datetime.now(UTC))

    async def _ask(self) -> Check:
        assert self._reader is not None  # noqa: S101 - it is connected
        assert self._writer is not None  # noqa: S101
        began = datetime.now(UTC)
        lines = (
            f"HEAD {self._path} HTTP/1.1",
            f"Host: {self._authority}",
            f"User-Agent: dashscope-ft-async/{__version__}",
            "Accept: application/json",
            "Connection: close",
        )
        self._writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii"))
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = b""
        ended = datetime.now(UTC)
        status = _STATUS_LINE.match(head)
        if status is None:
            return failed("http", "no HTTP answer", "Check scheme and port of the base URL.")
        self.clock = of_clock(_date_in(head), began, ended)
        return Check("http", Verdict.OK, f"answers: HTTP {int(status[1])} to a request without a key")

    async def close(self) -> None:
        """Cut the connection, whatever state it is in."""
        if self._writer is not None:
            self._writer.transport.abort()
            with suppress(OSError):
                await self._writer.wait_closed()


def _date_in(head: bytes) -> datetime | None:
    """Return the time in the first Date header, or `None` if there is none that can be read."""
    header = _DATE.search(head)
    if header is None:
        return None
    try:
        date = parsedate_to_datetime(header[1].decode("latin-1"))
        return date.astimezone(UTC) if date.tzinfo is not None else date.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):  # what the parser raises for odd text
        return None

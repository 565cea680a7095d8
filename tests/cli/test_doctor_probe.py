"""What doctor's probe reads from an answer."""

from __future__ import annotations

import asyncio

import pytest

from dashscope_ft_async.cli.doctor.checks import Check, Verdict
from dashscope_ft_async.cli.doctor.probe import STEPS, Probe


async def probed(headers: bytes) -> tuple[Check, Check]:
    """The result of the last step, and what it says of the clock, if a server answers with `headers`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\n" + headers + b"\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        probe = Probe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1")
        checks = [await probe.look(step) for step in STEPS]
        await probe.close()
        return checks[-1], probe.clock


async def test_more_than_100_headers_are_an_answer() -> None:
    http, clock = await probed(b"X-Extra: 1\r\n" * 150 + b"date: Tue, 01 Jan 2030 00:00:00 GMT\r\n")

    assert http.verdict is Verdict.OK
    assert clock.verdict is not Verdict.OK


@pytest.mark.parametrize(
    "date",
    [
        b"",
        b"yesterday",
        b"Mon, 01 Jan 0001 00:00:00 +2359",
        b"Fri, 31 Dec 9999 23:59:59 -2359",
        b"Mon, 32 Foo 2026 99:99:99 GMT",
        b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        b"Mon, 01 Jan 2026 00:00:00 +99999999999999",
        b"\xff\xfe",
    ],
)
async def test_an_odd_date_does_not_end_doctor(date: bytes) -> None:
    http, clock = await probed(b"Date: " + date + b"\r\n")

    assert http.verdict is Verdict.OK
    assert clock.verdict is not Verdict.OK

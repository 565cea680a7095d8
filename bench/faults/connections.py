"""Rows in which there is no whole response: the connection, the headers or the body go wrong."""

from __future__ import annotations

import gzip
import zlib

import attrs

from bench.faults.judging import Expected
from bench.faults.row import (
    RETURN,
    RUNNING,
    SUCCEEDED,
    TIME_OUT,
    Row,
    first,
    forever,
    group,
    job,
    midway,
)
from tests.support.adversary import (
    bomb,
    endless,
    gzipped,
    hang_up,
    head,
    kept,
    reset,
    then_closed,
    then_idle,
    then_reset,
    then_silent,
    trickle,
    whole,
)

_MIB = 1024 * 1024
_RUN, _DONE, _FAILED = job("RUNNING"), job(), job("FAILED")
_LENGTH = len(_DONE)
_RUN_WHOLE = head(length=len(_RUN)) + _RUN
_RUN_LAST = head(length=len(_RUN), connection="close") + _RUN
_CUT = then_closed(head(length=_LENGTH) + _DONE[:20])
_STALLED = then_silent(head(length=_LENGTH) + _DONE[:20])
_SLOW_BODY = trickle(head(length=4000), b" " * 4000, every=0.02)
_CHUNKED = head(transfer_encoding="chunked")

_CANNOT_CONNECT = Expected(
    "raise",
    errors=(
        "APIConnectionError",
        "APITimeoutError",
        "ClientConnectorError",
        "ConnectionTimeoutError",
        "TimeoutError",
    ),
)
_BOUNDED = attrs.evolve(RETURN, megabytes=32)

CONNECTIONS = (
    *group(
        "No response",
        Row("connections refused, from the start", (), _CANNOT_CONNECT, connect="refused"),
        Row("connections ignored, from the start", (), _CANNOT_CONNECT, connect="ignored"),
        Row(
            "connections refused for a while, midway",
            (then_closed(_RUN_LAST), SUCCEEDED),
            RETURN,
            absent=0.3,
        ),
        first("reset, at the first request", reset),
        midway("reset", reset),
        midway("three resets in a row", reset, reset, reset),
        first("connection closed, at the first request", hang_up),
        midway("connection closed", hang_up),
        midway("connection closed, five times in a row", *[hang_up] * 5),
        first("silence, at the first request", then_silent()),
        midway("silence", then_silent()),
        midway("silence, a reset, a close", then_silent(), reset, hang_up),
        Row(
            "each connection closed after its response", (*[then_closed(_RUN_WHOLE)] * 3, SUCCEEDED), RETURN
        ),
        Row("idle connections closed", (*[then_idle(_RUN_WHOLE, 0.005)] * 3, SUCCEEDED), RETURN),
        Row("idle connections reset", (RUNNING, reset, RUNNING, reset, SUCCEEDED), RETURN),
    ),
    *group(
        "Response headers",
        midway("cut in the status line", then_closed(b"HTTP/1.")),
        midway("cut in a header", then_closed(b"HTTP/1.1 200 OK\r\nContent-")),
        midway("reset in a header", then_reset(b"HTTP/1.1 200 OK\r\nContent-")),
        midway("stalled in a header", then_silent(b"HTTP/1.1 200 OK\r\nContent-")),
        midway("one byte at a time", trickle(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 4000, every=0.02)),
        midway("another protocol: SSH", then_closed(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")),
        midway("another protocol: a TLS alert", then_closed(b"\x15\x03\x01\x00\x02\x02\x46")),
        midway("another protocol: HTTP/2", then_closed(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d")),
        midway("random bytes", then_closed(bytes(range(256)) * 9)),
        midway("no headers, only the body", then_closed(_DONE)),
        midway("a status that is not a number", then_closed(b"HTTP/1.1 OK OK\r\n\r\n")),
        midway("a status out of range", then_closed(b"HTTP/1.1 99999 OK\r\n\r\n")),
        midway("a header without a colon", then_closed(head()[:-2] + b"nonsense\r\n\r\n" + _DONE)),
        midway("a NUL byte in a header", then_closed(head(x_odd="a\0b") + _DONE)),
        midway("a header of 100 KB", then_closed(head(x_long="a" * 100_000) + _DONE)),
        midway("40,000 headers", then_closed(head()[:-2] + b"X-A: b\r\n" * 40_000 + b"\r\n")),
        Row("a header of 10 KB, in all responses", (whole(_DONE, x_long="a" * 10_000),), RETURN),
        Row(
            "150 headers, in all responses", (whole(_DONE, **{f"x_{n}": "a" for n in range(150)}),), RETURN
        ),
        midway("interim responses without end", then_silent(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000)),
        midway("HTTP/1.0", then_closed(b"HTTP/1.0 200 OK\r\n\r\n" + _DONE)),
        midway(
            "an interim response (103) before a good one",
            kept(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + head(length=_LENGTH) + _DONE),
        ),
    ),
    *group(
        "Response body",
        midway("cut", _CUT),
        midway("cut, three times in a row", *[_CUT] * 3),
        first("cut, at the first request", _CUT),
        midway("stalled", _STALLED),
        midway("one byte at a time", _SLOW_BODY),
        midway("Content-Length too long, then closed", then_closed(head(length=_LENGTH + 9) + _DONE)),
        midway("Content-Length too long, kept open", then_silent(head(length=_LENGTH + 9) + _DONE)),
        midway("Content-Length too short", kept(head(length=10) + _DONE)),
        midway("Content-Length not a number", kept(head(content_length="many") + _DONE)),
        midway("Content-Length negative", kept(head(content_length="-1") + _DONE)),
        midway(
            "two different Content-Lengths",
            then_closed(head(length=5)[:-2] + b"Content-Length: %d\r\n\r\n" % _LENGTH + _DONE),
        ),
        midway(
            "Content-Length with chunks",
            then_closed(head(length=5, transfer_encoding="chunked") + b"%x\r\n%s\r\n" % (_LENGTH, _DONE)),
        ),
        midway("chunks cut", then_closed(_CHUNKED + b'5\r\n{"out')),
        midway("no last chunk", then_closed(_CHUNKED + b'6\r\n{"out"\r\n')),
        midway("chunks stalled", then_silent(_CHUNKED + b"5\r\n")),
        midway("chunks of one byte, slowly", trickle(_CHUNKED, b"1\r\n \r\n" * 700, every=0.02)),
        midway("invalid chunks", then_closed(_CHUNKED + b"zz\r\n" + _DONE)),
        midway("a chunk size of 40 digits", then_silent(_CHUNKED + b"f" * 40 + b"\r\n")),
        midway("no length, ended by closing", then_closed(head() + _DONE)),
        midway(
            "chunks with extensions and trailers",
            kept(_CHUNKED + b'%x;a="b"\r\n%s\r\n0\r\nX-T: 1\r\n\r\n' % (_LENGTH, _DONE)),
        ),
        midway("reset", then_reset(head(length=_LENGTH) + _DONE[:20])),
        midway(
            "followed by a second response, which says FAILED",
            kept(_RUN_WHOLE + head(length=len(_FAILED)) + _FAILED),
        ),
    ),
    *group(
        "Compression and size",
        midway("invalid gzip", whole(b"\x1f\x8b\x08" + bytes(99), content_encoding="gzip")),
        midway("declared gzip, not compressed", whole(_DONE, content_encoding="gzip")),
        midway("gzip cut", whole(gzip.compress(_DONE)[:-9], content_encoding="gzip")),
        midway(
            "gzip with a wrong checksum",
            whole(gzip.compress(_DONE)[:-8] + bytes(8), content_encoding="gzip"),
        ),
        midway("gzip, empty", whole(content_encoding="gzip")),
        midway("deflate cut", whole(zlib.compress(_DONE)[:-5], content_encoding="deflate")),
        midway("an encoding that was not asked for (br)", whole(_DONE, content_encoding="br")),
        midway("gzip in gzip", whole(gzip.compress(gzip.compress(_DONE)), content_encoding="gzip, gzip")),
        midway(
            "100,000 empty gzip members",
            whole(gzip.compress(b"") * 100_000, content_encoding="gzip"),
            expected=_BOUNDED,
        ),
        midway("a good response in gzip", gzipped(_DONE)),
        midway(
            "96 MB of zeros in gzip",
            whole(bomb(bytes(_MIB), 96), content_encoding="gzip"),
            expected=_BOUNDED,
        ),
        midway(
            "96 MB of blanks and the job in gzip",
            whole(bomb(b" " * _MIB, 96, _RUN), content_encoding="gzip"),
            expected=_BOUNDED,
        ),
        midway("96 MB", endless(head(length=96 * _MIB), b" " * _MIB, 96), expected=_BOUNDED),
        midway("96 MB without a length", endless(head(), b" " * _MIB, 96), expected=_BOUNDED),
        midway(
            "96 MB in chunks, and no end",
            endless(_CHUNKED, b"100000\r\n" + b" " * _MIB + b"\r\n", 96),
            expected=_BOUNDED,
        ),
        midway(
            "an error page of 96 MB",
            endless(head("502 Bad Gateway", kind="text/html"), b" " * _MIB, 96),
            expected=_BOUNDED,
        ),
    ),
    *group(
        "Forever",
        forever("the job runs", RUNNING),
        forever("resets", reset),
        forever("silence", then_silent()),
        forever("a stalled body", _STALLED),
        forever("a body one byte at a time", _SLOW_BODY),
        forever("cut bodies", _CUT),
        forever("HTML with status 200", whole(b"<html>Sign in</html>", kind="text/html")),
        forever("HTML with status 502", whole(b"<html>", "502 Bad Gateway", kind="text/html")),
        forever("500 InternalError", whole(b'{"code":"InternalError"}', "500 Error")),
        forever("429 Throttling", whole(b'{"code":"Throttling"}', "429 Too Many")),
        forever("an unknown status of the job", whole(job("PONDERING"))),
        Row("connections refused", (then_closed(_RUN_LAST),), TIME_OUT, absent=60.0),
    ),
)

"""What goes wrong before there is a whole answer: the connection, the headers, the body."""

from __future__ import annotations

import gzip
import zlib

import attrs

from bench.faults._row import CARRY_ON, DEADLINE, DONE, RUNNING, Row, at_first, for_ever, survived
from bench.faults.judging import Want
from tests.support.adversary import (
    bomb,
    endless,
    gzipped,
    hang_up,
    head,
    job_body,
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
_RUNNING, _DONE, _FAILED = job_body("RUNNING"), job_body(), job_body("FAILED")
_LENGTH = len(_DONE)

_NO_CONNECTION = Want(
    kind="stop",
    told_as=(
        "APIConnectionError",
        "APITimeoutError",
        "ClientConnectorError",
        "ConnectionTimeoutError",
        "TimeoutError",
    ),
)

_BEFORE = "Instead of an answer"
_HEADERS = "In the headers"
_BODY = "In the body"
_SIZE = "Compression and size"

_BEFORE_ROWS = (
    Row(_BEFORE, "nobody listens, from the start", (), _NO_CONNECTION, nobody="refuses"),
    Row(_BEFORE, "connections are not taken, from the start", (), _NO_CONNECTION, nobody="swallows"),
    Row(
        _BEFORE,
        "nobody listens for a while, midway",
        (then_closed(head(length=len(_RUNNING), connection="close") + _RUNNING), DONE),
        CARRY_ON,
        absent=0.3,
    ),
    at_first(_BEFORE, "a reset, at the first request", reset),
    survived(_BEFORE, "a reset", reset),
    survived(_BEFORE, "three resets in a row", reset, reset, reset),
    at_first(_BEFORE, "the connection is closed, at the first request", hang_up),
    survived(_BEFORE, "the connection is closed", hang_up),
    survived(_BEFORE, "it is closed five times in a row", *[hang_up] * 5),
    at_first(_BEFORE, "silence, at the first request", then_silent()),
    survived(_BEFORE, "silence", then_silent()),
    survived(_BEFORE, "silence, a reset, a close", then_silent(), reset, hang_up),
    Row(
        _BEFORE,
        "the server closes each connection after its answer, unannounced",
        (*[then_closed(head(length=len(_RUNNING)) + _RUNNING)] * 3, DONE),
        CARRY_ON,
    ),
    Row(
        _BEFORE,
        "the server closes idle connections",
        (*[then_idle(head(length=len(_RUNNING)) + _RUNNING, 0.005)] * 3, DONE),
        CARRY_ON,
    ),
    Row(_BEFORE, "an idle connection was reset", (RUNNING, reset, RUNNING, reset, DONE), CARRY_ON),
)

_HEADER_ROWS = (
    survived(_HEADERS, "cut in the status line", then_closed(b"HTTP/1.")),
    survived(_HEADERS, "cut in a header", then_closed(b"HTTP/1.1 200 OK\r\nContent-")),
    survived(_HEADERS, "reset after the headers have begun", then_reset(b"HTTP/1.1 200 OK\r\nContent-")),
    survived(_HEADERS, "stalled in a header", then_silent(b"HTTP/1.1 200 OK\r\nContent-")),
    survived(_HEADERS, "a byte at a time", trickle(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 4000, every=0.02)),
    survived(_HEADERS, "another protocol (SSH)", then_closed(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")),
    survived(_HEADERS, "another protocol (a TLS alert)", then_closed(b"\x15\x03\x01\x00\x02\x02\x46")),
    survived(_HEADERS, "another protocol (HTTP/2)", then_closed(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d")),
    survived(_HEADERS, "binary garbage", then_closed(bytes(range(256)) * 9)),
    survived(_HEADERS, "no headers, only the body", then_closed(_DONE)),
    survived(_HEADERS, "a status that is no number", then_closed(b"HTTP/1.1 OK OK\r\n\r\n")),
    survived(_HEADERS, "a status out of range", then_closed(b"HTTP/1.1 99999 OK\r\n\r\n")),
    survived(_HEADERS, "a header without a colon", then_closed(head()[:-2] + b"nonsense\r\n\r\n" + _DONE)),
    survived(_HEADERS, "a NUL in a header", then_closed(head(x_odd="a\0b") + _DONE)),
    survived(_HEADERS, "a header of 100 KB", then_closed(head(x_long="a" * 100_000) + _DONE)),
    survived(_HEADERS, "40,000 headers", then_closed(head()[:-2] + b"X-A: b\r\n" * 40_000 + b"\r\n")),
    survived(
        _HEADERS, "interim answers without an end", then_silent(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000)
    ),
    survived(_HEADERS, "HTTP/1.0", then_closed(b"HTTP/1.0 200 OK\r\n\r\n" + _DONE)),
    survived(
        _HEADERS,
        "an interim answer first (103), then a good one",
        kept(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + head(length=_LENGTH) + _DONE),
    ),
)

_CHUNKED = head(transfer_encoding="chunked")

_BODY_ROWS = (
    survived(_BODY, "cut", then_closed(head(length=_LENGTH) + _DONE[:20])),
    survived(_BODY, "cut, three times in a row", *[then_closed(head(length=_LENGTH) + _DONE[:20])] * 3),
    at_first(_BODY, "cut, at the first request", then_closed(head(length=_LENGTH) + _DONE[:20])),
    survived(_BODY, "stalled", then_silent(head(length=_LENGTH) + _DONE[:20])),
    survived(_BODY, "a byte at a time", trickle(head(length=4000), b" " * 4000, every=0.02)),
    survived(_BODY, "Content-Length too long, then closed", then_closed(head(length=_LENGTH + 9) + _DONE)),
    survived(_BODY, "Content-Length too long, kept open", then_silent(head(length=_LENGTH + 9) + _DONE)),
    survived(_BODY, "Content-Length too short", kept(head(length=10) + _DONE)),
    survived(_BODY, "Content-Length no number", kept(head(content_length="many") + _DONE)),
    survived(_BODY, "Content-Length negative", kept(head(content_length="-1") + _DONE)),
    survived(
        _BODY,
        "two Content-Lengths that differ",
        then_closed(head(length=5)[:-2] + b"Content-Length: %d\r\n\r\n" % _LENGTH + _DONE),
    ),
    survived(
        _BODY,
        "Content-Length on chunks",
        then_closed(head(length=5, transfer_encoding="chunked") + b"%x\r\n%s\r\n" % (_LENGTH, _DONE)),
    ),
    survived(_BODY, "chunks cut", then_closed(_CHUNKED + b'5\r\n{"out')),
    survived(_BODY, "the last chunk is missing", then_closed(_CHUNKED + b'6\r\n{"out"\r\n')),
    survived(_BODY, "chunks stalled", then_silent(_CHUNKED + b"5\r\n")),
    survived(_BODY, "chunks a byte at a time", trickle(_CHUNKED, b"1\r\n \r\n" * 700, every=0.02)),
    survived(_BODY, "garbage for chunks", then_closed(_CHUNKED + b"zz\r\n" + _DONE)),
    survived(_BODY, "a chunk of a size beyond all numbers", then_silent(_CHUNKED + b"f" * 40 + b"\r\n")),
    survived(_BODY, "no length, whole when closed", then_closed(head() + _DONE)),
    survived(
        _BODY,
        "chunks with extensions and trailers",
        kept(_CHUNKED + b'%x;a="b"\r\n%s\r\n0\r\nX-T: 1\r\n\r\n' % (_LENGTH, _DONE)),
    ),
    survived(_BODY, "reset", then_reset(head(length=_LENGTH) + _DONE[:20])),
    survived(
        _BODY,
        "another answer behind it, which says FAILED",
        kept(head(length=len(_RUNNING)) + _RUNNING + head(length=len(_FAILED)) + _FAILED),
    ),
)

_BOUNDED = attrs.evolve(CARRY_ON, megabytes=32)

_SIZE_ROWS = (
    survived(_SIZE, "gzip that is broken", whole(b"\x1f\x8b\x08" + bytes(99), content_encoding="gzip")),
    survived(_SIZE, "gzip that is none", whole(_DONE, content_encoding="gzip")),
    survived(_SIZE, "gzip cut", whole(gzip.compress(_DONE)[:-9], content_encoding="gzip")),
    survived(
        _SIZE,
        "gzip with a wrong checksum",
        whole(gzip.compress(_DONE)[:-8] + bytes(8), content_encoding="gzip"),
    ),
    survived(_SIZE, "gzip, and nothing in it", whole(content_encoding="gzip")),
    survived(_SIZE, "deflate cut", whole(zlib.compress(_DONE)[:-5], content_encoding="deflate")),
    survived(_SIZE, "an encoding that was not asked for (br)", whole(_DONE, content_encoding="br")),
    survived(
        _SIZE,
        "gzip in gzip",
        whole(gzip.compress(gzip.compress(_DONE)), content_encoding="gzip, gzip"),
    ),
    survived(
        _SIZE,
        "100,000 empty gzip members",
        whole(gzip.compress(b"") * 100_000, content_encoding="gzip"),
        want=_BOUNDED,
    ),
    survived(_SIZE, "a good answer in gzip", gzipped(_DONE)),
    survived(
        _SIZE,
        "a bomb: 96 MB of zeros",
        whole(bomb(bytes(_MIB), 96), content_encoding="gzip"),
        want=_BOUNDED,
    ),
    survived(
        _SIZE,
        "a bomb: 96 MB of blanks, then the job",
        whole(bomb(b" " * _MIB, 96, _RUNNING), content_encoding="gzip"),
        want=_BOUNDED,
    ),
    survived(
        _SIZE,
        "96 MB, uncompressed",
        endless(head(length=96 * _MIB), b" " * _MIB, 96),
        want=_BOUNDED,
    ),
    survived(_SIZE, "96 MB of no told length", endless(head(), b" " * _MIB, 96), want=_BOUNDED),
    survived(
        _SIZE,
        "96 MB in chunks, and no end",
        endless(_CHUNKED, b"100000\r\n" + b" " * _MIB + b"\r\n", 96),
        want=_BOUNDED,
    ),
    survived(
        _SIZE,
        "an error page of 96 MB",
        endless(head("502 Bad Gateway", kind="text/html"), b" " * _MIB, 96),
        want=_BOUNDED,
    ),
)

_FOR_EVER = "For ever"

_FOR_EVER_ROWS = (
    for_ever(_FOR_EVER, "the job runs", RUNNING),
    for_ever(_FOR_EVER, "resets", reset),
    for_ever(_FOR_EVER, "silence", then_silent()),
    for_ever(_FOR_EVER, "a body that stalls", then_silent(head(length=_LENGTH) + _DONE[:20])),
    for_ever(_FOR_EVER, "a body a byte at a time", trickle(head(length=4000), b" " * 4000, every=0.02)),
    for_ever(_FOR_EVER, "cut bodies", then_closed(head(length=_LENGTH) + _DONE[:20])),
    for_ever(_FOR_EVER, "HTML with status 200", whole(b"<html>Sign in</html>", kind="text/html")),
    for_ever(_FOR_EVER, "HTML with status 502", whole(b"<html>", "502 Bad Gateway", kind="text/html")),
    for_ever(_FOR_EVER, "500 InternalError", whole(b'{"code":"InternalError"}', "500 Error")),
    for_ever(_FOR_EVER, "429 Throttling", whole(b'{"code":"Throttling"}', "429 Too Many")),
    for_ever(_FOR_EVER, "an unknown word", whole(job_body("PONDERING"))),
    Row(
        _FOR_EVER,
        "nobody listens any more",
        (then_closed(head(length=len(_RUNNING), connection="close") + _RUNNING),),
        DEADLINE,
        absent=60.0,
    ),
)

CONNECTIONS = (*_BEFORE_ROWS, *_HEADER_ROWS, *_BODY_ROWS, *_SIZE_ROWS, *_FOR_EVER_ROWS)

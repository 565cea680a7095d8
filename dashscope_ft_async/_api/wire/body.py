"""The bytes of a body, out of their compression and never too many."""

from __future__ import annotations

import zlib

from dashscope_ft_async.errors import APIResponseValidationError
from dashscope_ft_async.models.redact import shown

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of one answer, after decompression. A page of 100 jobs is about 100 KB."""
# Each part costs a copy of all that follow, so a body of nothing but empty parts would take minutes.
_MOST_MEMBERS = 100


def inflate(body: bytes, encoding: str) -> bytes:
    """`body` without its Content-Encoding, at most `BODY_LIMIT` bytes.

    Done here and not by the HTTP library, because only here can the limit be kept *while* inflating.
    Raises `APIResponseValidationError` for an unknown or broken encoding and for a body over the limit.
    """
    if body.startswith(b"{"):
        return body  # no compression begins so: something on the way has undone it and left the header
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise APIResponseValidationError(f"unknown Content-Encoding {shown(encoding)!r}")
    plain = b""
    rest = body
    for _ in range(_MOST_MEMBERS):
        if not rest:
            return plain
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either header, found by its first bytes
        try:
            plain += stream.decompress(rest, BODY_LIMIT + 1 - len(plain))
        except zlib.error as error:
            raise APIResponseValidationError(f"broken compression: {error}") from None
        if len(plain) > BODY_LIMIT:
            raise too_large()
        if not stream.eof:
            raise APIResponseValidationError("broken compression: the body ends too early")
        rest = stream.unused_data
    if rest:
        raise APIResponseValidationError(f"more than {_MOST_MEMBERS} compressed parts in one body")
    return plain


def too_large() -> APIResponseValidationError:
    """The error for a body over `BODY_LIMIT`."""
    error = APIResponseValidationError(f"the answer is larger than {BODY_LIMIT} bytes")
    error.too_large = True
    return error

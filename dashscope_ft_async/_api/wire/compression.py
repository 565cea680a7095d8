"""Decompress response bodies within a size limit."""

from __future__ import annotations

import zlib

from dashscope_ft_async.errors import APIResponseValidationError
from dashscope_ft_async.models import safe_text

BODY_LIMIT = 8 * 1024 * 1024
"""Largest body in bytes, after decompression. A page of 100 jobs has about 100 KB."""
# Each member costs a copy of all that follow it, so a body of empty members only would take minutes.
_MOST_MEMBERS = 100


def inflate(body: bytes, encoding: str) -> bytes:
    """Return `body` decompressed according to its Content-Encoding, at most `BODY_LIMIT` bytes.

    The HTTP library does not do this, because it has no limit on the decompressed size.

    Raises:
        APIResponseValidationError: the encoding is unknown, the data is damaged, or the body is too large.
    """
    if body.startswith(b"{"):
        return body  # plain JSON: a proxy has decompressed it and left the header
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise APIResponseValidationError(f"unknown Content-Encoding {safe_text(encoding)!r}")
    plain = b""
    rest = body
    for _ in range(_MOST_MEMBERS):
        if not rest:
            return plain
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # detects gzip and zlib headers
        try:
            plain += stream.decompress(rest, BODY_LIMIT + 1 - len(plain))
        except zlib.error as error:
            raise APIResponseValidationError(f"damaged compressed body: {error}") from None
        if len(plain) > BODY_LIMIT:
            raise too_large()
        if not stream.eof:
            raise APIResponseValidationError("damaged compressed body: it is incomplete")
        rest = stream.unused_data
    if rest:
        raise APIResponseValidationError(f"a compressed body of more than {_MOST_MEMBERS} members")
    return plain


def too_large() -> APIResponseValidationError:
    """Return the error for a body larger than `BODY_LIMIT`."""
    error = APIResponseValidationError(f"the body of the answer is larger than {BODY_LIMIT} bytes")
    error.too_large = True
    return error

"""Decompression of bodies within a limit."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async._api.wire import BODY_LIMIT, inflate
from dashscope_ft_async.errors import APIResponseValidationError

PLAIN = b'{"output": {}}' * 100
PACKED = gzip.compress(PLAIN, mtime=0)  # without the time, which would vary the ids of tests


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip ", "deflate"])
@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_both_formats_are_detected_under_each_name(encoding: str, compress: Any) -> None:
    assert inflate(compress(PLAIN), encoding) == PLAIN


@pytest.mark.parametrize("members", [1, 2, 100])
def test_members_are_joined(members: int) -> None:
    assert inflate(PACKED * members, "gzip") == PLAIN * members


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "utf-8"])
def test_plain_json_is_returned_under_any_encoding(encoding: str) -> None:
    assert inflate(b'{"output": {}}', encoding) == b'{"output": {}}'


def test_the_limit_is_exact() -> None:
    assert len(inflate(gzip.compress(b"\0" * BODY_LIMIT), "gzip")) == BODY_LIMIT
    with pytest.raises(APIResponseValidationError, match=f"larger than {BODY_LIMIT}"):
        inflate(gzip.compress(b"\0" * BODY_LIMIT + b"\0"), "gzip")


def test_the_limit_holds_for_all_members_together() -> None:
    with pytest.raises(APIResponseValidationError, match="larger"):
        inflate(gzip.compress(b"\0" * (1024 * 1024)) * 9, "gzip")


def test_thousands_of_empty_members_are_refused_in_little_time() -> None:
    body = gzip.compress(b"", mtime=0) * (BODY_LIMIT // 20)
    began = time.process_time()

    with pytest.raises(APIResponseValidationError, match="more than 100 members"):
        inflate(body, "gzip")

    assert time.process_time() - began < 2.0


def test_a_compression_bomb_takes_little_memory() -> None:
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(200)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(APIResponseValidationError, match="larger"):
            inflate(bomb, "deflate")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 * BODY_LIMIT


@pytest.mark.parametrize(
    "body",
    [
        *(PACKED[:cut] for cut in (1, 10, 11, -1, -8, -9)),
        *(b"<html>", b"\x00", PACKED + b"junk", PACKED + b"\0"),
    ],
)
def test_damaged_data_is_an_error(body: bytes) -> None:
    with pytest.raises(APIResponseValidationError, match="damaged compressed body"):
        inflate(body, "gzip")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "", "identity"])
def test_an_unknown_encoding_is_named(encoding: str) -> None:
    with pytest.raises(APIResponseValidationError, match=f"unknown Content-Encoding {encoding!r}"):
        inflate(PACKED, encoding)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br"]))
def test_any_bytes_are_decompressed_or_raise_our_error(body: bytes, encoding: str) -> None:
    with suppress(APIResponseValidationError):
        assert isinstance(inflate(body, encoding), bytes)

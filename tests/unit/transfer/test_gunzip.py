"""Bodies that came compressed."""

from __future__ import annotations

import gzip
import io
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.transfer.gunzip import GunzipReader


def _read_all(reader: GunzipReader, step: int) -> bytes:
    content = b""
    room = memoryview(bytearray(step))
    while count := reader.readinto(room):
        content += bytes(room[:count])
    return content


@given(st.binary(max_size=3_000), st.integers(1, 700), st.integers(0, 9))
def test_the_content_comes_out_whatever_the_buffer(data: bytes, step: int, level: int) -> None:
    """Any content is read back whole, in pieces of any size."""
    assert _read_all(GunzipReader(io.BytesIO(gzip.compress(data, level))), step) == data


@pytest.mark.parametrize("data", [bytes(5_000_000), random.Random(1).randbytes(300_000)])
def test_much_content_of_few_bytes_and_little_of_many(data: bytes) -> None:
    """Content that is far larger than its body is read in pieces, and so is random content."""
    assert _read_all(GunzipReader(io.BytesIO(gzip.compress(data))), 65_536) == data


def test_a_body_that_ends_early_ends() -> None:
    """What came of a cut body is read, and then its end."""
    data = random.Random(2).randbytes(100_000)
    cut = gzip.compress(data)[:-50_000]
    content = _read_all(GunzipReader(io.BytesIO(cut)), 1_000)
    assert 0 < len(content) < len(data)
    assert data.startswith(content)


def test_a_body_that_is_not_gzip_is_an_error() -> None:
    """Another format is not passed on as content."""
    with pytest.raises(zlib.error):
        _read_all(GunzipReader(io.BytesIO(b"<html>")), 10)

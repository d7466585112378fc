"""The emulated share: when replies arrive, and what the kernel is answered."""

from __future__ import annotations

import errno
import struct

import pytest

from bench import fuse
from bench.share import Line

FOLDER = fuse.Folder((("a", 5), ("b.safetensors", 7)))


def _request(operation: int, body: bytes = b"") -> fuse.Request:
    header = struct.pack("<IIQQIIIHH", 40 + len(body), operation, 9, fuse.ROOT, 0, 0, 0, 0, 0)
    return fuse.parse(header + body)


def test_a_line_delays_each_request_and_carries_one_byte_at_a_time() -> None:
    """Delays of requests overlap and their bytes do not; an idle line saves no time."""
    line = Line(rate=100.0, delay=2.0)
    assert line.due(10.0, 100) == pytest.approx(13.0)
    assert line.due(10.0, 100) == pytest.approx(14.0)
    assert line.due(20.0, 50) == pytest.approx(22.5)


def test_a_name_is_looked_up() -> None:
    """The first file is node 2, and a name that does not exist gets its errno."""
    found = FOLDER.answer(_request(fuse.LOOKUP, b"b.safetensors\0"))
    assert isinstance(found, bytes)
    assert struct.unpack_from("<Q", found) == (3,)
    assert struct.unpack_from("<2Q", found, 40) == (3, 7)
    assert FOLDER.answer(_request(fuse.LOOKUP, b"c\0")) == errno.ENOENT


def test_a_folder_is_listed_in_pieces() -> None:
    """Rows that do not fit come with the next request, and an empty reply ends the list."""
    names, at = [], 0
    while piece := FOLDER.answer(_request(fuse.READDIR, struct.pack("<QQI", 0, at, 40))):
        assert isinstance(piece, bytes)
        _, at, length, _ = struct.unpack_from("<QQII", piece)
        names.append(piece[24 : 24 + length])
    assert names == [b".", b"..", b"a", b"b.safetensors"]


def test_an_unknown_operation_is_refused() -> None:
    """A write gets ENOSYS, so the kernel does not ask again."""
    assert FOLDER.answer(_request(16)) == errno.ENOSYS

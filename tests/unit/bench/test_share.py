"""The emulated share: when replies arrive, and what the kernel is told."""

from __future__ import annotations

import errno
import struct

import pytest

from bench import fuse
from bench.share import Line

FOLDER = fuse.Folder((("a", 5), ("b.safetensors", 7)))


def _asked(operation: int, body: bytes = b"") -> fuse.Request:
    header = struct.pack("<IIQQIIIHH", 40 + len(body), operation, 9, fuse.ROOT, 0, 0, 0, 0, 0)
    return fuse.parse(header + body)


def test_a_line_delays_each_request_and_carries_one_byte_at_a_time() -> None:
    """Delays of requests overlap, their bytes do not; an idle line owes nothing."""
    line = Line(rate=100.0, delay=2.0)
    assert line.due(10.0, 100) == pytest.approx(13.0)
    assert line.due(10.0, 100) == pytest.approx(14.0)
    assert line.due(20.0, 50) == pytest.approx(22.5)


def test_names_are_found_and_others_are_not() -> None:
    """The first file is node 2; a name that is not there has its errno."""
    found = FOLDER.answer(_asked(fuse.LOOKUP, b"b.safetensors\0"))
    assert isinstance(found, bytes)
    assert struct.unpack_from("<Q", found) == (3,)
    assert struct.unpack_from("<2Q", found, 40) == (3, 7)
    assert FOLDER.answer(_asked(fuse.LOOKUP, b"c\0")) == errno.ENOENT


def test_a_folder_is_listed_in_pieces() -> None:
    """What does not fit comes with the next request, and then nothing."""
    names, at = [], 0
    while piece := FOLDER.answer(_asked(fuse.READDIR, struct.pack("<QQI", 0, at, 40))):
        assert isinstance(piece, bytes)
        _, at, length, _ = struct.unpack_from("<QQII", piece)
        names.append(piece[24 : 24 + length])
    assert names == [b".", b"..", b"a", b"b.safetensors"]


def test_what_is_not_spoken_is_refused() -> None:
    """A write gets ENOSYS, so the kernel does not ask again."""
    assert FOLDER.answer(_asked(16)) == errno.ENOSYS

"""Whether a GGUF file is whole, as far as its header tells.

Format, versions 2 and 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A header is
`GGUF`, version, number of tensors, number of keys, the keys with typed values, and for each
tensor its name, shape, type and offset behind the header; then come the tensors, aligned.
Strings and arrays begin with their length. Sizes of tensor types: `ggml_type` in ggml.h and the
blocks in ggml-common.h.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

_MAGIC = b"GGUF"
_FIXED = 24  # bytes of magic, version and the two counts
_NEWEST = 64  # a version above is no version but damage
_PARSED = (2, 3)
_ALIGNMENT_KEY = b"general.alignment"
_ALIGNMENT = 32
_MOST_READ = 64 << 20  # bytes; the vocabularies of real models take up to 20 MB
_PIECE = 1 << 20
_DEEPEST = 8  # arrays in arrays
_DIMENSIONS = 8  # ggml itself allows 4

_U32, _STRING, _ARRAY = 4, 8, 9
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class _Block(NamedTuple):
    """So many elements of a tensor type take so many bytes."""

    elements: int
    bytes: int


# From 40 on, ids mean different types in different forks of llama.cpp.
_BLOCKS = {
    0: _Block(1, 4),  # F32
    1: _Block(1, 2),  # F16
    2: _Block(32, 18),  # Q4_0
    3: _Block(32, 20),  # Q4_1
    6: _Block(32, 22),  # Q5_0
    7: _Block(32, 24),  # Q5_1
    8: _Block(32, 34),  # Q8_0
    10: _Block(256, 84),  # Q2_K
    11: _Block(256, 110),  # Q3_K
    12: _Block(256, 144),  # Q4_K
    13: _Block(256, 176),  # Q5_K
    14: _Block(256, 210),  # Q6_K
    16: _Block(256, 66),  # IQ2_XXS
    17: _Block(256, 74),  # IQ2_XS
    18: _Block(256, 98),  # IQ3_XXS
    19: _Block(256, 50),  # IQ1_S
    20: _Block(32, 18),  # IQ4_NL
    21: _Block(256, 110),  # IQ3_S
    22: _Block(256, 82),  # IQ2_S
    23: _Block(256, 136),  # IQ4_XS
    24: _Block(1, 1),  # I8
    25: _Block(1, 2),  # I16
    26: _Block(1, 4),  # I32
    27: _Block(1, 8),  # I64
    28: _Block(1, 8),  # F64
    29: _Block(256, 56),  # IQ1_M
    30: _Block(1, 2),  # BF16
    34: _Block(256, 54),  # TQ1_0
    35: _Block(256, 66),  # TQ2_0
    39: _Block(32, 17),  # MXFP4
}


class _WrongError(Exception):
    """The header is not of the format; the message says how."""


class _TooLongError(Exception):
    """The header goes on beyond what is read of it."""


def gguf_problem(fd: int, size: int) -> str:
    """What shows that an open file is no whole GGUF file; empty if nothing does.

    Of other versions than 2 and 3, and of headers above 64 MiB, only the start is judged.

    Args:
        fd: The file.
        size: Its bytes.

    Raises:
        OSError: It cannot be read.
    """
    try:
        start = _start(fd, size)
        if start.version not in _PARSED:
            return ""
        cursor = _Cursor(fd, size, start.order)
        alignment = _alignment(cursor, start.keys)
        return _tensors_problem(cursor, start.tensors, alignment)
    except _WrongError as wrong:
        return str(wrong)
    except _TooLongError:
        return ""


class _Start(NamedTuple):
    """What every version begins with; `order` is struct's sign for the byte order."""

    order: str
    version: int
    tensors: int
    keys: int


def _start(fd: int, size: int) -> _Start:
    start = os.pread(fd, _FIXED, 0)
    if start[:4] != _MAGIC:
        raise _WrongError("it does not begin with GGUF")
    if len(start) < _FIXED:
        raise _WrongError(f"it has {size} bytes")
    # The file does not say its byte order, but a small version read the wrong way is a large one.
    order = ">" if start[4:6] == b"\0\0" else "<"
    found = _Start(order, *struct.unpack_from(order + "IQQ", start, 4))
    if not 1 <= found.version < _NEWEST:
        raise _WrongError(f"its version reads {found.version}")
    return found


class _Cursor:
    """A place in a header, from which numbers and strings are read on.

    What is stepped over need not be read; what is read comes in pieces.
    """

    def __init__(self, fd: int, size: int, order: str) -> None:
        self.size = size
        self._fd = fd
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._at = _FIXED
        self._piece = b""
        self._begin = 0
        self._read = 0

    @property
    def at(self) -> int:
        """Bytes from the beginning of the file."""
        if self._at > self.size:
            raise _WrongError(f"its header ends beyond byte {self.size:,}, where the file ends")
        return self._at

    def u32(self) -> int:
        start = self._take(4)
        return int(self._u32.unpack_from(self._piece, start)[0])

    def u64(self) -> int:
        start = self._take(8)
        return int(self._u64.unpack_from(self._piece, start)[0])

    def string(self) -> bytes:
        length = self.u64()
        start = self._take(length)
        return self._piece[start : start + length]

    def skip(self, count: int) -> None:
        self._at += count

    def skip_strings(self, count: int) -> None:
        for _ in range(count):
            length = self.u64()
            self._at += length

    def _take(self, count: int) -> int:
        """Step over bytes that are in the piece then; returns where they begin in it."""
        start = self._at - self._begin
        if start + count > len(self._piece):
            self._fill(count)
            start = 0
        self._at += count
        return start

    def _fill(self, count: int) -> None:
        if self.at + count > self.size:
            raise _WrongError(f"it ends at byte {self.size:,}, inside its header")
        length = max(count, _PIECE)
        self._read += length
        if self._read > _MOST_READ:
            raise _TooLongError
        self._begin = self._at
        self._piece = os.pread(self._fd, length, self._begin)
        if len(self._piece) < count:
            raise _WrongError(f"it ended at byte {self._begin + len(self._piece):,} while read")


def _alignment(cursor: _Cursor, keys: int) -> int:
    """Step over the keys; returns what they say of the tensors' alignment, in bytes."""
    alignment = _ALIGNMENT
    for _ in range(keys):
        key = cursor.string()
        kind = cursor.u32()
        if key == _ALIGNMENT_KEY:
            alignment = cursor.u32() if kind == _U32 else 0
            if alignment == 0 or alignment & (alignment - 1):
                raise _WrongError("its alignment is not a power of two")
        else:
            _skip_value(cursor, kind)
    return alignment


def _skip_value(cursor: _Cursor, kind: int, depth: int = 0) -> None:
    if kind in _VALUE_BYTES:
        cursor.skip(_VALUE_BYTES[kind])
    elif kind == _STRING:
        cursor.skip_strings(1)
    elif kind == _ARRAY and depth < _DEEPEST:
        element, count = cursor.u32(), cursor.u64()
        if element in _VALUE_BYTES:
            cursor.skip(_VALUE_BYTES[element] * count)
        elif element == _STRING:
            cursor.skip_strings(count)
        else:
            for _ in range(count):
                _skip_value(cursor, element, depth + 1)
    else:
        raise _WrongError(f"its header has a value of the unknown type {kind}")


def _tensors_problem(cursor: _Cursor, tensors: int, alignment: int) -> str:
    """What is missing of the tensors; empty if nothing is."""
    ends = 0
    for _ in range(tensors):
        cursor.string()
        elements = _elements(cursor)
        kind, offset = cursor.u32(), cursor.u64()
        ends = max(ends, offset + _least_bytes(kind, elements))
    end = -(-cursor.at // alignment) * alignment + ends
    if ends and end > cursor.size:
        return f"its tensors end at byte {end:,} of {cursor.size:,}"
    return ""


def _elements(cursor: _Cursor) -> int:
    dimensions = cursor.u32()
    if dimensions > _DIMENSIONS:
        raise _WrongError(f"its header has a tensor of {dimensions:,} dimensions")
    elements = 1
    for _ in range(dimensions):
        elements *= cursor.u64()
    return elements


def _least_bytes(kind: int, elements: int) -> int:
    """Bytes that a tensor takes; where its type's are not known, one that it has for certain."""
    block = _BLOCKS.get(kind)
    if block is None:
        return min(elements, 1)
    return -(-elements // block.elements) * block.bytes

"""Whether a GGUF file is whole, as far as its header tells.

The format of versions 2 and 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A header
is `GGUF`, the version, the number of tensors, the number of keys, the keys with typed values, and
for each tensor its name, shape, type and offset. The offsets count from the end of the header,
where the tensors begin, aligned. Strings and arrays begin with their length. The sizes of tensor
types come from `ggml_type` in ggml.h and from the blocks in ggml-common.h.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

_MAGIC = b"GGUF"
_PREAMBLE_BYTES = 24  # of magic, version and the two counts
_MAX_VERSION = 63  # a larger number is no version, but damage
_PARSED_VERSIONS = (2, 3)
_ALIGNMENT_KEY = b"general.alignment"
_DEFAULT_ALIGNMENT = 32
_MAX_READ_BYTES = 64 << 20  # the vocabularies of real models take up to 20 MB
_PIECE_BYTES = 1 << 20
_MAX_NESTING = 8  # of arrays in arrays
_MAX_DIMENSIONS = 8  # ggml itself allows 4

_U32_TYPE, _STRING_TYPE, _ARRAY_TYPE = 4, 8, 9
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class _Block(NamedTuple):
    """How a tensor type is stored: a number of elements in a block, and the bytes of a block."""

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


class _MalformedError(Exception):
    """The header does not follow the format; the message says how."""


class _HeaderTooLongError(Exception):
    """The header is longer than what is read of it."""


def find_gguf_problem(fd: int, size: int) -> str:
    """Say what shows that an open file is no whole GGUF file; empty if nothing does.

    Of versions other than 2 and 3, and of headers above 64 MiB, only the start is checked.

    Args:
        fd: The file.
        size: Its size in bytes.

    Raises:
        OSError: It cannot be read.
    """
    try:
        preamble = _read_preamble(fd, size)
        if preamble.version not in _PARSED_VERSIONS:
            return ""
        cursor = _Cursor(fd, size, preamble.order)
        alignment = _read_alignment(cursor, preamble.keys)
        return _find_tensors_problem(cursor, preamble.tensors, alignment)
    except _MalformedError as malformed:
        return str(malformed)
    except _HeaderTooLongError:
        return ""


class _Preamble(NamedTuple):
    """What every version begins with.

    `order` is the sign of the module struct for the file's byte order, and `tensors` and `keys` are
    numbers of entries.
    """

    order: str
    version: int
    tensors: int
    keys: int


def _read_preamble(fd: int, size: int) -> _Preamble:
    start = os.pread(fd, _PREAMBLE_BYTES, 0)
    if start[:4] != _MAGIC:
        raise _MalformedError("it does not begin with GGUF")
    if len(start) < _PREAMBLE_BYTES:
        raise _MalformedError(f"it has {size} bytes")
    # The file does not state its byte order. But the version is a small number, and a small number
    # that is read in the wrong order is a large one.
    order = ">" if start[4:6] == b"\0\0" else "<"
    preamble = _Preamble(order, *struct.unpack_from(order + "IQQ", start, 4))
    if not 1 <= preamble.version <= _MAX_VERSION:
        raise _MalformedError(f"its version reads {preamble.version}")
    return preamble


class _Cursor:
    """A position in a header, from which numbers and strings are read one after the other.

    The file is read in pieces. Values that are skipped need not be read at all.
    """

    def __init__(self, fd: int, size: int, order: str) -> None:
        self.size = size
        self._fd = fd
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._position = _PREAMBLE_BYTES
        self._piece = b""
        self._piece_start = 0
        self._read_bytes = 0

    @property
    def position(self) -> int:
        """The position, in bytes from the beginning of the file."""
        if self._position > self.size:
            raise _MalformedError(f"its header ends beyond byte {self.size:,}, where the file ends")
        return self._position

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
        self._position += count

    def skip_strings(self, count: int) -> None:
        for _ in range(count):
            length = self.u64()
            self._position += length

    def _take(self, count: int) -> int:
        """Read some bytes and step over them; return where in the piece they begin."""
        start = self._position - self._piece_start
        if start + count > len(self._piece):
            self._fill(count)
            start = 0
        self._position += count
        return start

    def _fill(self, count: int) -> None:
        if self.position + count > self.size:
            raise _MalformedError(f"it ends at byte {self.size:,}, inside its header")
        length = max(count, _PIECE_BYTES)
        self._read_bytes += length
        if self._read_bytes > _MAX_READ_BYTES:
            raise _HeaderTooLongError
        self._piece_start = self._position
        self._piece = os.pread(self._fd, length, self._piece_start)
        if len(self._piece) < count:
            raise _MalformedError(
                f"it ended at byte {self._piece_start + len(self._piece):,} while read"
            )


def _read_alignment(cursor: _Cursor, keys: int) -> int:
    """Step over the keys, and return the alignment of tensors that they state, in bytes."""
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(keys):
        key = cursor.string()
        kind = cursor.u32()
        if key == _ALIGNMENT_KEY:
            alignment = cursor.u32() if kind == _U32_TYPE else 0
            if alignment == 0 or alignment & (alignment - 1):
                raise _MalformedError("its alignment is not a power of two")
        else:
            _skip_value(cursor, kind)
    return alignment


def _skip_value(cursor: _Cursor, kind: int, depth: int = 0) -> None:
    if kind in _VALUE_BYTES:
        cursor.skip(_VALUE_BYTES[kind])
    elif kind == _STRING_TYPE:
        cursor.skip_strings(1)
    elif kind == _ARRAY_TYPE and depth < _MAX_NESTING:
        element, count = cursor.u32(), cursor.u64()
        if element in _VALUE_BYTES:
            cursor.skip(_VALUE_BYTES[element] * count)
        elif element == _STRING_TYPE:
            cursor.skip_strings(count)
        else:
            for _ in range(count):
                _skip_value(cursor, element, depth + 1)
    else:
        raise _MalformedError(f"its header has a value of the unknown type {kind}")


def _find_tensors_problem(cursor: _Cursor, tensors: int, alignment: int) -> str:
    """Say what is missing of the tensors; empty if nothing is."""
    tensors_end = 0
    for _ in range(tensors):
        cursor.string()
        elements = _read_element_count(cursor)
        kind, offset = cursor.u32(), cursor.u64()
        tensors_end = max(tensors_end, offset + _min_bytes(kind, elements))
    # The tensors begin behind the header, at the next multiple of the alignment.
    end = -(-cursor.position // alignment) * alignment + tensors_end
    if tensors_end and end > cursor.size:
        return f"its tensors end at byte {end:,} of {cursor.size:,}"
    return ""


def _read_element_count(cursor: _Cursor) -> int:
    dimensions = cursor.u32()
    if dimensions > _MAX_DIMENSIONS:
        raise _MalformedError(f"its header has a tensor of {dimensions:,} dimensions")
    elements = 1
    for _ in range(dimensions):
        elements *= cursor.u64()
    return elements


def _min_bytes(kind: int, elements: int) -> int:
    """Bytes that a tensor takes at least.

    Of an unknown type that is one byte, if there is an element at all.
    """
    block = _BLOCKS.get(kind)
    if block is None:
        return min(elements, 1)
    return -(-elements // block.elements) * block.bytes

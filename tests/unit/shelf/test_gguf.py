"""Whether a GGUF file is whole by its own header."""

from __future__ import annotations

import os
import struct
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.shelf import gguf
from modelshelf.shelf.gguf import find_gguf_problem

_F32, _F16, _Q4_0, _Q4_K, _UNKNOWN = 0, 1, 2, 12, 77
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_FORMATS[12] = "d"


class _Writer:
    """Writes a GGUF file as the format says, in either byte order."""

    def __init__(self, version: int = 3, order: str = "<") -> None:
        self.version = version
        self.order = order
        self.keys: list[bytes] = []
        self.tensors: list[bytes] = []

    def _pack(self, format_: str, *values: Any) -> bytes:
        return struct.pack(self.order + format_, *values)

    def string(self, text: str) -> bytes:
        return self._pack("Q", len(text.encode())) + text.encode()

    def value(self, kind: int, value: Any) -> bytes:
        if kind == 8:
            return self.string(value)
        if kind == 9:
            element, items = value
            items_ = b"".join(self.value(element, item) for item in items)
            return self._pack("IQ", element, len(items)) + items_
        return self._pack(_FORMATS[kind], value)

    def key(self, name: str, kind: int, value: Any) -> None:
        self.keys.append(self.string(name) + self._pack("I", kind) + self.value(kind, value))

    def tensor(self, name: str, shape: Sequence[int], kind: int, offset: int) -> None:
        dimensions = self._pack(f"I{len(shape)}Q", len(shape), *shape)
        self.tensors.append(self.string(name) + dimensions + self._pack("IQ", kind, offset))

    def header(self, alignment: int = 32) -> bytes:
        counts = self._pack("IQQ", self.version, len(self.tensors), len(self.keys))
        head = b"GGUF" + counts + b"".join(self.keys) + b"".join(self.tensors)
        return head + bytes(-len(head) % alignment)


def _problem(content: bytes, size: int | None = None) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        if size is not None:
            file.truncate(size)
        file.flush()
        return find_gguf_problem(file.fileno(), os.fstat(file.fileno()).st_size)


def _model(version: int = 3, order: str = "<") -> _Writer:
    """A small model with a value of every type, and a vocabulary."""
    writer = _Writer(version, order)
    writer.key("general.architecture", 8, "llama")
    for kind, value in [(0, 1), (1, -1), (2, 1), (3, -1), (4, 1), (5, -1), (6, 0.5), (7, True)]:
        writer.key(f"a.{kind}", kind, value)
    for kind, large in [(10, 1 << 40), (11, -1), (12, 0.5)]:
        writer.key(f"a.{kind}", kind, large)
    writer.key("tokenizer.ggml.tokens", 9, (8, [f"token{i}" for i in range(300)]))
    writer.key("tokenizer.ggml.scores", 9, (6, [0.25] * 300))
    writer.key("nested", 9, (9, [(4, [1, 2]), (8, ["x"]), (9, [])]))
    writer.key("empty", 8, "")
    writer.tensor("token_embd.weight", [64, 2], _F32, 0)
    writer.tensor("blk.0.attn_q.weight", [256, 2], _Q4_K, 512)
    return writer


_MODEL_BYTES = 512 + 2 * 144


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_a_whole_model_passes(version: int, order: str) -> None:
    """Values of all types are stepped over, in either byte order, up to the tensors."""
    assert _problem(_model(version, order).header() + bytes(_MODEL_BYTES)) == ""


def test_bytes_behind_the_last_tensor_do_no_harm() -> None:
    """Writers pad the last tensor, or do not."""
    assert _problem(_model().header() + bytes(_MODEL_BYTES + 32)) == ""


@pytest.mark.parametrize("missing", [1, 100, 300, 700])
def test_a_truncated_model_is_refused(missing: int) -> None:
    """One byte less than the tensors need is too little, and both numbers are told."""
    content = _model().header() + bytes(_MODEL_BYTES)
    end = len(content)
    problem = _problem(content[:-missing])
    assert problem == f"its tensors end at byte {end:,} of {end - missing:,}"


@given(cut=st.integers(0, len(_model().header()) - 1))
def test_a_file_that_ends_in_its_header_is_refused(cut: int) -> None:
    """A file that is cut anywhere in its header is refused."""
    assert _problem(_model().header()[:cut]) != ""


def test_the_largest_offset_counts_not_the_last_entry() -> None:
    """Tensors may be listed in any order."""
    writer = _Writer()
    writer.tensor("b", [8], _F32, 32)
    writer.tensor("a", [8], _F32, 0)
    content = writer.header()
    assert _problem(content + bytes(64)) == ""
    assert "tensors end" in _problem(content + bytes(63))


@pytest.mark.parametrize(
    ("kind", "shape", "size"),
    [
        (0, [3, 5], 60),  # F32
        (1, [3, 5], 30),  # F16
        (2, [32, 2], 36),  # Q4_0
        (3, [32, 2], 40),  # Q4_1
        (6, [32, 2], 44),  # Q5_0
        (7, [32, 2], 48),  # Q5_1
        (8, [32, 2], 68),  # Q8_0
        (10, [256, 2], 168),  # Q2_K
        (11, [256, 2], 220),  # Q3_K
        (12, [256, 2], 288),  # Q4_K
        (13, [256, 2], 352),  # Q5_K
        (14, [256, 2], 420),  # Q6_K
        (20, [64], 36),  # IQ4_NL
        (23, [256], 136),  # IQ4_XS
        (24, [7], 7),  # I8
        (25, [7], 14),  # I16
        (26, [7], 28),  # I32
        (27, [7], 56),  # I64
        (28, [7], 56),  # F64
        (30, [3, 5], 30),  # BF16
        (39, [32, 3], 51),  # MXFP4
        (0, [], 4),
        (0, [0, 5], 0),
    ],
)
def test_known_types_take_their_bytes(kind: int, shape: list[int], size: int) -> None:
    """A tensor of a known type must be there to its last byte."""
    writer = _Writer()
    writer.tensor("t", shape, kind, 0)
    content = writer.header()
    assert _problem(content + bytes(size)) == ""
    if size:
        assert "tensors end" in _problem(content + bytes(size - 1))


@pytest.mark.parametrize("kind", [_UNKNOWN, 31, 40, 41])
def test_of_unknown_types_only_the_beginning_is_judged(kind: int) -> None:
    """A tensor of an unknown type must have at least one byte."""
    writer = _Writer()
    writer.tensor("t", [1000], kind, 64)
    content = writer.header()
    assert _problem(content + bytes(65)) == ""
    assert "tensors end" in _problem(content + bytes(64))


def test_alignment_moves_the_tensors() -> None:
    """`general.alignment` says where the tensors begin."""
    writer = _Writer()
    writer.key("general.alignment", 4, 4096)
    writer.tensor("t", [8], _F32, 0)
    content = writer.header(4096)
    assert len(content) == 4096
    assert _problem(content + bytes(32)) == ""
    assert _problem(content[:200], size=4096 + 31) == "its tensors end at byte 4,128 of 4,127"


@pytest.mark.parametrize(("kind", "value"), [(4, 0), (4, 48), (8, "32"), (10, 32)])
def test_a_senseless_alignment_is_refused(kind: int, value: Any) -> None:
    """It must be a power of two, in 32 bits."""
    writer = _Writer()
    writer.key("general.alignment", kind, value)
    assert _problem(writer.header()) == "its alignment is not a power of two"


def test_a_file_of_keys_alone_passes() -> None:
    """A vocabulary, or the first part of a split model, may have no tensor at all."""
    writer = _Writer()
    writer.key("general.architecture", 8, "llama")
    assert _problem(writer.header()) == ""
    assert _problem(writer.header(1)) == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it does not begin with GGUF"),
        (b"GGU", "it does not begin with GGUF"),
        (b"ggml" + bytes(40), "it does not begin with GGUF"),
        (b"<!DOCTYPE html>" + bytes(40), "it does not begin with GGUF"),
        (b"GGUF\3\0\0\0", "it has 8 bytes"),
        (b"GGUF" + bytes(40), "its version reads 0"),
        (b"GGUF" + struct.pack("<I", 64) + bytes(40), "its version reads 64"),
        (b"GGUF" + struct.pack("<I", 0x01020304) + bytes(40), "its version reads 16909060"),
    ],
)
def test_what_is_no_gguf_file_is_refused(content: bytes, problem: str) -> None:
    """The first bytes must be the format's, with a version that can be."""
    assert _problem(content) == problem


@pytest.mark.parametrize("version", [1, 4, 63])
def test_of_other_versions_only_the_start_is_judged(version: int) -> None:
    """Of other versions only the start is checked: their formats differ or are unknown."""
    assert _problem(_Writer(version).header() + b"whatever") == ""


def _raw(tail: bytes, *, tensors: int = 0, keys: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + tail


_KEY = struct.pack("<Q", 1) + b"k"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (_raw(b"", keys=1 << 60), "inside its header"),
        (_raw(b"", tensors=1 << 60), "inside its header"),
        (_raw(struct.pack("<Q", 1 << 62), keys=1), "inside its header"),
        (_raw(_KEY + struct.pack("<I", 13), keys=1), "unknown type 13"),
        (_raw(_KEY + struct.pack("<IQ", 8, 1 << 62), keys=1), "header ends beyond"),
        (_raw(_KEY + struct.pack("<IIQ", 9, 0, 1 << 62), keys=1), "header ends beyond"),
        (_raw(_KEY + struct.pack("<IIQ", 9, 8, 1 << 62), keys=1), "inside its header"),
        (_raw(_KEY + struct.pack("<IIQ", 9, 99, 1), keys=1), "unknown type 99"),
        (_raw(_KEY + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50, keys=1), "type 9"),
        (_raw(_KEY + struct.pack("<I", 1 << 20) + bytes(99), tensors=1), "1,048,576 dimensions"),
    ],
)
def test_numbers_beyond_all_measure_are_refused_at_once(content: bytes, problem: str) -> None:
    """Counts and lengths that the file cannot hold are refused at once."""
    began = time.perf_counter()
    assert problem in _problem(content)
    assert time.perf_counter() - began < 1


def test_of_a_header_without_end_a_part_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a header without end 64 MiB are read, and then the file passes."""
    read = 0
    pread = os.pread

    def counting(fd: int, count: int, offset: int) -> bytes:
        nonlocal read
        data = pread(fd, count, offset)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting)
    assert gguf._MAX_READ_BYTES == 64 << 20
    monkeypatch.setattr(gguf, "_MAX_READ_BYTES", 2 << 20)
    empty_strings = _raw(_KEY + struct.pack("<IIQ", 9, 8, 1 << 23), keys=1)
    assert _problem(empty_strings, size=8 << 30) == ""
    assert 1 << 20 <= read <= 3 << 20


def test_a_large_array_is_stepped_over_unread() -> None:
    """Numbers in an array need not be read, so 4 GiB of them cost nothing."""
    content = _raw(_KEY + struct.pack("<IIQ", 9, 10, 1 << 29), keys=1)
    began = time.perf_counter()
    assert _problem(content, size=len(content) + (8 << 29)) == ""
    assert _problem(content, size=len(content) + (8 << 29) - 1).startswith("its header ends beyond")
    assert time.perf_counter() - began < 1


def test_a_real_vocabulary_takes_no_time() -> None:
    """A vocabulary of 100,000 tokens and merges is skipped in a fraction of a second."""
    writer = _Writer()
    for name in ("tokens", "merges"):
        writer.key(f"tokenizer.ggml.{name}", 9, (8, [f"{name}{i}" for i in range(100_000)]))
    writer.tensor("t", [8], _F32, 0)
    content = writer.header() + bytes(32)
    began = time.process_time()
    assert _problem(content) == ""
    assert time.process_time() - began < 0.5


@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 3))
def test_no_bytes_crash_the_check(tail: bytes, tensors: int, keys: int) -> None:
    """Any bytes behind a plausible start pass, or are refused with a reason."""
    assert isinstance(_problem(_raw(tail, tensors=tensors, keys=keys)), str)

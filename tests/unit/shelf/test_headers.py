"""Whether a weights file is whole by its own header: safetensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.headers import check_header

_TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def _safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _two(begin: int, end: int) -> dict[str, object]:
    return {"a": _TENSOR, "b": {"dtype": "U8", "shape": [1], "data_offsets": [begin, end]}}


@pytest.mark.parametrize(
    "content",
    [
        _safetensors({"a": _TENSOR}, bytes(8)),
        _safetensors(_two(8, 12), bytes(12)),
        _safetensors({**_two(8, 12), "__metadata__": {"format": "pt"}}, bytes(12)),
        _safetensors(_two(8, 8), bytes(8)),
        _safetensors(_two(0, 0), bytes(8)),
        _safetensors({}),
        _safetensors(json.dumps({"a": _TENSOR}).encode() + b"      ", bytes(8)),
    ],
    ids=["one", "two", "metadata", "empty last", "empty first", "none", "padded"],
)
def test_whole_files_pass(tmp_path: Path, content: bytes) -> None:
    """Files whose tensors lie end to end from the header to the end of the file are whole."""
    path = tmp_path / "f.part"
    path.write_bytes(content)
    check_header(str(path), "model.safetensors")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it has 0 bytes"),
        (b"1234567", "it has 7 bytes"),
        (_safetensors({"a": _TENSOR}, bytes(7)), r"tensors end at byte \d+ of \d+"),
        (_safetensors({"a": _TENSOR}), r"tensors end at byte \d+ of \d+"),
        (_safetensors({"a": _TENSOR}, bytes(9)), r"tensors end at byte \d+ of \d+"),
        (_safetensors(_two(9, 12), bytes(12)), "leave a gap at byte 8"),
        (_safetensors(_two(7, 12), bytes(12)), "leave a gap at byte 8"),
        (_safetensors(_two(8, 4), bytes(8)), "leave a gap at byte 8"),
        (_safetensors(_two(-8, 0), bytes(8)), "leave a gap at byte 0"),
        (struct.pack("<Q", 1 << 40) + b"{}", "its header states 1,099,511,627,776 bytes of 10"),
        (struct.pack("<Q", 3) + b"{}", "its header states 3 bytes of 10"),
        (_safetensors(b"not json"), "is not a table of tensors"),
        (_safetensors(b"\xff\xfe"), "is not a table of tensors"),
        (_safetensors([1, 2]), "is not a table of tensors"),
        (_safetensors({"a": 1}), "is not a table of tensors"),
        (_safetensors({"a": {"shape": [1]}}), "is not a table of tensors"),
        (_safetensors({"a": {"data_offsets": []}}), "is not a table of tensors"),
        (_safetensors({"a": {"data_offsets": ["x", "y"]}}), "is not a table of tensors"),
        (_safetensors(b'{"a": {"data_offsets": [0, 1e999]}}'), "is not a table of tensors"),
        (_safetensors(b"[" * 200_000), "is not a table of tensors"),
        (b"<!DOCTYPE html><title>404</title>", "its header states"),
    ],
)
def test_what_is_not_whole_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    """Anything else is refused with the file's name in the snapshot and what is wrong."""
    path = tmp_path / "f.part"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=problem) as e:
        check_header(str(path), "a/model.SafeTensors")
    assert str(e.value).startswith("a/model.SafeTensors is not a whole safetensors file: ")
    assert e.value.exit_code == 14


def test_the_longest_header_is_the_library_s(tmp_path: Path) -> None:
    """A header above 100 MB, which the safetensors library refuses too, is not even read."""
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(200_000_000)
    with pytest.raises(IntegrityError, match="its header states 100,000,001 bytes"):
        check_header(str(path), "x.safetensors")


@pytest.mark.parametrize("name", ["config.json", "model.bin", "safetensors", "a.gguf/readme"])
def test_other_files_are_not_judged(tmp_path: Path, name: str) -> None:
    """Only the name's ending says that a file has a header to check."""
    path = tmp_path / "f"
    path.write_bytes(b"anything")
    check_header(str(path), name)


@given(st.binary(max_size=64))
def test_no_bytes_crash_the_check(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    """Any bytes behind a plausible start pass or are refused."""
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(struct.pack("<Q", len(tail)) + tail)
    try:
        check_header(str(path), "x.safetensors")
    except IntegrityError as e:
        assert "not a whole safetensors file" in str(e)  # noqa: PT017 - some pass


def test_gguf_files_are_judged_by_their_own_check(tmp_path: Path) -> None:
    """A `.gguf` name leads to the GGUF check."""
    path = tmp_path / "f"
    path.write_bytes(b"GGML" + bytes(60))
    with pytest.raises(IntegrityError, match="not a whole gguf file: it does not begin with GGUF"):
        check_header(str(path), "x-Q4_K_M.gguf")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.gguf", "LICENSE"])
def test_a_git_lfs_pointer_is_no_file_of_any_kind(tmp_path: Path, name: str) -> None:
    """A pointer in place of content is refused by its name, and the hint names Git LFS."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064x\nsize 9\n" % 7
    path = tmp_path / "f.part"
    path.write_bytes(pointer)
    with pytest.raises(IntegrityError, match=f"{name} is a Git LFS pointer") as raised:
        check_header(str(path), name)
    assert "git lfs pull" in raised.value.hint
    path.write_bytes(pointer + b"x" * 1024)
    if name != "model.gguf":
        check_header(str(path), name)

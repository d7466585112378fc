"""Whether a file is what its name says, as far as its first bytes tell.

A checksum proves that the bytes are the source's. But if an upload to the source was cut off, its
checksum is that of the cut file. The header of a weights file says where its tensors end, so it
shows that. The format of safetensors: https://huggingface.co/docs/safetensors

A clone that was made without Git LFS has a small text, the pointer, in place of each large file:
https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.gguf import find_gguf_problem

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_MAX_POINTER_BYTES = 1024  # a pointer is shorter
_MAX_HEADER_BYTES = 100_000_000  # the safetensors library refuses longer ones, too


def check_header(path: str, name: str) -> None:
    """Check the header of a `.safetensors` or `.gguf` file, and that a file is no Git LFS pointer.

    Args:
        path: Where the file lies.
        name: Its name in the snapshot, for the error.

    Raises:
        IntegrityError: The header does not follow the format, the file is shorter or longer than
            its header says, or it is a Git LFS pointer.
        OSError: The file cannot be read.
    """
    ending = os.path.splitext(name)[1].lower()
    find_problem = {".safetensors": _find_safetensors_problem, ".gguf": find_gguf_problem}.get(
        ending
    )
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        _refuse_lfs_pointer(fd, size, name)
        problem = find_problem(fd, size) if find_problem else ""
    finally:
        os.close(fd)
    if problem:
        raise IntegrityError(
            f"{name} is not a whole {ending[1:]} file: {problem}",
            hint="it is what the source has: tell its owner, or choose another revision",
        )


def _refuse_lfs_pointer(fd: int, size: int, name: str) -> None:
    if size < _MAX_POINTER_BYTES and os.pread(fd, len(_LFS_POINTER), 0) == _LFS_POINTER:
        raise IntegrityError(
            f"{name} is a Git LFS pointer and not the file itself",
            hint="run git lfs pull in the clone that it comes from, or pull the model from its Hub",
        )


def _find_safetensors_problem(fd: int, size: int) -> str:
    length_field = os.pread(fd, 8, 0)
    if len(length_field) < 8:  # noqa: PLR2004 - its size in the format
        return f"it has {size} bytes"
    (length,) = struct.unpack("<Q", length_field)
    if length > min(_MAX_HEADER_BYTES, size - 8):
        return f"its header states {length:,} bytes of {size:,}"
    try:
        header = json.loads(os.pread(fd, length, 8))
        offsets = sorted(_data_offsets(header))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return "its header is not a table of tensors"
    expected = 0
    for begin, end in offsets:
        if begin != expected or end < begin:
            return f"its tensors leave a gap at byte {expected:,}"
        expected = end
    if 8 + length + expected != size:
        return f"its tensors end at byte {8 + length + expected:,} of {size:,}"
    return ""


def _data_offsets(header: dict[str, Any]) -> list[tuple[int, int]]:
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    return [(int(t["data_offsets"][0]), int(t["data_offsets"][1])) for t in tensors]

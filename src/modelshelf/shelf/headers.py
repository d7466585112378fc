"""Whether a weights file begins as its format says: safetensors and GGUF.

A checksum proves that the bytes are the source's; this proves that the source's bytes are a
whole file, since a truncated upload has a perfect checksum. Format of safetensors:
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.gguf import gguf_problem

# What the safetensors library itself allows.
_MAX_HEADER = 100_000_000


def check_header(path: str, name: str) -> None:
    """Check the header of a file by its name's ending; other files pass.

    Args:
        path: Where the file lies.
        name: Its name in the snapshot, for the error.

    Raises:
        IntegrityError: The header is not of the format, or the file is shorter or longer than
            its header says.
        OSError: The file cannot be read.
    """
    ending = os.path.splitext(name)[1].lower()
    check = {".safetensors": _safetensors_problem, ".gguf": gguf_problem}.get(ending)
    if check is None:
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        problem = check(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    if problem:
        raise IntegrityError(
            f"{name} is not a whole {ending[1:]} file: {problem}",
            hint="it is what the source has: tell its owner, or choose another revision",
        )


def _safetensors_problem(fd: int, size: int) -> str:
    start = os.pread(fd, 8, 0)
    if len(start) < 8:  # noqa: PLR2004 - the length field itself
        return f"it has {size} bytes"
    (length,) = struct.unpack("<Q", start)
    if length > min(_MAX_HEADER, size - 8):
        return f"its header states {length:,} bytes of {size:,}"
    try:
        header = json.loads(os.pread(fd, length, 8))
        ends = sorted(_offsets(header))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return "its header is not a table of tensors"
    expected = 0
    for begin, end in ends:
        if begin != expected or end < begin:
            return f"its tensors leave a gap at byte {expected:,}"
        expected = end
    if 8 + length + expected != size:
        return f"its tensors end at byte {8 + length + expected:,} of {size:,}"
    return ""


def _offsets(header: dict[str, Any]) -> list[tuple[int, int]]:
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    return [(int(t["data_offsets"][0]), int(t["data_offsets"][1])) for t in tensors]

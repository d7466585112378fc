"""Whether a weights file is as long as its own header says: safetensors and GGUF.

A checksum proves that the bytes are the source's. But if an upload to the source was cut off, its
checksum is that of the cut file. The header of a weights file says where its tensors end, so it
shows that. The format of safetensors: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from modelshelf.shelf.errors import IntegrityError
from modelshelf.shelf.gguf import find_gguf_problem

_MAX_HEADER_BYTES = 100_000_000  # the safetensors library refuses longer ones, too


def check_header(path: str, name: str) -> None:
    """Check the header of a `.safetensors` or `.gguf` file; other files pass.

    Args:
        path: Where the file lies.
        name: Its name in the snapshot, for the error.

    Raises:
        IntegrityError: The header does not follow the format, or the file is shorter or longer
            than its header says.
        OSError: The file cannot be read.
    """
    ending = os.path.splitext(name)[1].lower()
    find_problem = {".safetensors": _find_safetensors_problem, ".gguf": find_gguf_problem}.get(
        ending
    )
    if find_problem is None:
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        problem = find_problem(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    if problem:
        raise IntegrityError(
            f"{name} is not a whole {ending[1:]} file: {problem}",
            hint="it is what the source has: tell its owner, or choose another revision",
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

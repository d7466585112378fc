"""The processor and the GPUs of this machine, as far as compiled code depends on them (Linux)."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
from collections.abc import Sequence


def list_gpus(root: str = "/") -> tuple[str, ...]:
    """List the names of the GPUs, each once; empty on a machine that has none.

    Args:
        root: The folder in which `proc`, `sys` and `dev` lie.
    """
    nvidia = _read_all(os.path.join(root, "proc/driver/nvidia/gpus/*/information"))
    amd = _read_all(os.path.join(root, "sys/class/kfd/kfd/topology/nodes/*/properties"))
    names = {f"nvidia {name}" for name in _find_values(nvidia, r"Model:\s*(.+)")}
    # The file lists processors, too. They have version 0.
    names |= {f"amd gfx {name}" for name in _find_values(amd, r"gfx_target_version ([1-9]\d*)")}
    if not names and glob.glob(os.path.join(root, "dev/nvidia[0-9]*")):
        # A container may see the device and not the driver's part of /proc.
        names = {"nvidia"}
    return tuple(sorted(names))


def describe_cpu(root: str = "/") -> str:
    """Name the processor, with a hash of the instruction sets that it has.

    Args:
        root: The folder in which `proc` lies.

    Returns:
        The name, and 16 digits of a sha256.
    """
    texts = _read_all(os.path.join(root, "proc/cpuinfo"))
    names = sorted(_find_values(texts, r"(?:model name|CPU part)\s*:\s*(.+)"))
    instruction_sets = {
        " ".join(sorted(line.split()))
        for line in _find_values(texts, r"(?:flags|Features)\s*:(.+)")
    }
    digest = hashlib.sha256("\n".join(sorted(instruction_sets)).encode()).hexdigest()
    return f"{' + '.join(names) or os.uname().machine} {digest[:16]}"


def _read_all(pattern: str) -> list[str]:
    """Read the files that match a pattern; one that cannot be read is left out."""
    texts = []
    for path in sorted(glob.glob(pattern)):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            texts.append(file.read())
    return texts


def _find_values(texts: Sequence[str], line_pattern: str) -> set[str]:
    """Find the part in parentheses of each line that matches."""
    pattern = re.compile(rf"^{line_pattern}$", re.MULTILINE)
    return {value.strip() for text in texts for value in pattern.findall(text)}

"""How much may be read into the page cache: the host's free memory and the limits of our cgroups.

The page cache of a container counts towards its memory limit, but the kernel gives it back before
it kills anything. So what is cached now counts as free here. Reading more than fits would be in
vain, since the kernel would drop the pages that were read first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_USABLE_SHARE = 0.9  # of what is free; the rest is a reserve for the engine


def page_cache_room(root: str = "/") -> int | None:
    """Return how many bytes of files may lie in the page cache.

    Args:
        root: The folder in which `proc` and `sys` lie.

    Returns:
        Bytes; None if the system does not say. The narrowest limit counts.
    """
    limits = [*_read_cgroup_limits(root)]
    available_kib = _read_numbers(os.path.join(root, "proc/meminfo")).get("MemAvailable:")
    if available_kib is not None:
        limits.append(available_kib * 1024)
    return int(max(min(limits), 0) * _USABLE_SHARE) if limits else None


def _read_cgroup_limits(root: str) -> Iterator[int]:
    """Read how many bytes each cgroup from ours upwards has left, in version 2 and version 1.

    A container usually sees its own cgroup as the root of the tree, while `/proc/self/cgroup` may
    have the path that the host has for it. A folder that is not there has no limit.
    """
    base = os.path.join(root, "sys/fs/cgroup")
    for line in _read_lines(os.path.join(root, "proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _read_upwards(base, path, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _read_upwards(os.path.join(base, "memory"), path, limit, used, "total_")


def _read_upwards(
    base: str, path: str, limit_file: str, used_file: str, stat_prefix: str
) -> Iterator[int]:
    parts = [part for part in path.split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        folder = os.path.join(base, *parts[:depth])
        limit = _read_number(os.path.join(folder, limit_file))
        used = _read_number(os.path.join(folder, used_file))
        if limit is not None and used is not None:
            stat = _read_numbers(os.path.join(folder, "memory.stat"))
            # The kernel can drop the pages of files. It cannot drop those of a tmpfs, which are
            # in neither of these two numbers.
            cached = sum(
                stat.get(f"{stat_prefix}{kind}_file", 0) for kind in ("active", "inactive")
            )
            yield limit - used + cached


def _read_number(path: str) -> int | None:
    with contextlib.suppress(ValueError, IndexError):
        return int(_read_lines(path)[0])  # `max` means that there is no limit
    return None


def _read_numbers(path: str) -> dict[str, int]:
    return {
        fields[0]: int(fields[1])
        for fields in map(str.split, _read_lines(path))
        if len(fields) > 1 and fields[1].isdigit()
    }


def _read_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []

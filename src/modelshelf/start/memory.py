"""How much may be read into the page cache: what the host has, and what our cgroups leave."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_SHARE = 0.9  # of what is left; the rest is for what nobody foresaw


def room(root: str = "/") -> int | None:
    """Bytes that the page cache may grow by, or hold already; None if the system does not say.

    Args:
        root: Where `proc` and `sys` lie.
    """
    found = [*_of_cgroups(root)]
    available = _numbers(os.path.join(root, "proc/meminfo")).get("MemAvailable:")
    if available is not None:
        found.append(available * 1024)
    return int(max(min(found), 0) * _SHARE) if found else None


def _of_cgroups(root: str) -> Iterator[int]:
    """What each cgroup from ours upwards leaves, in version 2 or 1.

    In a container ours is seen as the root, and its path of the host leads nowhere.
    """
    base = os.path.join(root, "sys/fs/cgroup")
    for line in _lines(os.path.join(root, "proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _upwards(base, path, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _upwards(os.path.join(base, "memory"), path, limit, used, "total_")


def _upwards(base: str, path: str, limit: str, used: str, prefix: str) -> Iterator[int]:
    parts = [part for part in path.split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        folder = os.path.join(base, *parts[:depth])
        most, now = _number(os.path.join(folder, limit)), _number(os.path.join(folder, used))
        if most is not None and now is not None:
            stat = _numbers(os.path.join(folder, "memory.stat"))
            # Pages of files can go; those of a tmpfs cannot, and are in neither.
            cached = sum(stat.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
            yield most - now + cached


def _number(path: str) -> int | None:
    with contextlib.suppress(ValueError, IndexError):
        return int(_lines(path)[0])  # `max` is no limit
    return None


def _numbers(path: str) -> dict[str, int]:
    return {
        fields[0]: int(fields[1])
        for fields in map(str.split, _lines(path))
        if len(fields) > 1 and fields[1].isdigit()
    }


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []

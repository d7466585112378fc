"""Numbers, times and ids as people read them. Pure."""

from __future__ import annotations

import datetime as dt

_STEP = 1000
_UNITS = ("kB", "MB", "GB", "TB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def size(count: float) -> str:
    """A number of bytes in decimal units, as hubs and disks state them: `14.5 GB`."""
    if count < _STEP:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= _STEP
        if count < _STEP or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}" if count < _STEP / 10 else f"{count:.0f} {unit}"


def date(seconds: float) -> str:
    """Seconds since 1970 as the local date and minute: `2026-11-24 10:00`."""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 file`, `3 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(seconds: float) -> str:
    """A duration in one unit: `12 s`, `5 min`, `3 h`, `2 d`."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} d"


def short_id(snapshot_id: str) -> str:
    """Shorten the commit in a snapshot's id; the suffix for its choice of files stays whole."""
    commit, _, files = snapshot_id.partition("-")
    return f"{commit[:12]}-{files}"

"""How long to wait: before a process is started again, and between looks at its health. Pure."""

from __future__ import annotations

_FIRST = 0.5  # seconds
_LONGEST = 30.0
_STEADY = 60.0  # seconds after which a process that ran counts as sound
_SHORTEST_LOOK = 0.025
_LONGEST_LOOK = 0.5


def failures_after(failures: int, uptime: float) -> int:
    """How often a process has failed in a row, now that it ended after `uptime` seconds."""
    return 1 if uptime >= _STEADY else failures + 1


def restart_wait(failures: int) -> float:
    """Seconds before a process is started again that has failed so often in a row."""
    return min(_LONGEST, _FIRST * 2.0 ** min(failures - 1, 16))


def look_wait(waited: float) -> float:
    """Seconds until the next look at a process that has not been ready for `waited` seconds."""
    return min(_LONGEST_LOOK, max(_SHORTEST_LOOK, waited / 40))

"""How long to wait before a process is restarted, and between two health checks. Pure."""

from __future__ import annotations

_FIRST_RESTART_SECONDS = 0.5
_MAX_RESTART_SECONDS = 30.0
_STABLE_SECONDS = 60.0  # a process that ran for so long is not failing in a row
_MIN_POLL_SECONDS = 0.025
_MAX_POLL_SECONDS = 0.5


def count_failures(failures: int, uptime_seconds: float) -> int:
    """Count the failures in a row, now that a process has ended once more.

    Args:
        failures: The failures in a row before.
        uptime_seconds: How long the process was ready this time.
    """
    return 1 if uptime_seconds >= _STABLE_SECONDS else failures + 1


def restart_wait_seconds(failures: int) -> float:
    """The seconds to wait before a restart, after some failures in a row."""
    return min(_MAX_RESTART_SECONDS, _FIRST_RESTART_SECONDS * 2.0 ** min(failures - 1, 16))


def health_poll_seconds(elapsed_seconds: float) -> float:
    """The seconds until the next health check of a process that has been starting for a while."""
    return min(_MAX_POLL_SECONDS, max(_MIN_POLL_SECONDS, elapsed_seconds / 40))

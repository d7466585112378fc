"""How long to wait before a restart, and between two health checks."""

from __future__ import annotations

from modelshelf.targets.local.wait_times import (
    count_failures,
    health_poll_seconds,
    restart_wait_seconds,
)


def test_the_wait_before_a_restart_grows() -> None:
    """The wait doubles from half a second and stays at half a minute."""
    waits = [restart_wait_seconds(failures) for failures in range(1, 10)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert restart_wait_seconds(10_000) == 30.0


def test_failures_are_counted_anew_after_a_minute_of_uptime() -> None:
    """Only failures in a row count; a process that ran for a minute ends the row."""
    assert [count_failures(f, up) for f, up in [(0, 1.0), (4, 59.9), (4, 60.0)]] == [1, 5, 1]


def test_health_checks_are_frequent_at_first() -> None:
    """A quick start is seen within 25 ms, and a slow one is checked every half second."""
    waits = [health_poll_seconds(elapsed) for elapsed in (0.0, 1.0, 4.0, 100.0)]
    assert waits == [0.025, 0.025, 0.1, 0.5]

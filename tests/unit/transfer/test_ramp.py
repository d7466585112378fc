"""How many connections to use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelshelf.transfer.ramp import ConnectionLimits, ConnectionRamp


def _watch(
    ramp: ConnectionRamp, rate: Callable[[int], float], seconds: float, *, start: float = 0.0
) -> list[int]:
    """Let a virtual clock run, and return each number of connections that the ramp came to."""
    seen = [ramp.connections]
    received, tick = 0.0, 0.1
    for step in range(round(seconds / tick)):
        received += rate(ramp.connections) * tick
        connections = ramp.tick(start + (step + 1) * tick, int(received))
        assert connections == ramp.connections
        if connections != seen[-1]:
            seen.append(connections)
    return seen


def test_connections_double_while_each_brings_its_own() -> None:
    """If each connection is limited, their number grows to its maximum within seconds."""
    assert _watch(ConnectionRamp(ConnectionLimits(), 0.0), lambda n: n * 1e6, 5.0) == [4, 8, 16, 32]


def test_what_did_not_help_is_taken_back() -> None:
    """Where the link is the limit, the first doubling is tried and taken back."""
    assert _watch(ConnectionRamp(ConnectionLimits(), 0.0), lambda _: 1e8, 4.0) == [4, 8, 4]


def test_growth_stops_where_throughput_stops() -> None:
    """Eight connections fill this link: sixteen are tried, and eight stay."""
    assert _watch(ConnectionRamp(ConnectionLimits(), 0.0), lambda n: min(n, 8) * 1e6, 4.0) == [
        4,
        8,
        16,
        8,
    ]


def test_a_busy_processor_gets_no_more_connections() -> None:
    """While the processor is busy, more connections are not tried."""
    ramp = ConnectionRamp(ConnectionLimits(), 0.0)
    for tick in range(1, 31):
        assert ramp.tick(tick * 0.1, tick * 10**8, tick * 0.07) == 4
    worked, later = 30 * 0.07, range(31, 61)
    grown = [ramp.tick(tick * 0.1, tick * 10**8, worked) for tick in later]
    assert max(grown) == 8


def test_more_is_tried_again_after_a_rest() -> None:
    """A doubling that did not help is tried again after 3, 6, 12, 24 and 30 seconds."""
    assert _watch(ConnectionRamp(ConnectionLimits(), 0.0), lambda _: 1e8, 65.0) == [4, 8] * 5 + [4]


def test_at_the_most_it_stays() -> None:
    """At the maximum the number stays, unless the server asks for fewer requests."""
    assert _watch(
        ConnectionRamp(ConnectionLimits(min_connections=16), 0.0), lambda n: n * 1e6, 120.0
    ) == [16, 32]


def test_nothing_is_judged_before_the_first_byte() -> None:
    """A server that takes long to answer is no reason for more connections."""
    ramp = ConnectionRamp(ConnectionLimits(), 0.0)
    assert _watch(ramp, lambda _: 0.0, 10.0) == [4]
    assert _watch(ramp, lambda n: n * 1e6, 2.0, start=10.0)[:2] == [4, 8]


@pytest.mark.parametrize(("least", "most", "expected"), [(1, 3, [1, 2, 3]), (5, 5, [5])])
def test_the_bounds_hold(least: int, most: int, expected: list[int]) -> None:
    """The number never leaves its bounds, whether or not they are powers of two."""
    assert (
        _watch(
            ConnectionRamp(ConnectionLimits(min_connections=least, max_connections=most), 0.0),
            lambda n: n * 1e6,
            10.0,
        )
        == expected
    )


def test_a_server_that_asks_for_less_gets_less() -> None:
    """Each refusal halves the connections, down to one; two at the same time count once."""
    ramp = ConnectionRamp(ConnectionLimits(min_connections=8), 0.0)
    for now, expected in [(0.1, 8), (1.0, 4), (1.1, 4), (1.3, 2), (2.0, 1), (3.0, 1)]:
        ramp.back_off(now)
        assert ramp.connections == expected
    assert ramp.tick(20.0, 10**9) == 1


def test_after_backing_off_it_rests_and_grows_again() -> None:
    """Half a minute after the last refusal it begins to try for more."""
    ramp = ConnectionRamp(ConnectionLimits(), 0.0)
    ramp.back_off(1.0)
    assert _watch(ramp, lambda n: n * 1e6, 29.0, start=1.0) == [2]
    assert _watch(ramp, lambda n: n * 1e6, 10.0, start=30.0) == [2, 4, 8, 16, 32]

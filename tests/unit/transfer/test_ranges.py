"""What to ask for next, and over how many connections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.transfer.ranges import Limits, Ramp, Range, Window


class _Fetcher:
    """Readers of one file's ranges, without a network: what a window gives out and gets back."""

    def __init__(self, size: int, done: int, chunk: int) -> None:
        self.window = Window(size, done, chunk)
        self.size = size
        self.done = done
        self.active: list[Range] = []
        self.early: list[Range] = []
        self.whole = False

    def claim(self) -> bool:
        claimed = self.window.claim(self.done)
        if claimed is None:
            return False
        if self.whole:
            assert claimed == (self.done, self.size)
            self.early.clear()
        for other in [*self.active, *self.early, Range(0, self.done)]:
            assert claimed.end <= other.start or other.end <= claimed.start
        self.active.append(claimed)
        return True

    def finish(self, which: int) -> None:
        self._arrive(self.active.pop(which))
        self.window.finish()

    def break_off(self, which: int, received: int) -> None:
        """A reader received some bytes of its range and gives the rest back."""
        claimed = self.active.pop(which)
        middle = min(claimed.start + received, claimed.end)
        self._arrive(Range(claimed.start, middle))
        self.window.release(Range(middle, claimed.end))

    def ignore_range(self, which: int) -> None:
        """A reader finds out that the server sends the whole file whatever is asked for."""
        claimed = self.active.pop(which)
        self.whole = True
        self.early.clear()
        self.window.take_whole()
        self.window.release(claimed)

    def _arrive(self, arrived: Range) -> None:
        if arrived.start < arrived.end:
            self.early.append(arrived)
        for early in sorted(self.early):
            if early.start == self.done:
                self.done = early.end
                self.early.remove(early)


_steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "claim", "finish", "break off", "ignore"]),
        st.integers(0, 7),
        st.integers(0, 12),
    ),
    max_size=60,
)


@given(size=st.integers(0, 100), skip=st.integers(0, 100), chunk=st.integers(1, 40), steps=_steps)
def test_every_byte_is_fetched_once(
    size: int, skip: int, chunk: int, steps: list[tuple[str, int, int]]
) -> None:
    """However claims, arrivals and failures fall together, the ranges cover the file, disjoint."""
    fetcher = _Fetcher(size, min(skip, size), chunk)
    for what, which, received in steps:
        if what == "claim":
            fetcher.claim()
        elif not fetcher.active:
            continue
        elif what == "finish":
            fetcher.finish(which % len(fetcher.active))
        elif what == "break off" and not fetcher.whole:
            fetcher.break_off(which % len(fetcher.active), received)
        elif what == "ignore":
            fetcher.ignore_range(which % len(fetcher.active))
        assert fetcher.window.active == len(fetcher.active)
    while fetcher.active or fetcher.claim():
        fetcher.finish(0)
    assert fetcher.done == size
    assert fetcher.window.claim(size) is None


def test_ranges_are_given_out_lowest_first() -> None:
    """The first ranges come first, the last one is short, and then there is nothing more."""
    window = Window(25, 0, 10)
    assert [window.claim(0) for _ in range(4)] == [(0, 10), (10, 20), (20, 25), None]


def test_what_is_given_back_comes_before_what_is_new() -> None:
    """A range that failed lies lower than those nobody asked for, so it is claimed first."""
    window = Window(100, 0, 10)
    first, second = window.claim(0), window.claim(0)
    assert (first, second) == ((0, 10), (10, 20))
    window.release(Range(10, 20))
    window.release(Range(4, 10))
    assert [window.claim(4) for _ in range(3)] == [(4, 10), (10, 20), (20, 30)]


def test_a_resumed_file_begins_where_it_stopped() -> None:
    """What is there already is not asked for."""
    assert Window(25, 12, 10).claim(12) == (12, 22)
    assert Window(25, 25, 10).claim(25) is None
    assert Window(0, 0, 10).claim(0) is None


def test_a_server_that_ignores_ranges_has_one_reader() -> None:
    """The whole rest has one reader, after all who still read a range have ended."""
    window = Window(100, 0, 10)
    window.claim(0)
    window.claim(0)
    window.take_whole()
    window.release(Range(0, 10))
    assert window.claim(0) is None
    assert not window.reading_whole
    window.finish()
    assert window.claim(0) == (0, 100)
    assert window.reading_whole
    assert window.claim(0) is None


def test_a_whole_read_that_failed_is_done_again_from_what_is_written() -> None:
    """Its reader gives it back, and the next one begins at the bytes that are written."""
    window = Window(100, 0, 10)
    window.claim(0)
    window.take_whole()
    window.release(Range(0, 10))
    assert window.claim(0) == (0, 100)
    window.take_whole()
    window.release(Range(40, 100))
    assert window.claim(40) == (40, 100)


def _watch(
    ramp: Ramp, rate: Callable[[int], float], seconds: float, *, start: float = 0.0
) -> list[int]:
    """Let a virtual clock run; returns each number of connections that the ramp came to."""
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
    """Where each connection is limited, they grow to the most that is allowed, within seconds."""
    assert _watch(Ramp(Limits(), 0.0), lambda n: n * 1e6, 5.0) == [4, 8, 16, 32]


def test_what_did_not_help_is_taken_back() -> None:
    """Where the link is the limit, the first doubling is tried and taken back."""
    assert _watch(Ramp(Limits(), 0.0), lambda _: 1e8, 4.0) == [4, 8, 4]


def test_growth_stops_where_throughput_stops() -> None:
    """Eight connections fill this link: sixteen are tried, and eight stay."""
    assert _watch(Ramp(Limits(), 0.0), lambda n: min(n, 8) * 1e6, 4.0) == [4, 8, 16, 8]


def test_a_busy_processor_gets_no_more_connections() -> None:
    """Where the processor is the limit, more are not even tried until it has time again."""
    ramp = Ramp(Limits(), 0.0)
    for tick in range(1, 31):
        assert ramp.tick(tick * 0.1, tick * 10**8, tick * 0.07) == 4
    worked, later = 30 * 0.07, range(31, 61)
    grown = [ramp.tick(tick * 0.1, tick * 10**8, worked) for tick in later]
    assert max(grown) == 8


def test_more_is_tried_again_after_a_rest() -> None:
    """A doubling that did not help is tried again after 3, 6, 12, 24 and 30 seconds."""
    assert _watch(Ramp(Limits(), 0.0), lambda _: 1e8, 65.0) == [4, 8] * 5 + [4]


def test_at_the_most_it_stays() -> None:
    """Once at the most, it rests there and does not go back without a reason."""
    assert _watch(Ramp(Limits(least=16), 0.0), lambda n: n * 1e6, 120.0) == [16, 32]


def test_nothing_is_judged_before_the_first_byte() -> None:
    """A server that takes long to answer is no reason for more connections."""
    ramp = Ramp(Limits(), 0.0)
    assert _watch(ramp, lambda _: 0.0, 10.0) == [4]
    assert _watch(ramp, lambda n: n * 1e6, 2.0, start=10.0)[:2] == [4, 8]


@pytest.mark.parametrize(("least", "most", "expected"), [(1, 3, [1, 2, 3]), (5, 5, [5])])
def test_the_bounds_hold(least: int, most: int, expected: list[int]) -> None:
    """The number never leaves its bounds, whether or not they are powers of two."""
    assert _watch(Ramp(Limits(least=least, most=most), 0.0), lambda n: n * 1e6, 10.0) == expected


def test_a_server_that_asks_for_less_gets_less() -> None:
    """Each refusal halves the connections, one at the least, and not for one answer twice."""
    ramp = Ramp(Limits(least=8), 0.0)
    for now, expected in [(0.1, 8), (1.0, 4), (1.1, 4), (1.3, 2), (2.0, 1), (3.0, 1)]:
        ramp.back_off(now)
        assert ramp.connections == expected
    assert ramp.tick(20.0, 10**9) == 1


def test_after_backing_off_it_rests_and_grows_again() -> None:
    """Half a minute after the last refusal it begins to try for more."""
    ramp = Ramp(Limits(), 0.0)
    ramp.back_off(1.0)
    assert _watch(ramp, lambda n: n * 1e6, 29.0, start=1.0) == [2]
    assert _watch(ramp, lambda n: n * 1e6, 10.0, start=30.0) == [2, 4, 8, 16, 32]

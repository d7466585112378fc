"""Which ranges of a file to request next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelshelf.transfer.ranges import Range, RangeQueue


class _Fetcher:
    """The readers of one file's ranges, without a network."""

    def __init__(self, size: int, done: int, chunk: int) -> None:
        self.queue = RangeQueue(size, done, chunk)
        self.size = size
        self.done = done
        self.active: list[Range] = []
        self.early: list[Range] = []
        self.whole = False

    def claim(self) -> bool:
        claimed = self.queue.claim(self.done)
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
        self.queue.finish()

    def break_off(self, which: int, received: int) -> None:
        """A reader received some bytes of its range and gives the rest back."""
        claimed = self.active.pop(which)
        middle = min(claimed.start + received, claimed.end)
        self._arrive(Range(claimed.start, middle))
        self.queue.release(Range(middle, claimed.end))

    def ignore_range(self, which: int) -> None:
        """A reader notices that the server sends the whole file for every range."""
        claimed = self.active.pop(which)
        self.whole = True
        self.early.clear()
        self.queue.read_whole()
        self.queue.release(claimed)

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
    """In any order of claims, arrivals and failures, the ranges cover the file without overlap."""
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
        assert fetcher.queue.active == len(fetcher.active)
    while fetcher.active or fetcher.claim():
        fetcher.finish(0)
    assert fetcher.done == size
    assert fetcher.queue.claim(size) is None


def test_ranges_are_given_out_lowest_first() -> None:
    """The first ranges come first, the last one is short, and then there is nothing more."""
    queue = RangeQueue(25, 0, 10)
    assert [queue.claim(0) for _ in range(4)] == [(0, 10), (10, 20), (20, 25), None]


def test_what_is_given_back_comes_before_what_is_new() -> None:
    """A range that was given back lies lower than new ones, so it is claimed first."""
    queue = RangeQueue(100, 0, 10)
    first, second = queue.claim(0), queue.claim(0)
    assert (first, second) == ((0, 10), (10, 20))
    queue.release(Range(10, 20))
    queue.release(Range(4, 10))
    assert [queue.claim(4) for _ in range(3)] == [(4, 10), (10, 20), (20, 30)]


def test_a_resumed_file_begins_where_it_stopped() -> None:
    """What is there already is not asked for."""
    assert RangeQueue(25, 12, 10).claim(12) == (12, 22)
    assert RangeQueue(25, 25, 10).claim(25) is None
    assert RangeQueue(0, 0, 10).claim(0) is None


def test_a_server_that_ignores_ranges_has_one_reader() -> None:
    """The rest of the file has one reader, after those that still read a range have ended."""
    queue = RangeQueue(100, 0, 10)
    queue.claim(0)
    queue.claim(0)
    queue.read_whole()
    queue.release(Range(0, 10))
    assert queue.claim(0) is None
    assert not queue.reading_whole
    queue.finish()
    assert queue.claim(0) == (0, 100)
    assert queue.reading_whole
    assert queue.claim(0) is None


def test_a_whole_read_that_failed_is_done_again_from_what_is_written() -> None:
    """Its reader gives it back, and the next one begins at the bytes that are written."""
    queue = RangeQueue(100, 0, 10)
    queue.claim(0)
    queue.read_whole()
    queue.release(Range(0, 10))
    assert queue.claim(0) == (0, 100)
    queue.read_whole()
    queue.release(Range(40, 100))
    assert queue.claim(40) == (40, 100)

"""The Range header, read as RFC 9110 says."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.mirror.byte_ranges import MAX_SPANS, Span, multipart, requested_spans


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=2-4", [(2, 5)]),
        ("Bytes=2-4", [(2, 5)]),
        ("bytes=7-", [(7, 10)]),
        ("bytes=7-99", [(7, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-99", [(0, 10)]),
        ("bytes=5-6, 0-1", [(5, 7), (0, 2)]),
        ("bytes=0-1,50-60", [(0, 2)]),
        ("bytes=0-1,,-1", [(0, 2), (9, 10)]),
        ("bytes=10-", []),
        ("bytes=10-11", []),
        ("bytes=-0", []),
    ],
)
def test_spans_are_cut_to_the_file(header: str, spans: list[tuple[int, int]]) -> None:
    """Spans keep their order, are limited to the file, and are left out if they are outside it."""
    assert requested_spans(header, 10) == tuple(Span(*span) for span in spans)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=4-2",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=\u0661-2",
        "bytes=0-1;5-6",
        "lines=0-1",
    ],
)
def test_what_is_no_range_means_the_whole_file(header: str | None) -> None:
    """A missing or malformed header, or another unit, is ignored."""
    assert requested_spans(header, 10) is None


@pytest.mark.parametrize(
    "header",
    ["bytes=0-5,5-9", "bytes=0-,0-", "bytes=" + ",".join(f"{n}-{n}" for n in range(MAX_SPANS + 1))],
)
def test_greedy_ranges_are_ignored(header: str) -> None:
    """A header that asks for bytes twice, or for very many parts, is ignored."""
    assert requested_spans(header, 1_000) is None


def test_an_empty_file_has_no_range() -> None:
    """Every range of an empty file is unsatisfiable."""
    assert requested_spans("bytes=0-", 0) == ()
    assert requested_spans("bytes=-5", 0) == ()


@given(st.lists(st.integers(0, 10_000), unique=True, min_size=2, max_size=40), st.randoms())
def test_disjoint_spans_survive_the_header(cuts: list[int], dice: random.Random) -> None:
    """Any disjoint spans are read in the order in which the client wrote them."""
    cuts.sort()
    spans = [Span(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    dice.shuffle(spans)
    header = "bytes=" + ",".join(f"{span.start}-{span.stop - 1}" for span in spans)
    assert requested_spans(header, 10_001) == tuple(spans)


def test_parts_are_framed_for_their_boundary() -> None:
    """A multipart body alternates part headers and spans, and ends with the closing boundary."""
    pieces = multipart((Span(0, 2), Span(4, 5)), 9, "a/b", "XX")
    assert pieces == (
        b"\r\n--XX\r\nContent-Type: a/b\r\nContent-Range: bytes 0-1/9\r\n\r\n",
        Span(0, 2),
        b"\r\n--XX\r\nContent-Type: a/b\r\nContent-Range: bytes 4-4/9\r\n\r\n",
        Span(4, 5),
        b"\r\n--XX--\r\n",
    )

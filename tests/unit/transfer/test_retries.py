"""Which failures are worth another try, and how long to wait before it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.transfer.retries import (
    RETRYABLE_STATUSES,
    THROTTLING_STATUSES,
    Backoff,
    parse_rate_limit,
    parse_retry_after,
    requested_wait_seconds,
)

_NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """A request to a busy, overloaded or broken gateway is tried again."""
    assert status in RETRYABLE_STATUSES


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 501])
def test_what_will_not_pass_is_not(status: int) -> None:
    """A request that was refused is not tried again."""
    assert status not in RETRYABLE_STATUSES


def test_two_statuses_ask_for_less() -> None:
    """Too many requests, and overload, are reasons to use fewer connections."""
    assert {429, 503} == THROTTLING_STATUSES
    assert THROTTLING_STATUSES < RETRYABLE_STATUSES


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (99, 30)]
)
def test_waits_double_up_to_a_cap(failures: int, longest: float) -> None:
    """Each failure doubles the wait until a quarter of the most."""
    assert Backoff().wait_seconds(failures, jitter=1.0) == longest


@given(failures=st.integers(1, 1000), jitter=st.floats(0, 1))
def test_jitter_keeps_half_of_the_wait(failures: int, jitter: float) -> None:
    """A wait lies between half of what it could be and all of it."""
    longest = Backoff().wait_seconds(failures, 1.0)
    assert longest / 2 <= Backoff().wait_seconds(failures, jitter) <= longest


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(0, 0, 0.05), (-5, 0, 0.05), (10, 10, 10.05), (119.99, 119.99, 120), (3600, 120, 120)],
)
def test_what_the_server_asks_for_is_kept_and_capped(
    asked: float, least: float, most: float
) -> None:
    """Its wait is kept, with a little jitter on top, up to two minutes."""
    for jitter in (0.0, 0.5, 1.0):
        assert least <= Backoff().wait_seconds(1, jitter, asked) <= most


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("Sun, 06 Nov 1994 10:50:37 +0200", 60),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\xb2", None),
        ("Sun, 99 Nov 1994 08:50:37 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    value: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both forms of RFC 9110 are read, in GMT wherever this host is; anything else is ignored."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "UTC-9")
        time.tzset()
        waits = parse_retry_after(value, _NOW)
    time.tzset()
    assert waits == seconds


@given(st.text(st.characters(max_codepoint=255)) | st.from_regex(r"\w+, \d+ \w+ \d+ .*"))
def test_no_header_raises(value: str) -> None:
    """Any header gives a wait or None, and raises nothing."""
    wait = parse_retry_after(value, _NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ('"api";r=0;t=20', 20),
        ('"api"; r=0; t=20', 20),
        ('"api";t=20;r=0', 20),
        ('"api";r=0;t=0', 0),
        ('"api";r=12;t=20', None),
        ('"pages";r=5;t=300, "api";r=0;t=20', 20),
        ('"pages";r=0;t=300, "api";r=0;t=20', 300),
        ('"api";r=0', None),
        ("limit=100, remaining=0, reset=50", None),
        ("", None),
        (None, None),
    ],
)
def test_a_limit_that_is_used_up_says_when_it_is_over(
    value: str | None, seconds: float | None
) -> None:
    """RateLimit asks for a wait only where no request is left."""
    assert parse_rate_limit(value) == seconds


def test_retry_after_comes_before_rate_limit() -> None:
    """Of the two headers Retry-After counts, where it can be understood."""

    def wait_for(**headers: str) -> float | None:
        return requested_wait_seconds(lambda name: headers.get(name.replace("-", "")))

    limit = '"api";r=0;t=20'
    assert wait_for(RetryAfter="3", RateLimit=limit) == 3
    assert wait_for(RetryAfter="soon", RateLimit=limit) == 20
    assert wait_for() is None

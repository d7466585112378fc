"""How long `drain` waits for an engine that has requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from modelshelf.shelf.errors import UsageError
from modelshelf.start.drain import DrainSpec, drain, parse_requests
from modelshelf.start.events import Drained

SPEC = DrainSpec(8000, settle_seconds=10, quiet_seconds=2, max_seconds=20)


def _drained(at: Callable[[float], float | None], spec: DrainSpec = SPEC) -> Drained:
    """Drain with a clock that only sleeping advances; `at` gives the requests at a time."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    return drain(spec, count_requests=lambda _: at(clock[0]), now=lambda: clock[0], sleep=sleep)


def test_an_idle_engine_ends_the_wait_once_others_know_and_it_stayed_quiet() -> None:
    """The wait is ten seconds, in which others learn of the end, and two without a request."""
    assert _drained(lambda _: 0) == Drained(12.0, "no request for 2 s")


def test_a_request_in_between_restarts_the_quiet_time() -> None:
    """The two seconds count from the last time that there was a request."""
    assert _drained(lambda now: 3 if now < 13.5 else 0) == Drained(15.5, "no request for 2 s")


def test_a_long_request_is_not_waited_for_without_end() -> None:
    """The wait ends after the longest time, and says how many requests are left."""
    assert _drained(lambda _: 2) == Drained(20.0, "2 requests left after 20 s")


def test_an_engine_that_does_not_count_requests_ends_the_wait() -> None:
    """After the shortest wait nothing is left to wait for: it may have died, or count nothing."""
    assert _drained(lambda _: None) == Drained(10.0, "the engine does not count its requests")
    assert _drained(lambda _: None, DrainSpec(1, settle_seconds=9, max_seconds=3)).seconds == 3


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [
                b"# HELP vllm:num_requests_running Number of requests in model execution batches.",
                b'vllm:num_requests_running{engine="0",model_name="m 1"} 2.0',
                b'vllm:num_requests_running{engine="1",model_name="m 1"} 1.0',
                b'vllm:num_requests_waiting{engine="0"} 4.0',
                b'vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 4.0',
            ],
            7.0,
        ),
        ([b"vllm:num_requests_running 0.0"], 0.0),
        ([b"vllm:num_requests_running 1.2e+03"], 1200.0),
        ([b"vllm:request_success_total 3.0"], None),
        ([b"{}"], None),
    ],
)
def test_requests_are_counted_as_vllm_does(lines: Sequence[bytes], expected: float | None) -> None:
    """The running and the waiting requests of all engines behind one port count once each."""
    assert parse_requests(b"\n".join(lines)) == expected


def test_an_unreadable_spec_is_refused() -> None:
    """A spec needs a port, and its times are numbers."""
    assert DrainSpec.from_json({"port": 1, "most": 5}) == DrainSpec(1, max_seconds=5)
    for spec in ({}, {"port": "x"}, {"port": 1, "quiet": []}):
        with pytest.raises(UsageError, match="spec of the drain is not readable"):
            DrainSpec.from_json(spec)

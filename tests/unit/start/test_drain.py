"""How long an engine is waited for before it is told to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from modelshelf.shelf.errors import UsageError
from modelshelf.start.drain import DrainSpec, drain, requests_in
from modelshelf.start.events import Drained

SPEC = DrainSpec(8000, settle=10, quiet=2, most=20)


def _drained(at: Callable[[float], float | None], spec: DrainSpec = SPEC) -> Drained:
    """Drain by a clock of its own, on which `at` says how many requests there are."""
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    return drain(spec, look=lambda _: at(clock[0]), now=lambda: clock[0], sleep=sleep)


def test_an_idle_engine_is_left_when_others_know_and_it_stayed_quiet() -> None:
    """Ten seconds until nobody sends any more, then two without a request."""
    assert _drained(lambda _: 0) == Drained(12.0, "no request for 2 s")


def test_a_request_in_between_begins_the_quiet_time_anew() -> None:
    """Two seconds count from the last time that there was one."""
    assert _drained(lambda now: 3 if now < 13.5 else 0) == Drained(15.5, "no request for 2 s")


def test_the_longest_request_is_not_waited_for_without_end() -> None:
    """The engine finishes what is left when it is told to end."""
    assert _drained(lambda _: 2) == Drained(20.0, "2 requests left after 20 s")


def test_an_engine_that_cannot_say_is_left_after_the_first_wait() -> None:
    """It may have died, or count nothing."""
    assert _drained(lambda _: None) == Drained(10.0, "the engine does not count its requests")
    assert _drained(lambda _: None, DrainSpec(1, settle=9, most=3)).seconds == 3


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
    """Running and waiting ones of all engines behind one port, each once."""
    assert requests_in(b"\n".join(lines)) == expected


def test_a_spec_says_what_is_wrong_with_it() -> None:
    """Without a port there is nobody to ask."""
    assert DrainSpec.from_json({"port": 1, "most": 5}) == DrainSpec(1, most=5)
    for spec in ({}, {"port": "x"}, {"port": 1, "quiet": []}):
        with pytest.raises(UsageError, match="spec of the drain is not readable"):
            DrainSpec.from_json(spec)

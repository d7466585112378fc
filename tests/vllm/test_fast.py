"""One import instead of four: real vLLM, whose processes are copies of one that has imported it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engineruns import Engine, Starter
from serving import until

PROMPTS = ("The capital of France is", "Water boils at", "One, two, three, four,", "def add(a, b):")
FAST = {"fork": True}


@pytest.fixture(scope="module")
def fast(starter: Starter) -> Iterator[Engine]:
    """A fast start without compiling, below core's start; the same for all tests."""
    began = time.monotonic()
    with starter.below_start("--enforce-eager", fast=FAST) as engine:
        engine.wait_ready(began)
        yield engine


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def launched(engine: Engine) -> list[int]:
    """The processes that run our launcher: a copy has the command line of what it was made from."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in engine.members()}
    return [pid for pid, line in lines.items() if b"launcher.py\0fork" in line]


def assert_nothing_left(engine: Engine, segments: set[str]) -> None:
    """Assert that no process, no port and nothing in /dev/shm is left of an engine."""
    until(lambda: not engine.members(), 15)
    assert not engine.listens()
    assert not [path for path in segments if Path(path).exists()]


def test_a_fast_start_says_the_same_words(fast: Engine, stock: Engine) -> None:
    """It is fast, sooner ready than a stock start, and its greedy completions are the same."""
    (started,) = fast.events("engine-starting")
    assert (started["how"], started["reason"]) == ("fast", "")
    assert fast.seconds < stock.seconds
    expected = [stock.complete(prompt) for prompt in PROMPTS]
    assert [fast.complete(prompt) for prompt in PROMPTS] == expected


def test_vllm_was_imported_once(fast: Engine) -> None:
    """The server, the engine core and the worker are the launcher's, the latter two by one copy."""
    server, copy, core, worker = sorted(launched(fast))
    assert parent(copy) == server
    assert {parent(core), parent(worker)} == {copy}


def test_nothing_is_left_of_a_stopped_one(fast: Engine) -> None:
    """SIGTERM ends a ready engine with 0, and all that it had is gone."""
    segments = fast.segments()
    assert segments
    assert fast.end() == 0
    assert_nothing_left(fast, segments)


def test_nothing_is_left_of_a_killed_one(starter: Starter) -> None:
    """Where vLLM's first process is killed, start ends the copies, and leaves no shared memory."""
    began = time.monotonic()
    with starter.below_start("--enforce-eager", fast=FAST) as engine:
        engine.wait_ready(began)
        segments = engine.segments()
        os.kill(min(launched(engine)), signal.SIGKILL)
        assert engine.process.wait(30) == 128 + signal.SIGKILL
        assert_nothing_left(engine, segments)


@pytest.mark.parametrize("moment", [0.3, 1.5, 3.0, 5.0, 7.0])
def test_sigterm_is_answered_at_any_moment_of_a_start(starter: Starter, moment: float) -> None:
    """A start that is no longer wanted ends within seconds, with 143, and leaves nothing."""
    with starter.below_start("--enforce-eager", fast=FAST) as engine:
        time.sleep(moment)
        segments = engine.segments()
        began = time.monotonic()
        assert engine.end() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10
        assert_nothing_left(engine, segments)

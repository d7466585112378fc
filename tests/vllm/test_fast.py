"""Fast starts of real vLLM, whose processes are forked from one that has imported it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.serve_process import wait_until
from support.vllm_processes import Engine, Starter

PROMPTS = ("The capital of France is", "Water boils at", "One, two, three, four,", "def add(a, b):")
FAST = {"fork": True}


@pytest.fixture(scope="module")
def fast(starter: Starter) -> Iterator[Engine]:
    """A fast start by `start`, without compiling; shared by all tests of this file."""
    began = time.monotonic()
    with starter.supervised("--enforce-eager", fast=FAST) as engine:
        engine.wait_ready(began)
        yield engine


def parent(pid: int) -> int:
    """The id of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def titles(engine: Engine) -> dict[str, int]:
    """The processes of an engine, by the titles that vLLM gives them."""
    return {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in engine.members()}


def assert_nothing_left(engine: Engine, segments: set[str]) -> None:
    """Assert that no process, no port and nothing in /dev/shm is left of an engine."""
    wait_until(lambda: not engine.members(), 15)
    assert not engine.listens()
    assert not [path for path in segments if Path(path).exists()]


def test_a_fast_start_gives_the_same_completions(fast: Engine, stock: Engine) -> None:
    """It is ready sooner than a stock start, and its greedy completions are the same."""
    (started,) = fast.events("engine-starting")
    assert (started["how"], started["reason"]) == ("fast", "")
    assert fast.seconds < stock.seconds
    expected = [stock.complete(prompt) for prompt in PROMPTS]
    assert [fast.complete(prompt) for prompt in PROMPTS] == expected


def test_vllm_was_imported_once(fast: Engine) -> None:
    """The engine core and the worker are forked from the zygote, which is a child of the server."""
    pids = titles(fast)
    zygote = parent(pids["VLLM::EngineCor"])
    assert parent(pids["VLLM::Worker"]) == zygote
    assert parent(zygote) in fast.members()
    assert b"launcher.py" in Path(f"/proc/{zygote}/cmdline").read_bytes()


def test_threads_are_bound_as_in_a_stock_start(fast: Engine, stock: Engine) -> None:
    """The worker computes on the processors that vLLM chose for it, and on no others."""
    assert processors(titles(fast)["VLLM::Worker"]) == processors(titles(stock)["VLLM::Worker"])


def processors(pid: int) -> set[str]:
    """The processors that the threads of a process may use."""
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return {text.partition("Cpus_allowed_list:\t")[2].split()[0] for text in statuses}


def test_nothing_is_left_of_a_killed_engine(fast: Engine) -> None:
    """When vLLM's first process is killed, `start` stops the others, and no shared memory stays."""
    segments = fast.segments()
    assert segments
    os.kill(parent(parent(titles(fast)["VLLM::Worker"])), signal.SIGKILL)
    assert fast.process.wait(30) == 128 + signal.SIGKILL
    assert_nothing_left(fast, segments)


@pytest.mark.parametrize("moment", [0.3, 1.5, 3.0, 5.0, 7.0])
def test_sigterm_ends_a_start_at_any_moment(starter: Starter, moment: float) -> None:
    """A start that gets SIGTERM exits with 143 within seconds, and leaves nothing."""
    with starter.supervised("--enforce-eager", fast=FAST) as engine:
        time.sleep(moment)
        segments = engine.segments()
        began = time.monotonic()
        assert engine.end() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10
        assert_nothing_left(engine, segments)

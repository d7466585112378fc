"""A server in a process of its own, so that a test can send it signals and watch it end.

A test imports this module, which runs itself as a program. The program serves a model of a shelf
until SIGTERM, and prints its events as JSON lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai

from modelshelf.shelf.events import Event
from modelshelf.targets.local import serve


@dataclasses.dataclass
class ServerProcess:
    """A running server process, its URL, and the events that it has printed so far."""

    process: subprocess.Popen[str]
    url: str
    events: list[dict[str, Any]]

    def pids(self) -> list[int]:
        """The process ids of its children."""
        return child_pids(self.process.pid)


def child_pids(pid: int) -> list[int]:
    """The process ids of a process's children; empty if it has ended."""
    with contextlib.suppress(OSError):
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return []


def has_ended(pid: int) -> bool:
    """Whether a process has ended, even if its parent has not yet waited for it."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def wait_until(condition: Callable[[], object], within: float = 20.0) -> None:
    """Wait until a condition is true, for `within` seconds at most.

    Raises:
        TimeoutError: The condition was not true in time.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition was not true within {within} s")
        time.sleep(0.02)


@contextlib.contextmanager
def launch_server(**options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a server process with the arguments of `serve`, and end it after the block."""
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def ready_server(**options: Any) -> Iterator[ServerProcess]:
    """Start a server process and wait until it is ready."""
    with launch_server(**options) as process:
        assert process.stdout is not None
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "serving":
                break
        assert events[-1]["event"] == "serving"
        yield ServerProcess(process, events[-1]["url"], events)


def openai_client(url: str) -> openai.OpenAI:
    """The real client of the API. It does not retry, so that it hides no failure."""
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=30)


def main() -> None:
    """Serve until SIGTERM; the first argument holds the arguments of `serve` as JSON."""
    options = json.loads(sys.argv[1])

    def print_event(event: Event) -> None:
        os.write(1, json.dumps(event.to_json()).encode() + b"\n")

    with serve(options.pop("ref"), on_event=print_event, **options) as server:
        server.wait()


if __name__ == "__main__":
    main()

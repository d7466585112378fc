"""A server in a process of its own, whose end can be watched: for tests, and their child process.

Run as a program it serves a model of a shelf until SIGTERM and prints its events as JSON lines.
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
class Serving:
    """A running server process, and the events it has told of so far."""

    process: subprocess.Popen[str]
    url: str
    events: list[dict[str, Any]]

    def pids(self) -> list[int]:
        """The process ids of what it started and has not reaped."""
        return children(self.process.pid)


def children(pid: int) -> list[int]:
    """The process ids of a process's children; none if it is gone."""
    with contextlib.suppress(OSError):
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        return [int(c) for task in tasks for c in (task / "children").read_text().split()]
    return []


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def until(condition: Callable[[], object], within: float = 20.0) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: It was not so in time.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {within} s")
        time.sleep(0.02)


@contextlib.contextmanager
def launched(**options: Any) -> Iterator[subprocess.Popen[str]]:
    """Serve in a process of its own, with the arguments of `serve`; ended at the end."""
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
def serving(**options: Any) -> Iterator[Serving]:
    """The same, once it is ready."""
    with launched(**options) as process:
        assert process.stdout is not None
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "serving":
                break
        assert events[-1]["event"] == "serving"
        yield Serving(process, events[-1]["url"], events)


def client(url: str) -> openai.OpenAI:
    """The real client of a served API, which hides no failure by trying again."""
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=30)


def main() -> None:
    """Serve what the first argument says, in JSON, until SIGTERM."""
    options = json.loads(sys.argv[1])

    def show(event: Event) -> None:
        os.write(1, json.dumps(event.to_json()).encode() + b"\n")

    with serve(options.pop("ref"), on_event=show, **options) as server:
        server.wait()


if __name__ == "__main__":
    main()

"""A mirror that runs in a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.plain_http import HttpServer

SRC = str(Path(__file__).resolve().parents[2] / "src")

_SERVE = """
import sys
from modelshelf.shelf.shelf import Shelf
from modelshelf.mirror.server import run
run(Shelf(sys.argv[1]), sys.argv[2], 0, lambda event: print(event.url, flush=True))
"""


@dataclasses.dataclass(frozen=True)
class Mirror(HttpServer):
    """A running mirror: its base URL (for HF_ENDPOINT) and its process."""

    process: subprocess.Popen[str]

    def counters(self) -> dict[str, int]:
        """The counters of what the mirror has sent so far."""
        return dict(self.ask("/_modelshelf/counters").json())


@contextlib.contextmanager
def running(shelf: str | os.PathLike[str], host: str = "127.0.0.1") -> Iterator[Mirror]:
    """Run a mirror of a shelf on a free port, and stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, os.fspath(shelf), host],
        env={**os.environ, "PYTHONPATH": SRC},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            url = process.stdout.readline().strip()
            assert url, "the mirror did not start"
            yield Mirror(url, process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

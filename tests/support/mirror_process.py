"""A mirror in its own process, and plain HTTP requests to it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SRC = str(Path(__file__).resolve().parents[2] / "src")

_SERVE = """
import sys
from modelshelf.shelf.shelf import Shelf
from modelshelf.mirror.server import run
run(Shelf(sys.argv[1]), sys.argv[2], 0, lambda event: print(event.url, flush=True))
"""


@dataclasses.dataclass(frozen=True)
class MirrorReply:
    """A whole reply: the status, the headers by lower-case name, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A running mirror: its URL (the value for HF_ENDPOINT) and its process."""

    url: str
    process: subprocess.Popen[str]

    def connect(self) -> http.client.HTTPConnection:
        """Open a new connection, which the caller must close."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> MirrorReply:
        """Send one request on a new connection. The path is sent exactly as it is given."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            reply_headers = {name.lower(): value for name, value in response.getheaders()}
            return MirrorReply(response.status, reply_headers, response.read())

    def counters(self) -> dict[str, int]:
        """Return the counts of requests and bytes so far."""
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

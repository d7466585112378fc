"""One start of an engine: when it first answered, and all that it printed until then."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.timing import FailedError

_START_TIMEOUT_SECONDS = 480.0
_END_TIMEOUT_SECONDS = 40.0  # from SIGTERM to the end
_POLL_SECONDS = 0.05


class Engine:
    """An engine that starts after the programs that run before it.

    Attributes:
        lines: Each printed line, with its time in seconds since 1970.
        began: When the first step began, in seconds since 1970.
        seconds: How long it took from then until the engine answered.
        step_ends: Seconds from the first step's beginning to the end of each step but the last.
    """

    def __init__(self, port: int) -> None:
        self.lines: list[tuple[float, str]] = []
        self.began = time.time()
        self.seconds = 0.0
        self.step_ends: list[float] = []
        self._port = port

    def run(self, steps: Sequence[Sequence[str]], env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Run all steps but the last to their ends, then start the last.

        Raises:
            FailedError: A step failed or took too long.
        """
        for step in steps[:-1]:
            child = self._spawn(step, env)
            try:
                self.await_end(child)
            finally:
                _end(child)
            self.step_ends.append(time.time() - self.began)
        return self._spawn(steps[-1], env)

    def await_ready(self, child: subprocess.Popen[str]) -> None:
        """Wait for the engine's first answer.

        Raises:
            FailedError: The engine ended or took too long.
        """
        while not self._answers():
            if child.poll() is not None or time.time() - self.began > _START_TIMEOUT_SECONDS:
                raise FailedError(self._last("the engine does not answer"))
            time.sleep(_POLL_SECONDS)
        self.seconds = time.time() - self.began

    def await_end(self, child: subprocess.Popen[str]) -> None:
        """Wait for the end of a program.

        Raises:
            FailedError: The program failed or took too long.
        """
        try:
            code = child.wait(_START_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise FailedError(self._last("the program does not end")) from None
        if code:
            raise FailedError(self._last(f"the program ended with {code}"))
        self.seconds = time.time() - self.began

    def event(self, name: str) -> dict[str, Any]:
        """Return the last event of that name among the JSON lines, or an empty mapping."""
        found: dict[str, Any] = {}
        for at, line in list(self.lines):
            if line.startswith('{"event"'):
                event = json.loads(line)
                found = {"time": at} | event if event["event"] == name else found
        return found

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for a completion and return the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/completions", json.dumps(body), headers)
            reply = connection.getresponse()
            answer: dict[str, Any] = json.loads(reply.read())
            if reply.status != http.HTTPStatus.OK:
                raise FailedError(f"the engine answered {reply.status}: {answer}")
            return answer

    def _spawn(self, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(child,), daemon=True).start()
        return child

    def _listen(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                self.lines.append((time.time(), line.rstrip("\n")))

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

    def _last(self, what: str) -> str:
        return "\n".join([what, *(line for _, line in self.lines[-25:])])


@contextlib.contextmanager
def started(steps: Sequence[Sequence[str]], env: Mapping[str, str], port: int) -> Iterator[Engine]:
    """Start an engine that answers, and end all its processes at the end of the block.

    Args:
        steps: Programs to run one after another; the last is the engine, or what starts it.
        env: Their environment.
        port: Where the engine answers.
    """
    engine = Engine(port)
    child = engine.run(steps, env)
    try:
        engine.await_ready(child)
        yield engine
    finally:
        _end(child)


def run(argv: Sequence[str], env: Mapping[str, str]) -> Engine:
    """Run a program that starts an engine and ends it, until the program ends.

    Raises:
        FailedError: The program failed or took too long.
    """
    engine = Engine(0)
    child = engine.run([argv], env)
    try:
        engine.await_end(child)
    finally:
        _end(child)
    return engine


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_END_TIMEOUT_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def free_port() -> int:
    """Find a port of loopback that no process uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def drop_from_page_cache(folder: str) -> None:
    """Drop a folder's files from the page cache, so that they are read from the disk again."""
    for parent, _, names in os.walk(folder):
        for name in names:
            file = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(file)  # pages that are not on the disk yet cannot be dropped
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)

"""A process that is kept running: started, waited for, and started again when it dies."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from modelshelf.engines.listening import reachable
from modelshelf.engines.spec import PORT_TAKEN
from modelshelf.engines.timeline import Stamped
from modelshelf.shelf.errors import Error, TargetError, TimedOutError
from modelshelf.targets.local.ports import free_port
from modelshelf.targets.local.process import Process, bound_log, last_lines
from modelshelf.targets.local.recording import Recorder
from modelshelf.targets.local.waits import failures_after, look_wait, restart_wait

_PORT_TRIES = 5
_LINES = 12  # of a log, in an error
_LOG_LOOK = 60.0  # seconds between two looks at a log's size
_ANSWER = 2.0  # seconds that a health check may take
_OK = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What is to be kept running.

    Attributes:
        label: What errors call it.
        argv: Its command line for a port.
        env: Its environment.
        host: Where it listens.
        port: Where it listens.
        movable: Whether another port would do if that one is taken when it first starts.
        health_path: What answers 200 once it is ready.
        log: The file that its output is added to.
        ready_within: Seconds that it may take.
    """

    label: str
    argv: Callable[[int], tuple[str, ...]]
    env: Mapping[str, str]
    host: str
    port: int
    movable: bool
    health_path: str
    log: str
    ready_within: float


@dataclasses.dataclass(frozen=True, slots=True)
class Reports:
    """Who is told what.

    Attributes:
        starting: Process and port.
        ready: Port, seconds, and what was said until then.
        died: Exit code, and seconds until it is started again.
    """

    starting: Callable[[int, int], None]
    ready: Callable[[int, float, Sequence[Stamped]], None]
    died: Callable[[int, float], None]


@dataclasses.dataclass(frozen=True, slots=True)
class _Life:
    """How a process ended, and for how many seconds it had been ready."""

    exit_code: int
    uptime: float


class Kept:
    """Keeps one process running in a thread of its own.

    Args:
        job: What to run.
        reports: Who is told what.

    Attributes:
        port: Where it listens; final once `ready` is done.
        ready: Done when it first got ready; fails with the error if it did not.
    """

    def __init__(self, job: Job, reports: Reports) -> None:
        self._job = job
        self._reports = reports
        self.port = job.port
        self.ready: Future[None] = Future()
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # between starting a process and being told to stop
        self._process: Process | None = None
        self._thread = threading.Thread(target=self._run, name=job.label, daemon=True)
        self._thread.start()

    def retire(self) -> None:
        """Let the process go on, but start none again when it ends."""
        with self._lock:
            self._stopping.set()

    def terminate(self) -> None:
        """Ask the process to finish what it does and end, and start none again."""
        self.retire()
        if self._process:
            self._process.terminate()

    def end(self, within: float) -> None:
        """After `terminate`: wait for the end so many seconds, then force it."""
        process = self._process
        if process and process.wait(max(within, 0.0)) is None:
            process.kill()
        self._thread.join()

    def _run(self) -> None:
        try:
            life = self._first_life()
        except BaseException as error:  # noqa: BLE001 - whoever waits for `ready` raises it
            if not self.ready.done():
                self.ready.set_exception(error)
            return
        failures = 0
        while not self._stopping.is_set():
            failures = failures_after(failures, life.uptime)
            wait = restart_wait(failures)
            self._reports.died(life.exit_code, wait)
            if not self._stopping.wait(wait):
                life = self._another_life()

    def _first_life(self) -> _Life:
        for _ in range(_PORT_TRIES):
            life = self._live()
            if self.ready.done() or self._stopping.is_set():
                return life
            if life.exit_code != PORT_TAKEN or not self._job.movable:
                break
            self.port = free_port(self._job.host)
        raise TargetError(
            f"{self._job.label} ended with {life.exit_code} before it was ready; "
            f"its last lines:\n{self._last_lines()}",
            hint=f"all it said is in {self._job.log}",
        )

    def _another_life(self) -> _Life:
        try:
            return self._live()
        except Error:
            return _Life(-signal.SIGKILL, 0.0)

    def _live(self) -> _Life:
        """Start the process and return when it has ended."""
        began = time.monotonic()
        with Recorder(self._job.log) as recorder:
            process = self._start()
            if process is None:
                return _Life(0, 0.0)
            try:
                self._reports.starting(process.pid, self.port)
                code = self._until_ready(process, began)
                if code is not None:
                    return _Life(code, 0.0)
                ready = time.monotonic()
                self._reports.ready(self.port, ready - began, recorder.lines())
                if not self.ready.done():
                    self.ready.set_result(None)
                while (code := process.wait(_LOG_LOOK)) is None:
                    bound_log(self._job.log)
                return _Life(code, time.monotonic() - ready)
            finally:
                process.kill()
                process.close()

    def _start(self) -> Process | None:
        """Start the process; None when it is not to run any more."""
        with self._lock:
            if self._stopping.is_set():
                return None
            try:
                self._process = Process(self._job.argv(self.port), self._job.env, self._job.log)
            except OSError as error:
                raise TargetError(f"{self._job.label} could not be started: {error}") from error
            return self._process

    def _until_ready(self, process: Process, began: float) -> int | None:
        """Wait until it is ready; its exit code if it ends before.

        Raises:
            TimedOutError: It did neither in time.
        """
        while (waited := time.monotonic() - began) < self._job.ready_within:
            code = process.wait(look_wait(waited))
            if code is not None:
                return code
            if answers(self._job.host, self.port, self._job.health_path):
                return None
        raise TimedOutError(
            f"{self._job.label} was not ready after {self._job.ready_within:g} s; "
            f"its last lines:\n{self._last_lines()}",
            hint=f"all it said is in {self._job.log}",
        )

    def _last_lines(self) -> str:
        return "\n".join(f"  {line}" for line in last_lines(self._job.log, _LINES)) or "  (none)"


def answers(host: str, port: int, path: str) -> bool:
    """Whether a server answers a path with 200 now."""
    connection = http.client.HTTPConnection(*reachable((host, port)), timeout=_ANSWER)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == _OK
        except (OSError, http.client.HTTPException):
            return False

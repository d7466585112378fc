"""A process that is kept running: started, waited for, and restarted when it dies."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from modelshelf.engines.local_engine import PORT_IN_USE_EXIT_CODE
from modelshelf.engines.timeline_reader import TimedLine
from modelshelf.shelf.errors import Error, TargetError, TimedOutError
from modelshelf.start.health_check import is_healthy
from modelshelf.targets.local.child_process import ChildProcess
from modelshelf.targets.local.log_files import last_lines, limit_log_size
from modelshelf.targets.local.log_recorder import LogRecorder
from modelshelf.targets.local.ports import base_url, free_port
from modelshelf.targets.local.wait_times import (
    count_failures,
    health_poll_seconds,
    restart_wait_seconds,
)

_MAX_PORTS = 5  # that are tried, if other processes take them first
_LOG_CHECK_SECONDS = 60.0  # between two checks of a log's size
_HEALTH_TIMEOUT_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A process that is to be kept running.

    Attributes:
        label: The name of the process in errors.
        command_line: Returns the program and its arguments, for a port.
        env: Its whole environment.
        host: The address that it listens on.
        port: The port that it listens on.
        may_change_port: Whether it may listen on another port, if this one is in use at its first
            start.
        health_path: The path that answers 200 once the process is ready.
        log: The file that its output is appended to.
        ready_within: Seconds that it may take until it is ready.
    """

    label: str
    command_line: Callable[[int], tuple[str, ...]]
    env: Mapping[str, str]
    host: str
    port: int
    may_change_port: bool
    health_path: str
    log: str
    ready_within: float


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessCallbacks:
    """Functions that are called when something happens to a process.

    Attributes:
        on_starting: Called with the process id and the port.
        on_ready: Called with the port, the seconds since the start, and the lines of its log.
        on_died: Called with the exit code, and the seconds until the restart.
    """

    on_starting: Callable[[int, int], None]
    on_ready: Callable[[int, float, Sequence[TimedLine]], None]
    on_died: Callable[[int, float], None]


@dataclasses.dataclass(frozen=True, slots=True)
class _ProcessEnd:
    """How a process ended, and for how many seconds it had been ready."""

    exit_code: int
    uptime_seconds: float


class RestartingProcess:
    """Keeps one process running, in a thread of its own.

    Args:
        plan: The process to run.
        callbacks: The functions to call.

    Attributes:
        port: The port that it listens on. It does not change once `ready` is done.
        ready: Done when the process is ready for the first time; fails with the error if it does
            not get ready.
    """

    def __init__(self, plan: ProcessPlan, callbacks: ProcessCallbacks) -> None:
        self._plan = plan
        self._callbacks = callbacks
        self.port = plan.port
        self.ready: Future[None] = Future()
        self._stopping = threading.Event()
        # Held while a process is started, and while `_stopping` is set. Without it, a process could
        # be started that nobody ends.
        self._lock = threading.Lock()
        self._process: ChildProcess | None = None
        self._thread = threading.Thread(target=self._run, name=plan.label, daemon=True)
        self._thread.start()

    def stop_restarting(self) -> None:
        """Let the process go on, but do not restart it when it ends."""
        with self._lock:
            self._stopping.set()

    def terminate(self) -> None:
        """Ask the process to finish its work and to end, and do not restart it."""
        self.stop_restarting()
        if self._process:
            self._process.terminate()

    def wait_or_kill(self, timeout_seconds: float) -> None:
        """Wait for the end of the process after `terminate`, and kill it if it takes longer."""
        process = self._process
        if process and process.wait(max(timeout_seconds, 0.0)) is None:
            process.kill()
        self._thread.join()

    def _run(self) -> None:
        try:
            end = self._run_until_first_ready()
        except BaseException as error:  # noqa: BLE001 - the caller who waits for `ready` gets it
            if not self.ready.done():
                self.ready.set_exception(error)
            return
        failures = 0
        while not self._stopping.is_set():
            failures = count_failures(failures, end.uptime_seconds)
            wait_seconds = restart_wait_seconds(failures)
            self._callbacks.on_died(end.exit_code, wait_seconds)
            if not self._stopping.wait(wait_seconds):
                end = self._run_again()

    def _run_until_first_ready(self) -> _ProcessEnd:
        """Run the process, on other ports if need be, until one that was ready has ended."""
        for _ in range(_MAX_PORTS):
            end = self._run_once()
            if self.ready.done() or self._stopping.is_set():
                return end
            if end.exit_code != PORT_IN_USE_EXIT_CODE or not self._plan.may_change_port:
                break
            self.port = free_port(self._plan.host)
        raise TargetError(
            f"{self._plan.label} ended with {end.exit_code} before it was ready; "
            f"its last lines:\n{self._last_lines()}",
            hint=f"its whole output is in {self._plan.log}",
        )

    def _run_again(self) -> _ProcessEnd:
        try:
            return self._run_once()
        except Error:
            return _ProcessEnd(-signal.SIGKILL, 0.0)

    def _run_once(self) -> _ProcessEnd:
        """Start the process, and return when it has ended."""
        began = time.monotonic()
        with LogRecorder(self._plan.log) as recorder:
            process = self._start()
            if process is None:
                return _ProcessEnd(0, 0.0)
            try:
                self._callbacks.on_starting(process.pid, self.port)
                code = self._wait_until_ready(process, began)
                if code is not None:
                    return _ProcessEnd(code, 0.0)
                ready = time.monotonic()
                self._callbacks.on_ready(self.port, ready - began, recorder.finish())
                if not self.ready.done():
                    self.ready.set_result(None)
                while (code := process.wait(_LOG_CHECK_SECONDS)) is None:
                    limit_log_size(self._plan.log)
                return _ProcessEnd(code, time.monotonic() - ready)
            finally:
                process.kill()
                process.close()

    def _start(self) -> ChildProcess | None:
        """Start the process; None if it is not to run any more."""
        plan = self._plan
        with self._lock:
            if self._stopping.is_set():
                return None
            try:
                self._process = ChildProcess(plan.command_line(self.port), plan.env, plan.log)
            except OSError as error:
                raise TargetError(f"{plan.label} could not be started: {error}") from error
            return self._process

    def _wait_until_ready(self, process: ChildProcess, began: float) -> int | None:
        """Wait until the process is ready.

        Returns:
            None if it is ready, its exit code if it ended before.

        Raises:
            TimedOutError: It was neither ready nor ended in time.
        """
        plan = self._plan
        health_url = base_url(plan.host, self.port) + plan.health_path
        while (elapsed := time.monotonic() - began) < plan.ready_within:
            code = process.wait(health_poll_seconds(elapsed))
            if code is not None:
                return code
            if is_healthy(health_url, _HEALTH_TIMEOUT_SECONDS):
                return None
        raise TimedOutError(
            f"{plan.label} was not ready after {plan.ready_within:g} s; "
            f"its last lines:\n{self._last_lines()}",
            hint=f"its whole output is in {plan.log}",
        )

    def _last_lines(self) -> str:
        return "\n".join(f"  {line}" for line in last_lines(self._plan.log)) or "  (none)"

"""`serve`: a model from the shelf, answered for by processes of this machine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import queue
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from modelshelf.core import events
from modelshelf.core.errors import NotOnShelfError, ShelfError
from modelshelf.core.events import Event, Listener
from modelshelf.core.files import explained
from modelshelf.core.lease import Lease
from modelshelf.core.model import ModelRef, Snapshot
from modelshelf.core.shelf import Shelf, read_key
from modelshelf.engines import Engine, ServeOptions, engine_named
from modelshelf.engines.timeline import Stamped
from modelshelf.targets.local.environment import replica_environment
from modelshelf.targets.local.kept import Job, Kept, Reports
from modelshelf.targets.local.needs import require
from modelshelf.targets.local.ports import free_port, require_port, url_of
from modelshelf.targets.local.recording import recorded
from modelshelf.targets.local.router import router_argv

DRAIN = 30.0  # seconds
READY_WITHIN = 600.0  # seconds; a large model comes slowly from a share
_REPLICA_END = 5.0  # seconds for a replica whose router has gone; it has nothing left to do
_LOOPBACK = "127.0.0.1"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(  # noqa: PLR0913 - each is one option of one sentence
    ref: str | ModelRef,
    *,
    shelf: Shelf | str | os.PathLike[str],
    engine: str = "llamacpp",
    replicas: int = 1,
    host: str = _LOOPBACK,
    port: int = 8000,
    name: str | None = None,
    context_length: int | None = None,
    parallel: int = 4,
    threads: int | None = None,
    extra: Sequence[str] = (),
    log_dir: str | os.PathLike[str] | None = None,
    ready_within: float = READY_WITHIN,
    drain: float = DRAIN,
    on_event: Listener = events.ignore,
) -> Server:
    """Serve a model of a shelf on this machine; returns when all of it is ready.

    Args:
        ref: `org/name` (the newest snapshot that the engine can serve), `org/name@tag` or
            `org/name@first-digits-of-an-id`.
        shelf: The shelf, or its folder.
        engine: Which engine.
        replicas: How many processes answer; a router stands before several (Linux only).
        host: The address to listen on.
        port: The port to listen on; 0 finds a free one.
        name: The model's name in the API; None for `org/name`.
        context_length: Tokens that one request and its answer may have together; None for the
            model's own length, shared by all requests of a replica.
        parallel: Requests that one replica works on at once.
        threads: CPU threads for each replica; None divides this machine's cores among them.
        extra: Arguments for the engine itself.
        log_dir: Where logs go; None for `~/.local/state/modelshelf/<name>-<port>`.
        ready_within: Seconds that a replica may take until it answers.
        drain: Seconds that requests under way get when it stops.
        on_event: Called with `ReplicaStarting`, `ReplicaReady`, `ReplicaDied`, `Serving` and
            `Draining`, by one thread at a time.

    Returns:
        The running server. Leaving it as a context manager stops it.

    Raises:
        UsageError: An option makes no sense, or not on this system; something is not installed.
        NotOnShelfError: The shelf has no such model, or none that the engine can serve.
        TargetError: The port is taken, or a replica ended before it was ready; its last lines are
            in the message.
        TimedOutError: A replica was not ready in time.

    Example:
        >>> with serve("org/name", shelf="/mnt/models", replicas=2) as server:  # doctest: +SKIP
        ...     server.wait()
    """
    module = engine_named(engine)
    require(module.NEEDS, replicas, sys.platform)
    shelf = shelf if isinstance(shelf, Shelf) else Shelf(shelf)
    snapshot = shelf.find(ref, accept=module.accepts)
    require_port(host, port)
    plan = _Plan(
        module,
        snapshot,
        replicas,
        ServeOptions(
            name=name,
            host=host,
            port=port or free_port(host),
            context_length=context_length,
            parallel=parallel,
            threads=threads or max(1, _cores() // replicas),
            extra=tuple(extra),
        ),
        ready_within,
        drain,
    )
    folder = os.path.abspath(log_dir or _log_folder(snapshot, plan.options.port))
    with explained(folder):
        os.makedirs(folder, exist_ok=True)
    return Server(plan, shelf, folder, on_event)


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    """What is served and how; `options` say where the front listens."""

    engine: Engine
    snapshot: Snapshot
    replicas: int
    options: ServeOptions
    ready_within: float
    drain: float


class Server:
    """A running server: replicas, and a router before several. Made by `serve`.

    Attributes:
        url: Base URL of the OpenAI-compatible API.
        model: The model's name there.
        snapshot: What is served.
        log_dir: The folder of the logs: `replica-0.log`, …, `router.log`. What an earlier run
            left there has `.1` behind its name.
    """

    def __init__(self, plan: _Plan, shelf: Shelf, log_dir: str, on_event: Listener) -> None:
        self.snapshot = plan.snapshot
        self.model = plan.options.name or plan.snapshot.repo_id
        self.url = url_of(plan.options.host, plan.options.port) + "/v1"
        self.log_dir = log_dir
        self._plan = plan
        self._tell = _one_at_a_time(on_event)
        self._woken: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopping = threading.Lock()
        self._replicas: list[Kept] = []
        self._router: Kept | None = None
        self._lease = _hold(shelf, plan.snapshot)
        try:
            self._start()
        except BaseException:
            self._end(0.0)
            raise
        self._tell(events.Serving(self.url, self.model, plan.replicas))

    def wait(self) -> None:
        """Return on SIGTERM, SIGINT, or a `stop` from another thread.

        Signals count where Python lets them: in the main thread.
        """
        with _signals_to(self._woken.put):
            self._woken.get()

    def stop(self, drain: float | None = None) -> None:
        """Take no new requests, finish those under way, and end every process.

        Args:
            drain: Seconds that requests get; None for what `serve` was told.
        """
        self._woken.put(0)
        if not self._stopping.acquire(blocking=False):
            return
        seconds = self._plan.drain if drain is None else drain
        self._tell(events.Draining(seconds))
        try:
            self._end(seconds)
        except BaseException:
            # A second Ctrl-C: nobody waits any longer.
            self._end(0.0)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        plan = self._plan
        single = plan.replicas == 1
        hosts = plan.options.host if single else _LOOPBACK
        for number in range(plan.replicas):
            port = plan.options.port if single else free_port(_LOOPBACK)
            options = dataclasses.replace(plan.options, host=hosts, port=port)
            job = self._replica_job(number, options, movable=not single)
            self._replicas.append(Kept(job, self._replica_reports(number, job.log)))
        _await_ready(self._replicas)
        if not single:
            self._router = Kept(self._router_job(), self._router_reports())
            _await_ready([self._router])

    def _replica_job(self, number: int, options: ServeOptions, *, movable: bool) -> Job:
        def spec_at(port: int) -> tuple[str, ...]:
            moved = dataclasses.replace(options, port=port)
            return self._plan.engine.spec(self.snapshot, path, moved).argv

        path = self.snapshot.path or ""
        spec = self._plan.engine.spec(self.snapshot, path, options)
        return Job(
            label=f"replica {number} of {self.snapshot.repo_id}",
            argv=spec_at,
            env=replica_environment(os.environ, spec.env),
            host=options.host,
            port=options.port,
            movable=movable,
            health_path=spec.health_path,
            log=_fresh_log(self.log_dir, f"replica-{number}"),
            ready_within=self._plan.ready_within,
        )

    def _router_job(self) -> Job:
        workers = [url_of(_LOOPBACK, replica.port) for replica in self._replicas]
        options = self._plan.options

        def argv(port: int) -> tuple[str, ...]:
            return router_argv(
                options.host,
                port,
                workers,
                metrics_port=free_port(_LOOPBACK),
                parallel=options.parallel,
                ready_within=self._plan.ready_within,
            )

        return Job(
            label=f"the router of {self.snapshot.repo_id}",
            argv=argv,
            env=replica_environment(os.environ),
            host=options.host,
            port=options.port,
            movable=False,
            health_path="/health",
            log=_fresh_log(self.log_dir, "router"),
            ready_within=self._plan.ready_within,
        )

    def _replica_reports(self, number: int, log: str) -> Reports:
        def ready(port: int, seconds: float, lines: Sequence[Stamped]) -> None:
            start = recorded(lines, seconds, log)
            phases = tuple((phase.name, phase.seconds) for phase in start.phases) if start else ()
            told = (start.how, start.reason) if start else ("", "")
            self._tell(events.ReplicaReady(number, port, seconds, phases, *told))

        return Reports(
            lambda pid, port: self._tell(events.ReplicaStarting(number, pid, port, log)),
            ready,
            lambda code, wait: self._tell(events.ReplicaDied(number, code, wait)),
        )

    def _router_reports(self) -> Reports:
        return Reports(
            lambda _pid, _port: None,
            lambda _port, _seconds, _lines: None,
            lambda code, wait: self._tell(events.RouterDied(code, wait)),
        )

    def _end(self, drain: float) -> None:
        """End the front first, since it knows the requests under way, then the rest."""
        for replica in self._replicas:
            # A supervisor may have sent SIGTERM to each process by itself.
            replica.retire()
        if self._router:
            self._router.terminate()
            self._router.end(drain)
        _end_all(self._replicas, min(drain, _REPLICA_END) if self._router else drain)
        if self._lease:
            self._lease.release()


def _await_ready(kept: Sequence[Kept]) -> None:
    """Wait until all are ready, or raise the first error."""
    waiting = [one.ready for one in kept]
    done, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_EXCEPTION)
    for future in done:
        future.result()


def _end_all(kept: Sequence[Kept], within: float) -> None:
    for one in kept:
        one.terminate()
    deadline = time.monotonic() + within
    for one in kept:
        one.end(deadline - time.monotonic())


def _hold(shelf: Shelf, snapshot: Snapshot) -> Lease | None:
    """Keep `rm` from a snapshot; None on a shelf where nothing can be written.

    Raises:
        NotOnShelfError: It was removed in the meantime.
    """
    lease = None
    with contextlib.suppress(ShelfError):
        lease = Lease.take(shelf.path, f"{read_key(snapshot)}/{uuid.uuid4()}", "read")
    if shelf.get(snapshot.repo_id, snapshot.id) is None:
        if lease:
            lease.release()
        raise NotOnShelfError(f"{snapshot.repo_id}@{snapshot.id} has just left {shelf.path}")
    return lease


def _one_at_a_time(listener: Listener) -> Listener:
    lock = threading.Lock()

    @functools.wraps(listener)
    def tell(event: Event) -> None:
        with lock:
            listener(event)

    return tell


@contextlib.contextmanager
def _signals_to(put: Callable[[int], None]) -> Iterator[None]:
    """Send SIGTERM and SIGINT to a function that may be called at any moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda n, _: put(n)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _log_folder(snapshot: Snapshot, port: int) -> str:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "modelshelf", f"{snapshot.repo_id.split('/')[1]}-{port}")


def _fresh_log(folder: str, name: str) -> str:
    """The path of a log; what an earlier run wrote there is kept beside it."""
    path = os.path.join(folder, f"{name}.log")
    with explained(path), contextlib.suppress(FileNotFoundError):
        os.rename(path, f"{path}.1")
    return path

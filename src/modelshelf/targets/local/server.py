"""`serve`: a model from the shelf, answered for by processes of this machine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from modelshelf.engines import ServeOptions, engine_named
from modelshelf.engines.timeline import Stamped
from modelshelf.shelf.errors import NotOnShelfError, ShelfError
from modelshelf.shelf.events import Event, Listener, ignore
from modelshelf.shelf.leases import Lease
from modelshelf.shelf.shelf import Shelf, reader_lease_key
from modelshelf.shelf.values import ModelRef, Snapshot
from modelshelf.targets.local.events import (
    Draining,
    ModelReading,
    ReplicaDied,
    ReplicaReady,
    ReplicaStarting,
    RouterDied,
    Serving,
)
from modelshelf.targets.local.jobs import (
    LOOPBACK,
    Plan,
    fresh_log,
    log_folder,
    plan_of,
    replica_job,
    router_job,
    spec_of,
)
from modelshelf.targets.local.kept import Kept, Reports
from modelshelf.targets.local.ports import free_port, require_port, url_of
from modelshelf.targets.local.recording import recorded
from modelshelf.targets.local.unpacking import unpacked

DRAIN = 30.0  # seconds
READY_WITHIN = 600.0  # seconds; a large model comes slowly from a share
_REPLICA_END = 10.0  # seconds for a replica whose router has gone; it has nothing left to do
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(  # noqa: PLR0913 - each is one option of one sentence
    ref: str | ModelRef,
    *,
    shelf: Shelf | str | os.PathLike[str],
    engine: str = "llamacpp",
    engine_python: str | None = None,
    replicas: int = 1,
    host: str = LOOPBACK,
    port: int = 8000,
    name: str | None = None,
    context_length: int | None = None,
    parallel: int | None = None,
    threads: int | None = None,
    extra: Sequence[str] = (),
    log_dir: str | os.PathLike[str] | None = None,
    ready_within: float = READY_WITHIN,
    drain: float = DRAIN,
    fast_start: bool | None = None,
    on_event: Listener = ignore,
) -> Server:
    """Serve a model of a shelf on this machine; returns when all of it is ready.

    Args:
        ref: `org/name` (the newest snapshot that the engine can serve), `org/name@tag` or
            `org/name@first-digits-of-an-id`.
        shelf: The shelf, or its folder.
        engine: Which engine: `llamacpp` or `vllm`.
        engine_python: The Python of an environment that has the engine, which vLLM may be in; None
            for our own.
        replicas: How many processes answer; a router stands before several (Linux only).
        host: The address to listen on.
        port: The port to listen on; 0 finds a free one.
        name: The model's name in the API; None for `org/name`.
        context_length: Tokens that one request and its answer may have together; None for the
            model's own length, shared by all requests of a replica.
        parallel: Requests that one replica works on at once; None for 4 of llama.cpp's, and for as
            many of vLLM's as it chooses.
        threads: CPU threads for each replica; None divides this machine's cores among them.
        extra: Arguments for the engine itself.
        log_dir: Where logs go; None for `~/.local/state/modelshelf/<name>-<port>`.
        ready_within: Seconds that a replica may take until it answers.
        drain: Seconds that requests under way get when it stops.
        fast_start: Whether vLLM's processes are forked from one that has imported it, instead of
            importing it each; None for yes on a CPU and no on GPUs.
        on_event: Called with `ModelReading`, `ReplicaStarting`, `ReplicaReady`, `ReplicaDied`,
            `Serving` and `Draining`, by one thread at a time.

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
    options = ServeOptions(
        name=name,
        host=host,
        port=port,
        context_length=context_length,
        parallel=parallel,
        threads=threads,
        extra=tuple(extra),
        ready_within=ready_within,
        drain=drain,
        fast_start=fast_start,
    )
    plan = plan_of(
        ref,
        shelf,
        engine_named(engine),
        engine_python=engine_python,
        replicas=replicas,
        options=options,
    )
    require_port(host, port)
    if port == 0:
        moved = dataclasses.replace(plan.options, port=free_port(host))
        plan = dataclasses.replace(plan, options=moved)
    folder = os.path.abspath(log_dir or log_folder(plan.snapshot, str(plan.options.port)))
    return Server(plan, folder, on_event)


class Server:
    """A running server: replicas, and a router before several. Made by `serve`.

    Attributes:
        url: Base URL of the OpenAI-compatible API.
        model: The model's name there.
        snapshot: What is served.
        log_dir: The folder of the logs: `replica-0.log`, …, `router.log`. What an earlier run
            left there has `.1` behind its name.
    """

    def __init__(self, plan: Plan, log_dir: str, on_event: Listener) -> None:
        self.snapshot = plan.snapshot
        self.model = plan.options.name or plan.snapshot.repo_id
        self.url = url_of(plan.options.host, plan.options.port) + "/v1"
        self.log_dir = log_dir
        self._plan = plan
        self._tell = _one_at_a_time(on_event)
        self._woken: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopping = threading.Lock()
        self._replicas: list[Kept] = []
        self._held = contextlib.ExitStack()
        self._router: Kept | None = None
        self._lease = _hold(plan.shelf, plan.snapshot)
        try:
            self._start()
        except BaseException:
            self._end(0.0)
            raise
        self._tell(Serving(self.url, self.model, plan.replicas))

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
        seconds = self._plan.options.drain if drain is None else drain
        self._tell(Draining(seconds))
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
        if load := spec_of(plan).load:
            self._tell(ModelReading(self.snapshot.repo_id, load))
        caches = self._held.enter_context(unpacked(plan, self._tell))
        for number in range(plan.replicas):
            log = fresh_log(self.log_dir, f"replica-{number}")
            reports = self._replica_reports(number, log)
            self._replicas.append(Kept(replica_job(plan, number, log, caches), reports))
        _await_ready(self._replicas)
        if plan.replicas > 1:
            ports = [replica.port for replica in self._replicas]
            job = router_job(plan, ports, fresh_log(self.log_dir, "router"))
            self._router = Kept(job, self._router_reports())
            _await_ready([self._router])

    def _replica_reports(self, number: int, log: str) -> Reports:
        def ready(port: int, seconds: float, lines: Sequence[Stamped]) -> None:
            start = recorded(lines, seconds, log)
            told = (start.lengths, start.how, start.reason) if start else ()
            self._tell(ReplicaReady(number, port, seconds, *told))

        return Reports(
            lambda pid, port: self._tell(ReplicaStarting(number, pid, port, log)),
            ready,
            lambda code, wait: self._tell(ReplicaDied(number, code, wait)),
        )

    def _router_reports(self) -> Reports:
        return Reports(
            lambda _pid, _port: None,
            lambda _port, _seconds, _lines: None,
            lambda code, wait: self._tell(RouterDied(code, wait)),
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
        self._held.close()
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
        lease = Lease.take(shelf.path, f"{reader_lease_key(snapshot)}/{uuid.uuid4()}", "read")
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

"""`serve`: serves a model of the shelf with processes on this machine."""

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
from modelshelf.engines.timeline_reader import TimedLine
from modelshelf.shelf.errors import NotOnShelfError, ShelfError
from modelshelf.shelf.events import Event, Listener, ignore
from modelshelf.shelf.leases import Lease
from modelshelf.shelf.shelf import Shelf, reader_lease_key
from modelshelf.shelf.values import ModelRef, Snapshot
from modelshelf.targets.local.compile_cache import unpacked_compile_cache
from modelshelf.targets.local.events import (
    Draining,
    ModelReading,
    ReplicaDied,
    ReplicaReady,
    ReplicaStarting,
    RouterDied,
    Serving,
)
from modelshelf.targets.local.log_files import log_folder, prepare_log
from modelshelf.targets.local.log_recorder import save_timeline
from modelshelf.targets.local.ports import base_url, free_port, require_port
from modelshelf.targets.local.restarting_process import ProcessCallbacks, RestartingProcess
from modelshelf.targets.local.serving_plan import (
    LOOPBACK,
    ServingPlan,
    make_server_spec,
    plan_replica,
    plan_router,
    plan_serving,
)

_DRAIN_SECONDS = 30.0
_READY_WITHIN_SECONDS = 600.0  # reading a large model from a share takes long
# How long a replica gets to end, once its router has ended. It has no requests by then.
_REPLICA_END_SECONDS = 10.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(  # noqa: PLR0913 - the options of the command
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
    ready_within: float = _READY_WITHIN_SECONDS,
    drain: float = _DRAIN_SECONDS,
    fast_start: bool | None = None,
    on_event: Listener = ignore,
) -> Server:
    """Serve a model of a shelf on this machine, and return when all replicas are ready.

    Args:
        ref: `org/name` (the newest snapshot that the engine can serve), `org/name@tag` or
            `org/name@first-digits-of-an-id`.
        shelf: The shelf, or its folder.
        engine: The engine: `llamacpp` or `vllm`.
        engine_python: The Python of an environment that has the engine; None for modelshelf's own.
            vLLM may be in such an environment, llama.cpp may not.
        replicas: The number of processes that serve. Several need a router, which exists for Linux
            only.
        host: The address to listen on.
        port: The port to listen on; 0 chooses a free one.
        name: The model's name in the API; None for `org/name`.
        context_length: The tokens that one request and its answer may have together; None for the
            model's own length, shared by all requests of a replica.
        parallel: The requests that one replica works on at once; None for 4 with llama.cpp, and for
            vLLM's own choice.
        threads: The CPU threads of each replica; None divides this machine's cores among them.
        extra: Arguments for the engine itself.
        log_dir: The folder for logs; None for `~/.local/state/modelshelf/<name>-<port>`.
        ready_within: Seconds that a replica may take until it answers.
        drain: Seconds that requests get to finish when the server stops.
        fast_start: Whether vLLM is imported once, and its processes are forked from that one. None
            for yes on a CPU and no on GPUs.
        on_event: Called with `ModelReading`, `ReplicaStarting`, `ReplicaReady`, `ReplicaDied`,
            `Serving` and `Draining`, by one thread at a time.

    Returns:
        The running server. As a context manager, it stops at the end of the block.

    Raises:
        UsageError: An option is wrong, or not possible on this system, or something is not
            installed.
        NotOnShelfError: The shelf has no such model, or none that the engine can serve.
        TargetError: The port is in use, or a replica ended before it was ready; its last lines are
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
    plan = plan_serving(
        ref,
        shelf,
        engine_named(engine),
        engine_python=engine_python,
        replicas=replicas,
        options=options,
    )
    require_port(host, port)
    if port == 0:
        chosen_port = dataclasses.replace(plan.options, port=free_port(host))
        plan = dataclasses.replace(plan, options=chosen_port)
    folder = os.path.abspath(log_dir or log_folder(plan.snapshot, str(plan.options.port)))
    return Server(plan, folder, on_event)


class Server:
    """A running server: its replicas, and a router if there are several. `serve` makes it.

    Attributes:
        url: The base URL of the OpenAI-compatible API.
        model: The model's name in the API.
        snapshot: The snapshot that is served.
        log_dir: The folder of the logs: `replica-0.log`, …, `router.log`. The logs of an earlier
            run have `.1` at the end of their names.
    """

    def __init__(self, plan: ServingPlan, log_dir: str, on_event: Listener) -> None:
        self.snapshot = plan.snapshot
        self.model = plan.options.name or plan.snapshot.repo_id
        self.url = base_url(plan.options.host, plan.options.port) + "/v1"
        self.log_dir = log_dir
        self._plan = plan
        self._on_event = _serialise_calls(on_event)
        self._stop_requests: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopping = threading.Lock()
        self._replicas: list[RestartingProcess] = []
        self._cleanup = contextlib.ExitStack()
        self._router: RestartingProcess | None = None
        self._lease = _take_lease(plan.shelf, plan.snapshot)
        try:
            self._start()
        except BaseException:
            self._end(0.0)
            raise
        self._on_event(Serving(self.url, self.model, plan.replicas))

    def wait(self) -> None:
        """Wait for SIGTERM, for SIGINT, or for a call of `stop` by another thread.

        Python allows only the main thread to handle signals. In another thread, only `stop` counts.
        """
        with _signals_passed_to(self._stop_requests.put):
            self._stop_requests.get()

    def stop(self, drain: float | None = None) -> None:
        """Accept no new requests, finish those that are being worked on, and end all processes.

        Args:
            drain: Seconds that requests get to finish; None for those that `serve` got.
        """
        self._stop_requests.put(0)
        if not self._stopping.acquire(blocking=False):
            return
        seconds = self._plan.options.drain if drain is None else drain
        self._on_event(Draining(seconds))
        try:
            self._end(seconds)
        except BaseException:
            # A second Ctrl-C, for example. Requests get no more time then.
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
        if load := make_server_spec(plan).load:
            self._on_event(ModelReading(self.snapshot.repo_id, load))
        cache_variables = self._cleanup.enter_context(unpacked_compile_cache(plan, self._on_event))
        for number in range(plan.replicas):
            log = prepare_log(self.log_dir, f"replica-{number}")
            replica = plan_replica(plan, number, log, cache_variables)
            callbacks = self._replica_callbacks(number, log)
            self._replicas.append(RestartingProcess(replica, callbacks))
        _wait_until_ready(self._replicas)
        if plan.replicas > 1:
            ports = [replica.port for replica in self._replicas]
            router = plan_router(plan, ports, prepare_log(self.log_dir, "router"))
            self._router = RestartingProcess(router, self._router_callbacks())
            _wait_until_ready([self._router])

    def _replica_callbacks(self, number: int, log: str) -> ProcessCallbacks:
        def on_ready(port: int, seconds: float, lines: Sequence[TimedLine]) -> None:
            timeline = save_timeline(lines, seconds, log)
            start = (timeline.phase_seconds, timeline.how, timeline.reason) if timeline else ()
            self._on_event(ReplicaReady(number, port, seconds, *start))

        return ProcessCallbacks(
            lambda pid, port: self._on_event(ReplicaStarting(number, pid, port, log)),
            on_ready,
            lambda code, wait: self._on_event(ReplicaDied(number, code, wait)),
        )

    def _router_callbacks(self) -> ProcessCallbacks:
        return ProcessCallbacks(
            lambda _pid, _port: None,
            lambda _port, _seconds, _lines: None,
            lambda code, wait: self._on_event(RouterDied(code, wait)),
        )

    def _end(self, drain: float) -> None:
        """End all processes: the router first, since it knows which requests are not finished."""
        for replica in self._replicas:
            # A supervisor may have sent SIGTERM to each process by itself. A replica that ends
            # because of that must not be restarted.
            replica.stop_restarting()
        if self._router:
            self._router.terminate()
            self._router.wait_or_kill(drain)
        _end_all(self._replicas, min(drain, _REPLICA_END_SECONDS) if self._router else drain)
        self._cleanup.close()
        if self._lease:
            self._lease.release()


def _wait_until_ready(processes: Sequence[RestartingProcess]) -> None:
    """Wait until all processes are ready, or raise the first error."""
    futures = [process.ready for process in processes]
    done, _ = concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
    for future in done:
        future.result()


def _end_all(processes: Sequence[RestartingProcess], timeout_seconds: float) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + timeout_seconds
    for process in processes:
        process.wait_or_kill(deadline - time.monotonic())


def _take_lease(shelf: Shelf, snapshot: Snapshot) -> Lease | None:
    """Take the lease that keeps `rm` from removing a snapshot.

    Returns:
        None if the shelf cannot be written.

    Raises:
        NotOnShelfError: The snapshot was removed in the meantime.
    """
    lease = None
    with contextlib.suppress(ShelfError):
        lease = Lease.take(shelf.path, f"{reader_lease_key(snapshot)}/{uuid.uuid4()}", "read")
    if shelf.get(snapshot.repo_id, snapshot.id) is None:
        if lease:
            lease.release()
        raise NotOnShelfError(
            f"{snapshot.repo_id}@{snapshot.id} was just removed from {shelf.path}"
        )
    return lease


def _serialise_calls(listener: Listener) -> Listener:
    """Make a listener that only one thread at a time can call."""
    lock = threading.Lock()

    @functools.wraps(listener)
    def call_listener(event: Event) -> None:
        with lock:
            listener(event)

    return call_listener


@contextlib.contextmanager
def _signals_passed_to(put: Callable[[int], None]) -> Iterator[None]:
    """Pass SIGTERM and SIGINT to a function, in the block.

    A handler runs between any two instructions of the main thread. So the function must be safe to
    call while the main thread is anywhere, even inside the function itself: `SimpleQueue.put` is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, lambda n, _: put(n)) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

"""Starting an engine, and staying its parent until nothing of it is left.

The compile cache is unpacked before the engine starts. The model is prefetched while it starts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import Event, Listener, ignore
from modelshelf.start import cache_store, vllm_fast
from modelshelf.start.cache_unpack import unpack
from modelshelf.start.events import CacheMissing, EngineEnded, EngineReady, EngineStarting
from modelshelf.start.health_check import is_healthy
from modelshelf.start.prefetch import prefetch
from modelshelf.start.process_tree import ProcessTree
from modelshelf.start.stop_signals import StopSignals

_HEALTH_POLL_SECONDS = 0.1
_HEALTH_ANSWER_SECONDS = 2.0
_STOPPING_POLL_SECONDS = 0.05
_REPEATED_SIGNAL_SECONDS = 2.0  # within this time the same signal again means nothing more
_IDLE_SECONDS = 60.0  # every signal and every child's end wakes us before


@dataclasses.dataclass(frozen=True, slots=True)
class CacheSpec:
    """Which compile cache to unpack, and where to.

    Attributes:
        folder: The shelf's folder `compile-cache`.
        snapshot: `org/name@id` of the model.
        into: The start's own folder.
    """

    folder: str
    snapshot: str
    into: str


@dataclasses.dataclass(frozen=True, slots=True)
class StartSpec:
    """How an engine is started.

    Attributes:
        health: The URL that answers 200 once the engine is ready. If it is empty, the engine
            counts as ready from the first moment.
        prefetch_paths: Files and folders to read into the page cache while the engine starts.
        max_prefetch_bytes: How much of them may be read; None for what the memory allows.
        cache: The compile cache to unpack before; None for none.
        fork: Whether vLLM's processes may be forked from one that has imported vLLM. None if the
            engine is to be started by its own command line.
    """

    health: str = ""
    prefetch_paths: tuple[str, ...] = ()
    max_prefetch_bytes: int | None = None
    cache: CacheSpec | None = None
    fork: bool | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StartSpec:
        """Read a spec as `start/__main__.py` documents it.

        Raises:
            UsageError: It has another shape.
        """
        try:
            reading, cache, fast = (
                data.get(key) or {} for key in ("prefetch", "compile_cache", "fast")
            )
            max_bytes = reading.get("memory")
            return cls(
                health=_check_url(data.get("health") or ""),
                prefetch_paths=tuple(os.fspath(path) for path in reading.get("paths", ())),
                max_prefetch_bytes=None if max_bytes is None else int(max_bytes),
                cache=CacheSpec(**{key: str(cache[key]) for key in _CACHE_KEYS}) if cache else None,
                fork=bool(fast["fork"]) if fast else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the spec of the start is not readable: {error!r}") from error


_CACHE_KEYS = tuple(field.name for field in dataclasses.fields(CacheSpec))


def start(
    spec: StartSpec,
    argv: Sequence[str],
    listener: Listener = ignore,
    *,
    received: list[int] | None = None,
) -> int:
    """Start an engine, and stay its parent until nothing of it is left.

    Run it in a process of its own. It handles that process's signals, and every child of the
    process ends with the engine.

    Args:
        spec: How the engine is started.
        argv: The engine's command line.
        listener: Gets each event.
        received: Signals that were received before; see `StopSignals`.

    Returns:
        The engine's exit code; 128 + n if signal n ended it.

    Raises:
        UsageError: The command line cannot be run.
        KeyboardInterrupt: A signal was received before the engine was started.
    """
    began = time.monotonic()
    tell = ignore_write_errors(listener)
    with StopSignals(received) as signals:
        env = _prepare_environment(spec.cache, argv, tell)
        command = vllm_fast.choose_command(argv, fork=spec.fork, env=env)
        signals.record_only()
        tell(EngineStarting(command.argv, command.how, command.reason))
        has_answered = threading.Event()
        if not spec.health:
            has_answered.set()

        def is_ready() -> bool:
            # The sender of a signal may have seen the engine answer a moment before we asked it.
            return has_answered.is_set() or is_healthy(spec.health, _HEALTH_ANSWER_SECONDS)

        with (
            run_engine(command.argv, env) as tree,
            _work_during_start(spec, began, has_answered, tell),
        ):
            exit_code = supervise(tree, signals, is_ready)
        tell(EngineEnded(exit_code))
        return exit_code


def ignore_write_errors(listener: Listener) -> Listener:
    """Wrap a listener so that an error in writing does not end the engine.

    What reads our output may have gone away.
    """

    def tell(event: Event) -> None:
        with contextlib.suppress(OSError):
            listener(event)

    return tell


def _prepare_environment(
    cache: CacheSpec | None, argv: Sequence[str], tell: Listener
) -> dict[str, str]:
    """Unpack the compile cache, and return the environment in which the engine finds it.

    Whatever fails there costs time only, since the engine then compiles again.
    """
    env = dict(os.environ)
    if cache is None:
        return env
    try:
        tell(unpack(cache.folder, cache.snapshot, cache.into, argv, env))
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine can start without
        tell(CacheMissing("", repr(error)))
    return env | cache_store.build_environment(cache.into)


@contextlib.contextmanager
def run_engine(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[ProcessTree]:
    """Run an engine. The kernel kills its process group if it still runs at the end of the block.

    Raises:
        UsageError: The command line cannot be run.
    """
    try:
        tree = ProcessTree(argv, env)
    except (OSError, IndexError, ValueError) as error:
        name = argv[0] if argv else "nothing"
        raise UsageError(
            f"{name} cannot be run: {error}",
            hint="put the engine's command behind the spec: start SPEC.json -- COMMAND …",
        ) from error
    with tree:
        yield tree


def supervise(tree: ProcessTree, signals: StopSignals, is_ready: Callable[[], bool]) -> int:
    """Wait until nothing of an engine is left, and act on the signals that come meanwhile.

    - An engine that is ready gets the first signal, and may finish its requests.
    - An engine that is not ready is stopped, with all that it started. It has no requests, and it
      might lose the signal.
    - A second signal stops everything, too. The same signal again within two seconds is not a
      second one: some supervisors signal every process of a group, and the program that started us
      signals us again.
    - SIGIO stops everything, since the process that started us has died.

    Args:
        tree: The engine's processes.
        signals: What was received; `record_only` was called.
        is_ready: Returns whether the engine is ready.

    Returns:
        The engine's exit code as a shell has it: 128 + n if signal n ended it. If a signal made us
        stop everything, 128 and that signal.
    """
    handled_count = 0
    stopped_by = 0
    passed_on_at = -math.inf
    while not tree.is_empty:
        for number in signals.received[handled_count:]:
            handled_count += 1
            first = signals.received[0]
            if handled_count == 1 and number != signal.SIGIO and is_ready():
                tree.signal_program(number)
                passed_on_at = time.monotonic()
            elif number != first or time.monotonic() - passed_on_at > _REPEATED_SIGNAL_SECONDS:
                stopped_by = stopped_by or first
        is_stopping = stopped_by or tree.exit_code is not None
        if is_stopping:
            tree.stop_all()
        signals.wait(_STOPPING_POLL_SECONDS if is_stopping else _IDLE_SECONDS)
        tree.reap()
    exit_code = tree.exit_code or 0
    if stopped_by:
        return 128 + stopped_by
    return 128 - exit_code if exit_code < 0 else exit_code


def wait_until_healthy(url: str, stop: threading.Event, max_seconds: float = math.inf) -> bool:
    """Wait until an engine's health path answers 200.

    Args:
        url: The URL of the health path.
        stop: Set it to have the wait end.
        max_seconds: The longest wait.

    Returns:
        Whether it has answered so.
    """
    deadline = time.monotonic() + max_seconds
    while not stop.is_set() and time.monotonic() < deadline:
        if is_healthy(url, _HEALTH_ANSWER_SECONDS):
            return True
        stop.wait(_HEALTH_POLL_SECONDS)
    return False


@contextlib.contextmanager
def _work_during_start(
    spec: StartSpec, began: float, has_answered: threading.Event, tell: Listener
) -> Iterator[None]:
    """Prefetch the model and wait for the first answer, in threads that end with the block."""
    stop = threading.Event()

    def prefetch_model() -> None:
        if spec.prefetch_paths:
            tell(prefetch(spec.prefetch_paths, spec.max_prefetch_bytes, stop))

    def wait_for_answer() -> None:
        if spec.health and wait_until_healthy(spec.health, stop):
            has_answered.set()
            tell(EngineReady(round(time.monotonic() - began, 3)))

    threads = [_start_thread(prefetch_model), _start_thread(wait_for_answer)]
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            # A read from a share that does not answer cannot be interrupted. Such a thread is a
            # daemon and ends with this process.
            thread.join(_HEALTH_ANSWER_SECONDS)


def _start_thread(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def _check_url(text: str) -> str:
    """Return a URL, or an empty text, unchanged.

    Raises:
        ValueError: It is no URL of a port.
    """
    parts = urllib.parse.urlsplit(text)
    if text and (parts.scheme != "http" or not parts.hostname or not parts.port):
        raise ValueError(f"{text} is not a URL such as http://127.0.0.1:8000/health")
    return text

"""Starting an engine: caches unpacked before, the model read ahead meanwhile, and a clean end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import Event, Listener, ignore
from modelshelf.start import cache_store, vllm_fast
from modelshelf.start.cache_unpack import unpack
from modelshelf.start.events import CacheMissing, EngineEnded, EngineReady, EngineStarting
from modelshelf.start.health_check import is_healthy
from modelshelf.start.prefetch import prefetch
from modelshelf.start.process_tree import Group, Signals

_LOOK = 0.1  # seconds between two looks at the health path
_ANSWER = 2.0  # seconds for an answer to one
_ENDING = 0.05  # seconds between two looks at who is left
_SAME = 2.0  # seconds within which the same signal again means nothing more
_IDLE = 60.0  # seconds; whatever happens wakes us


@dataclasses.dataclass(frozen=True, slots=True)
class Caches:
    """Which compile cache to unpack before the start, and where to.

    Attributes:
        folder: The shelf's folder `compile-cache`.
        snapshot: `org/name@id`.
        into: The start's own folder.
    """

    folder: str
    snapshot: str
    into: str


@dataclasses.dataclass(frozen=True, slots=True)
class StartSpec:
    """How an engine is started.

    Attributes:
        health: The URL that answers 200 once it is ready; empty if there is none. Then it counts
            as ready from its first instant.
        paths: Files and folders to read into the page cache meanwhile.
        memory: Bytes that may be read so at the most; None for what the memory allows.
        caches: What to unpack before; None for nothing.
        fork: Whether its processes may be forked from one that has imported the engine; None for
            an engine that is started as its command says.
    """

    health: str = ""
    paths: tuple[str, ...] = ()
    memory: int | None = None
    caches: Caches | None = None
    fork: bool | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StartSpec:
        """Read a spec as `start/__main__.py` documents it.

        Raises:
            UsageError: It has another shape.
        """
        try:
            reading, caches, fast = (
                data.get(key) or {} for key in ("prefetch", "compile_cache", "fast")
            )
            memory = reading.get("memory")
            return cls(
                health=_url(data.get("health") or ""),
                paths=tuple(os.fspath(path) for path in reading.get("paths", ())),
                memory=None if memory is None else int(memory),
                caches=Caches(**{key: str(caches[key]) for key in _CACHES}) if caches else None,
                fork=bool(fast["fork"]) if fast else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the spec of the start is not readable: {error!r}") from error


_CACHES = tuple(field.name for field in dataclasses.fields(Caches))


def start(
    spec: StartSpec,
    argv: Sequence[str],
    listener: Listener = ignore,
    *,
    asked: list[int] | None = None,
) -> int:
    """Start an engine, and stay its parent until nothing of it is left.

    Run it in a process of its own: it takes the signals, and whatever this process started ends
    with the engine.

    Args:
        spec: How.
        argv: The engine's command line.
        listener: Told what happens.
        asked: Signals that asked for an end before; see `Signals`.

    Returns:
        The engine's exit code, 128 + n if signal n ended it.

    Raises:
        UsageError: It cannot be run.
        KeyboardInterrupt: The end was asked for before the engine was started.
    """
    began = time.monotonic()

    def tell(event: Event) -> None:
        # Nobody may be reading any more, which is no reason to end an engine.
        with contextlib.suppress(OSError):
            listener(event)

    with Signals(asked) as signals:
        env = environment(spec, argv, tell)
        command = vllm_fast.command(argv, fork=spec.fork, env=env)
        if signals.hold():
            raise KeyboardInterrupt
        tell(EngineStarting(command.argv, command.how, command.reason))
        ready = threading.Event()
        if not spec.health:
            ready.set()

        def is_ready() -> bool:
            # Whoever asks may have seen that it answers a moment before our own look.
            return ready.is_set() or is_healthy(spec.health, _ANSWER)

        with engine(command.argv, env) as group, _beside(spec, began, ready, tell):
            code = supervise(group, signals, is_ready)
        tell(EngineEnded(code))
        return code


def environment(spec: StartSpec, argv: Sequence[str], tell: Listener) -> dict[str, str]:
    """The engine's environment, ours and where its caches lie, which are unpacked before.

    A fault there is told and costs time: the engine makes its caches again.
    """
    env, caches = dict(os.environ), spec.caches
    if caches is None:
        return env
    try:
        tell(unpack(caches.folder, caches.snapshot, caches.into, argv, env))
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine can start without
        tell(CacheMissing("", repr(error)))
    return env | cache_store.env(caches.into)


@contextlib.contextmanager
def engine(argv: Sequence[str], env: dict[str, str]) -> Iterator[Group]:
    """An engine's processes, which do not survive the block.

    Raises:
        UsageError: It cannot be run.
    """
    try:
        group = Group(argv, env)
    except (OSError, IndexError, ValueError) as error:
        name = argv[0] if argv else "nothing"
        raise UsageError(
            f"{name} cannot be run: {error}",
            hint="put the engine's command behind the spec: start SPEC.json -- COMMAND …",
        ) from error
    with group:
        yield group


def supervise(group: Group, signals: Signals, ready: Callable[[], bool]) -> int:
    """Pass on to an engine what it is asked for, until nothing of it is left.

    A ready engine gets the first signal and finishes what it does. One that is still starting, or
    gets a second signal, is ended with all that it started: it answers nobody yet, and would lose
    the signal. The same signal again at once is not a second one: supervisors tell every process,
    and the one that started us tells us again.

    Args:
        group: Its processes.
        signals: Held.
        ready: Whether it is ready.

    Returns:
        Its exit code as a shell has it.
    """
    heeded, ended_by, first = 0, 0, 0.0
    while not group.gone:
        for number in signals.asked[heeded:]:
            heeded += 1
            if heeded == 1 and number != signal.SIGIO and ready():
                group.tell(number)
                first = time.monotonic()
            elif number != signals.asked[0] or time.monotonic() - first > _SAME:
                ended_by = ended_by or signals.asked[0]
        ending = ended_by or group.code is not None
        if ending:
            group.end()
        signals.wait(_ENDING if ending else _IDLE)
        group.reap()
    code = group.code or 0
    if ended_by:
        return 128 + ended_by
    return 128 - code if code < 0 else code


def watch(health: str, stop: threading.Event) -> bool:
    """Wait until an engine's health path answers 200; whether it did before the stop."""
    while not stop.is_set():
        if is_healthy(health, _ANSWER):
            return True
        stop.wait(_LOOK)
    return False


@contextlib.contextmanager
def _beside(
    spec: StartSpec, began: float, ready: threading.Event, tell: Listener
) -> Iterator[None]:
    """What goes on while an engine starts."""
    stop = threading.Event()

    def reading() -> None:
        if spec.paths:
            tell(prefetch(spec.paths, spec.memory, stop))

    def watching() -> None:
        if spec.health and watch(spec.health, stop):
            ready.set()
            tell(EngineReady(round(time.monotonic() - began, 3)))

    threads = [_thread(reading), _thread(watching)]
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            # A share that hangs holds nobody up: what still reads there ends with the process.
            thread.join(_ANSWER)


def _thread(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def _url(text: str) -> str:
    parts = urllib.parse.urlsplit(text)
    if text and (parts.scheme != "http" or not parts.hostname or not parts.port):
        raise ValueError(f"{text} is not a URL such as http://127.0.0.1:8000/health")
    return text

"""Prime: run an engine once, and publish what it compiled for every later start."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from modelshelf.shelf import layout
from modelshelf.shelf.errors import TargetError, TimedOutError, UsageError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.files import delete_tree
from modelshelf.shelf.shelf import Shelf
from modelshelf.start import cache_store
from modelshelf.start.cache_key import compute_key
from modelshelf.start.cache_publish import publish, verify_published
from modelshelf.start.cache_unpack import replace_folder
from modelshelf.start.events import CacheOrigin, EngineEnded, EngineReady, EngineStarting, Primed
from modelshelf.start.interpreter import probe_interpreter
from modelshelf.start.stop_signals import StopSignals
from modelshelf.start.supervisor import (
    CacheSpec,
    StartSpec,
    ignore_write_errors,
    run_engine,
    supervise,
    wait_until_healthy,
)

_ANSWER_SECONDS = 300.0  # for the one request, during which an engine may compile
_GRACE_SECONDS = 60.0  # for the engine's end after SIGTERM
_MIN_SERVER_FAULT = 500  # HTTP statuses from here on say that the server failed


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeSpec:
    """What to prime.

    Attributes:
        shelf: The shelf's folder.
        cache: As later starts have it. The engine of this run fills the folder `into`.
        health: The URL that answers 200 once the engine is ready.
        timeout: Seconds that the engine may take until then.
        request: A URL, and the JSON to post there once. Engines compile some code only when they
            get a request.
    """

    shelf: str
    cache: CacheSpec
    health: str
    timeout: float
    request: tuple[str, Mapping[str, Any]] | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PrimeSpec:
        """Read a spec as `start/__main__.py` documents it.

        Raises:
            UsageError: It has another shape.
        """
        start = StartSpec.from_json(data)
        if start.cache is None or not start.health:
            raise UsageError("the spec of the prime has no compile_cache or no health")
        try:
            request = data.get("ask")
            return cls(
                shelf=os.fspath(data["shelf"]),
                cache=start.cache,
                health=start.health,
                timeout=float(data["timeout"]),
                request=(str(request["url"]), dict(request["body"])) if request else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the spec of the prime is not readable: {error!r}") from error


def prime(
    spec: PrimeSpec,
    argv: Sequence[str],
    listener: Listener = ignore,
    *,
    received: list[int] | None = None,
) -> int:
    """Publish what an engine compiles for a model on this machine, unless it is on the shelf.

    Run it in a process of its own. It handles that process's signals and starts the engine.

    Args:
        spec: What to prime.
        argv: The engine's command line, as later starts have it.
        listener: Gets each event; `Primed` is the outcome.
        received: Signals that were received before; see `StopSignals`.

    Returns:
        0; 128 + n if signal n asked us to stop.

    Raises:
        UsageError: The command line runs no Python, or the cache's folder holds something else.
        TargetError: The engine ended, did not get ready in time, or did not answer.
        ShelfError: Nothing could be published.
        KeyboardInterrupt: A signal was received before the engine was started.
    """
    began = time.monotonic()
    tell = ignore_write_errors(listener)
    shelf = Shelf(spec.shelf)
    with StopSignals(received) as signals:
        installed = probe_interpreter(argv, os.environ)
        key = compute_key(spec.cache.snapshot, argv, os.environ, installed.versions)
        size = verify_published(shelf, key)
        origin: CacheOrigin = "present"
        if size is None:
            # The engine need not compile for a shelf that cannot be written.
            shelf.require_writable((layout.COMPILE_CACHE, "staging"))
            # Not within the `try`: a folder that is not ours is an error, and must not be deleted.
            replace_folder(spec.cache.into)
            try:
                cache_store.prepare_folder(
                    spec.cache.into, with_bytecode=not installed.has_bytecode
                )
                signals.record_only()
                if stopped_by := _run_engine_once(spec, argv, signals, tell):
                    return 128 + stopped_by
                size, origin = publish(shelf, key, spec.cache.into)
            finally:
                delete_tree(spec.cache.into)
    path = os.path.join(shelf.path, layout.COMPILE_CACHE, key.folder)
    tell(Primed(key.folder, path, size, round(time.monotonic() - began, 3), origin))
    return 0


def _run_engine_once(
    spec: PrimeSpec, argv: Sequence[str], signals: StopSignals, tell: Listener
) -> int:
    """Run the engine until it has answered one request, then stop it.

    Returns:
        The signal that asked us to stop before that; 0 if none did.

    Raises:
        TargetError: The engine was not ready in time, ended by itself, or did not answer.
    """
    trial = _Trial(spec, signals, tell)
    # Every later start can use what a stock start compiles. A faster start would save little here,
    # since compiling takes most of the time.
    tell(EngineStarting(tuple(argv), "stock", ""))
    with run_engine(argv, _build_environment(spec.cache.into)) as tree:
        trial.begin()
        exit_code = supervise(tree, signals, trial.is_ready.is_set)
    trial.end()
    tell(EngineEnded(exit_code))
    if trial.problem is not None:
        raise trial.problem
    if trial.is_complete:
        return 0
    if signals.received:
        return signals.received[0]
    raise TargetError(
        f"the engine ended with exit code {exit_code} before it had answered",
        hint="its own last lines say why",
    )


class _Trial:
    """What is done with a running engine: wait until it is ready, post a request, stop it.

    A second thread does this, because the main thread must supervise the engine: Python gives
    signals to the main thread alone. The thread stops the engine by `StopSignals.add`, as if
    somebody had sent us SIGTERM. So there is one way only in which an engine is stopped.

    Attributes:
        is_ready: Set once the engine is ready.
        is_complete: Whether the engine was stopped because there was nothing more to do.
        problem: Why the trial failed; None if it did not, or if it was not completed.
    """

    def __init__(self, spec: PrimeSpec, signals: StopSignals, tell: Listener) -> None:
        self._spec = spec
        self._signals = signals
        self._tell = tell
        self._engine_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.is_ready = threading.Event()
        self.is_complete = False
        self.problem: TargetError | None = None

    def begin(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def end(self) -> None:
        """Wait for the thread, after the engine has ended."""
        self._engine_ended.set()
        self._thread.join(_ANSWER_SECONDS)

    def _run(self) -> None:
        problem = self._use_engine()
        if self._engine_ended.is_set() or self._signals.received:
            return  # The engine ended, or somebody stopped it: what we saw is a consequence.
        self.problem = problem
        self.is_complete = True
        self._signals.add(signal.SIGTERM)
        if not self._engine_ended.wait(_GRACE_SECONDS):
            self._signals.add(signal.SIGTERM)  # the second one kills it

    def _use_engine(self) -> TargetError | None:
        """Wait until the engine is ready, and post the request; returns what went wrong."""
        began = time.monotonic()
        timeout = self._spec.timeout
        if not wait_until_healthy(self._spec.health, self._engine_ended, timeout):
            return TimedOutError(f"the engine was not ready after {timeout:g} seconds")
        self.is_ready.set()
        self._tell(EngineReady(round(time.monotonic() - began, 3)))
        return _post(*self._spec.request) if self._spec.request else None


def _build_environment(cache_folder: str) -> dict[str, str]:
    """Build the environment of an engine that writes all its caches below a folder."""
    env = {**os.environ, **cache_store.build_environment(cache_folder)}
    if "PYTHONPYCACHEPREFIX" in env:
        # Images set this so that Python writes nothing beside their packages. Here it would keep
        # bytecode out of the cache.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def _post(url: str, body: Mapping[str, Any]) -> TargetError | None:
    """Post one request to the engine; returns what went wrong."""
    # The environment may name a proxy. The engine runs on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with opener.open(request, timeout=_ANSWER_SECONDS) as response:
            response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code < _MIN_SERVER_FAULT:
            return None  # It wants a key, or has another API. It works all the same.
        return TargetError(f"the engine did not answer {url}: {error}")
    return None

"""Compile once: start an engine, let it write its caches, and publish them for later starts."""

from __future__ import annotations

import contextlib
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
from modelshelf.shelf.events import Event, Listener, ignore
from modelshelf.shelf.files import delete_tree
from modelshelf.shelf.shelf import Shelf
from modelshelf.start import cache_store
from modelshelf.start.cache_key import describe, installed
from modelshelf.start.cache_publish import present, publish
from modelshelf.start.cache_unpack import fresh
from modelshelf.start.events import EngineEnded, EngineReady, EngineStarting, Primed
from modelshelf.start.process_tree import Signals
from modelshelf.start.supervisor import Caches, StartSpec, engine, supervise, watch

_ANSWER = 300.0  # seconds for the one request, for which an engine may compile
_FAULT = 500  # HTTP status: from there on, the server's own
_LAST = 60.0  # seconds that an engine has to end when it is asked to


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeSpec:
    """What to prime.

    Attributes:
        shelf: The shelf's folder.
        caches: As later starts have it; this one's engine fills the folder.
        health: The URL that answers 200 once the engine is ready.
        timeout: Seconds until then, at most.
        ask: A URL, and the JSON to post there once, so that no later request compiles.
    """

    shelf: str
    caches: Caches
    health: str
    timeout: float
    ask: tuple[str, Mapping[str, Any]] | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PrimeSpec:
        """Read a spec as `start/__main__.py` documents it.

        Raises:
            UsageError: It has another shape.
        """
        start = StartSpec.from_json(data)
        if start.caches is None or not start.health:
            raise UsageError("the spec of the prime has no compile_cache or no health")
        try:
            ask = data.get("ask")
            return cls(
                shelf=os.fspath(data["shelf"]),
                caches=start.caches,
                health=start.health,
                timeout=float(data["timeout"]),
                ask=(str(ask["url"]), dict(ask["body"])) if ask else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the spec of the prime is not readable: {error!r}") from error


def prime(
    spec: PrimeSpec,
    argv: Sequence[str],
    listener: Listener = ignore,
    *,
    asked: list[int] | None = None,
) -> int:
    """Publish what an engine compiles for a model here, unless it is on the shelf.

    Run it in a process of its own: it takes the signals, and starts the engine.

    Args:
        spec: What to prime.
        argv: The engine's command line, as later starts have it.
        listener: Told how it goes; `Primed` is the outcome.
        asked: Signals that asked for an end before; see `Signals`.

    Returns:
        0, or 128 + n when signal n asked for an end.

    Raises:
        UsageError: The command line runs no Python, or `into` holds something else.
        TargetError: The engine ended, did not get ready in time, or did not answer.
        ShelfError: Nothing could be published.
        KeyboardInterrupt: The end was asked for before the engine was started.
    """
    began = time.monotonic()

    def tell(event: Event) -> None:
        with contextlib.suppress(OSError):
            listener(event)

    shelf, into = Shelf(spec.shelf), spec.caches.into
    with Signals(asked) as signals:
        found = installed(argv, os.environ)
        made = describe(spec.caches.snapshot, argv, os.environ, found.versions)
        size, how = present(shelf, made), "present"
        if size is None:
            shelf.require_writable((layout.COMPILE_CACHE, "staging"))
            fresh(into)
            cache_store.expect(into, bytecode=not found.bytecode)
            if signals.hold():
                raise KeyboardInterrupt
            try:
                stopped_by = _run(spec, argv, signals, tell)
                if stopped_by:
                    return 128 + stopped_by
                size, how = publish(shelf, made, into)
            finally:
                delete_tree(into)
    path = os.path.join(shelf.path, layout.COMPILE_CACHE, made.key)
    tell(Primed(made.key, path, size, round(time.monotonic() - began, 3), how))
    return 0


def _run(spec: PrimeSpec, argv: Sequence[str], signals: Signals, tell: Listener) -> int:
    """Run the engine until it has answered; the signal that ended it before, or 0.

    Raises:
        TargetError: It was not ready in time, ended by itself, or did not answer.
    """
    env = {**os.environ, **cache_store.env(spec.caches.into)}
    if "PYTHONPYCACHEPREFIX" in env:
        # Images set it so that nothing is written beside their packages.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
    before = len(signals.asked)
    ready, stop, ended = threading.Event(), threading.Event(), threading.Event()
    outcome: list[TargetError | None] = []

    def drive() -> None:
        late = threading.Timer(spec.timeout, stop.set)
        late.start()
        began, fault = time.monotonic(), None
        if watch(spec.health, stop):
            ready.set()
            tell(EngineReady(round(time.monotonic() - began, 3)))
            fault = _ask(spec)
        else:
            fault = TimedOutError(f"the engine was not ready after {spec.timeout:g} seconds")
        late.cancel()
        if not ended.is_set() and len(signals.asked) == before:
            outcome.append(fault)
            signals.ask(signal.SIGTERM)
            if not ended.wait(_LAST):
                signals.ask(signal.SIGTERM)

    # What a stock start compiles serves any other, and to compile takes so long as it takes.
    tell(EngineStarting(tuple(argv), "stock", ""))
    with engine(argv, env) as group:
        driver = threading.Thread(target=drive, daemon=True)
        driver.start()
        code = supervise(group, signals, ready.is_set)
    ended.set()
    stop.set()
    driver.join(_ANSWER)
    tell(EngineEnded(code))
    if not outcome and len(signals.asked) > before:
        return signals.asked[before]
    if not outcome:
        raise TargetError(
            f"the engine ended with exit code {code} before it had answered",
            hint="its own last lines say why",
        )
    if outcome[0] is not None:
        raise outcome[0]
    return 0


def _ask(spec: PrimeSpec) -> TargetError | None:
    """Have the engine answer once."""
    if spec.ask is None:
        return None
    url, body = spec.ask
    # An engine beside us is never behind a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with opener.open(request, timeout=_ANSWER) as response:
            response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code < _FAULT:
            return None  # it wants a key, or has another API: it answers all the same
        return TargetError(f"the engine did not answer {url}: {error}")
    return None

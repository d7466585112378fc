"""`prime`: an engine started once, so that what it compiles is there for every later start."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from modelshelf.engines import ServeOptions, engine_named
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef
from modelshelf.start.events import Primed
from modelshelf.targets.lines import event_of, said
from modelshelf.targets.local.jobs import (
    LOOPBACK,
    environment_of,
    fresh_log,
    log_folder,
    plan_of,
    spec_of,
)
from modelshelf.targets.local.ports import free_port, url_of
from modelshelf.targets.local.process import Process, last_lines
from modelshelf.targets.local.slots import slot, slots_folder
from modelshelf.targets.local.starting import below, start_spec
from modelshelf.targets.local.unpacking import caches

_WITHIN = 1800.0  # seconds: compiling for a large model takes a while
_LOOK = 0.2
_LINES = 12  # of a log, in an error
_ENDING = 10.0  # seconds to end an engine that is to be given up


def prime(  # noqa: PLR0913 - each is one option of one sentence
    ref: str | ModelRef,
    *,
    shelf: Shelf | str | os.PathLike[str],
    engine: str = "vllm",
    engine_python: str | None = None,
    replicas: int = 1,
    context_length: int | None = None,
    parallel: int | None = None,
    threads: int | None = None,
    extra: Sequence[str] = (),
    ready_within: float = _WITHIN,
    on_event: Listener = ignore,
) -> Primed:
    """Have an engine compile a model once, and keep the result on the shelf for later starts.

    It counts for starts on machines like this one, with the same versions and the same of these
    options; others compile by themselves. What is there already is not made again.

    Args:
        ref: `org/name`, `org/name@tag` or `org/name@first-digits-of-an-id`.
        shelf: The shelf, or its folder.
        engine: Which engine; `vllm` is the only one that compiles.
        engine_python: The Python of an environment that has it; None for our own.
        replicas: How many replicas `serve` will have, since several do not bind threads to cores.
        context_length: As for `serve`.
        parallel: As for `serve`.
        threads: As for `serve`.
        extra: Arguments for the engine itself; as for `serve`.
        ready_within: Seconds that it may take.
        on_event: Told what happens.

    Returns:
        What is on the shelf now.

    Raises:
        UsageError: An option makes no sense, or something is not installed.
        NotOnShelfError: The shelf has no such model, or none that the engine can serve.
        TargetError: The engine did not start; its last lines are in the message.
    """
    options = ServeOptions(
        host=LOOPBACK,
        port=free_port(LOOPBACK),
        context_length=context_length,
        parallel=parallel,
        threads=threads,
        extra=tuple(extra),
    )
    plan = plan_of(
        ref,
        shelf,
        engine_named(engine),
        engine_python=engine_python,
        replicas=replicas,
        options=options,
    )
    spec = spec_of(plan)
    if spec.fork is None:
        raise UsageError(f"{plan.engine.NEEDS} compiles nothing", hint="only vLLM can be primed")
    log = fresh_log(log_folder(plan.snapshot, "prime"), "prime")
    with slot(slots_folder()) as into:
        told = start_spec(spec, LOOPBACK, plan.snapshot.path or "") | {
            "shelf": plan.shelf.path,
            "compile_cache": caches(plan, into),
            "timeout": ready_within,
            # What is compiled at the first request only is to be there, too.
            "ask": {
                "url": f"{url_of(LOOPBACK, spec.port)}/v1/completions",
                "body": {"model": spec.model, "prompt": "Hello", "max_tokens": 2},
            },
        }
        argv = below("prime", told, f"{log}.json", spec.argv)
        outcome: dict[str, Any] = {}
        for line in _said(Process(argv, environment_of(plan, spec), log), log):
            outcome = line
            if event := event_of(line):
                on_event(event)
    return _primed(outcome, log)


def _said(process: Process, log: str) -> Iterator[dict[str, Any]]:
    """What core says in a log, until its process has ended; it ends early with whoever listens."""
    try:
        with open(log, encoding="utf-8", errors="replace") as lines:
            ended, rest = False, ""
            while not ended:
                ended = process.wait(_LOOK) is not None
                *whole, rest = (rest + lines.read()).split("\n")
                yield from filter(None, map(said, whole))
    finally:
        process.terminate()
        process.wait(_ENDING)
        process.kill()
        process.close()


def _primed(outcome: dict[str, Any], log: str) -> Primed:
    event = event_of(outcome)
    if isinstance(event, Primed):
        return event
    why = outcome.get("message") or "the engine ended before it was ready"
    said = "".join(f"\n  {line}" for line in last_lines(log, _LINES))
    raise TargetError(
        f"{why}; its last lines:{said}",
        hint=f"all it said is in {log}",
    )

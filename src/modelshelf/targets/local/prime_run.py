"""`prime`: runs an engine once, so that later starts find its compiled code on the shelf."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from modelshelf.engines import ServeOptions, ServerSpec, engine_named
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef
from modelshelf.start.events import Primed
from modelshelf.targets.event_lines import event_from_json, parse_event_line
from modelshelf.targets.local.cache_slots import reserve_slot, slots_folder
from modelshelf.targets.local.child_process import ChildProcess
from modelshelf.targets.local.compile_cache import cache_settings
from modelshelf.targets.local.log_files import last_lines, log_folder, prepare_log
from modelshelf.targets.local.ports import base_url, free_port
from modelshelf.targets.local.serving_plan import (
    LOOPBACK,
    ServingPlan,
    engine_environment,
    make_server_spec,
    plan_serving,
)
from modelshelf.targets.local.start_command import start_command_line, start_settings

_READY_WITHIN_SECONDS = 1800.0  # compiling for a large model takes long
_POLL_SECONDS = 0.2
_END_SECONDS = 10.0  # that an engine gets to end, once nobody waits for it


def prime(  # noqa: PLR0913 - the options of the command
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
    ready_within: float = _READY_WITHIN_SECONDS,
    on_event: Listener = ignore,
) -> Primed:
    """Compile a model once, and publish the compile cache on the shelf for later starts.

    A start uses the cache if it has the same versions, the same hardware and the same options.
    Other starts compile for themselves. If the shelf has a cache that fits, it is not made again.

    Args:
        ref: `org/name`, `org/name@tag` or `org/name@first-digits-of-an-id`.
        shelf: The shelf, or its folder.
        engine: The engine; only `vllm` compiles.
        engine_python: The Python of an environment that has the engine; None for modelshelf's own.
        replicas: The number of replicas that `serve` will have. It matters because a single replica
            binds its threads to cores, and one of several does not.
        context_length: As for `serve`.
        parallel: As for `serve`.
        threads: As for `serve`.
        extra: Arguments for the engine itself; as for `serve`.
        ready_within: Seconds that the engine may take until it is ready.
        on_event: Called with each event.

    Returns:
        The compile cache that is on the shelf now.

    Raises:
        UsageError: An option is wrong, or something is not installed.
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
    plan = plan_serving(
        ref,
        shelf,
        engine_named(engine),
        engine_python=engine_python,
        replicas=replicas,
        options=options,
    )
    spec = make_server_spec(plan)
    if spec.fork is None:
        raise UsageError(f"{plan.engine.PACKAGE} compiles nothing", hint="only vLLM can be primed")
    log = prepare_log(log_folder(plan.snapshot, "prime"), "prime")
    with reserve_slot(slots_folder()) as cache_folder:
        settings = _prime_settings(plan, spec, cache_folder, ready_within)
        argv = start_command_line("prime", settings, f"{log}.json", spec.argv)
        outcome: dict[str, Any] = {}
        for data in _follow_events(ChildProcess(argv, engine_environment(plan, spec), log), log):
            outcome = data
            if event := event_from_json(data):
                on_event(event)
    return _primed(outcome, log)


def _prime_settings(
    plan: ServingPlan, spec: ServerSpec, cache_folder: str, ready_within: float
) -> dict[str, Any]:
    """The JSON with which `prime` runs the engine; `start.__main__` documents it."""
    return start_settings(spec, LOOPBACK, plan.snapshot.path or "") | {
        "shelf": plan.shelf.path,
        "compile_cache": cache_settings(plan, cache_folder),
        "timeout": ready_within,
        # One request, since some code is compiled at the first request only.
        "ask": {
            "url": f"{base_url(LOOPBACK, spec.port)}/v1/completions",
            "body": {"model": spec.model, "prompt": "Hello", "max_tokens": 2},
        },
    }


def _follow_events(process: ChildProcess, log: str) -> Iterator[dict[str, Any]]:
    """The JSON of the events in a log, until its process has ended.

    If the caller stops reading, the process is ended.
    """
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            has_ended, partial_line = False, ""
            while not has_ended:
                has_ended = process.wait(_POLL_SECONDS) is not None
                *lines, partial_line = (partial_line + file.read()).split("\n")
                yield from filter(None, map(parse_event_line, lines))
    finally:
        process.terminate()
        process.wait(_END_SECONDS)
        process.kill()
        process.close()


def _primed(outcome: dict[str, Any], log: str) -> Primed:
    """Turn the last event into the result, or into an error."""
    event = event_from_json(outcome)
    if isinstance(event, Primed):
        return event
    reason = outcome.get("message") or "the engine ended before it was ready"
    lines = "".join(f"\n  {line}" for line in last_lines(log))
    raise TargetError(
        f"{reason}; its last lines:{lines}",
        hint=f"its whole output is in {log}",
    )

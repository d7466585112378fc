"""What a server's processes are: their command lines, environments and places."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence

from modelshelf.engines import Engine, ServeOptions, ServerSpec
from modelshelf.shelf.files import explain_os_errors
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef, Snapshot
from modelshelf.start import memory
from modelshelf.targets.local import gpus
from modelshelf.targets.local.environment import replica_environment
from modelshelf.targets.local.interpreters import interpreter_for
from modelshelf.targets.local.kept import Job
from modelshelf.targets.local.mounts import place
from modelshelf.targets.local.needs import require
from modelshelf.targets.local.ports import free_port, url_of
from modelshelf.targets.local.router import router_argv
from modelshelf.targets.local.starting import below, start_spec

LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is served and how; `options` say where the front listens."""

    shelf: Shelf
    engine: Engine
    snapshot: Snapshot
    replicas: int
    options: ServeOptions


def plan_of(  # noqa: PLR0913 - each is a part of one sentence
    ref: str | ModelRef,
    shelf: Shelf | str | os.PathLike[str],
    engine: Engine,
    *,
    engine_python: str | None,
    replicas: int,
    options: ServeOptions,
) -> Plan:
    """What a model is served by here; the options leave the Python open, and maybe the threads.

    Raises:
        UsageError: It cannot be served here.
        NotOnShelfError: The shelf has no such model, or none that the engine can serve.
    """
    require([] if engine.DISTRIBUTIONS else [engine.NEEDS], replicas, sys.platform)
    environment = replica_environment(os.environ, own=engine_python is None)
    python = interpreter_for(engine, engine_python, environment)
    shelf = shelf if isinstance(shelf, Shelf) else Shelf(shelf)
    snapshot = shelf.find(ref, accept=engine.accepts)
    threads = options.threads
    if threads is None and replicas > 1:
        threads = max(1, _cores() // replicas)
    options = dataclasses.replace(
        options,
        python=python,
        threads=threads,
        where=place(snapshot.path or shelf.path),
        room=memory.page_cache_room(),
    )
    return Plan(shelf, engine, snapshot, replicas, options)


def spec_of(plan: Plan, options: ServeOptions | None = None) -> ServerSpec:
    """The engine's process, by the plan's options or others."""
    return plan.engine.spec(plan.snapshot, plan.snapshot.path or "", options or plan.options)


def environment_of(plan: Plan, spec: ServerSpec) -> dict[str, str]:
    """The environment of an engine's process."""
    own = plan.options.python.path == sys.executable
    return replica_environment(os.environ, spec.env, own=own)


def replica_job(plan: Plan, number: int, log: str, caches: Mapping[str, str]) -> Job:
    """A process that serves: the front itself if it is the only one, behind a router otherwise.

    Args:
        plan: What is served.
        number: Which replica it is.
        log: Where its output goes.
        caches: Variables that say where its caches are.
    """
    single = plan.replicas == 1
    options = plan.options
    if not single:
        options = dataclasses.replace(options, host=LOOPBACK, port=free_port(LOOPBACK))

    def argv(port: int) -> tuple[str, ...]:
        moved = spec_of(plan, dataclasses.replace(options, port=port))
        if moved.fork is None:
            return moved.argv
        told = start_spec(moved, options.host, plan.snapshot.path or "")
        return below("start", told, log.removesuffix(".log") + ".start.json", moved.argv)

    spec = spec_of(plan, options)
    env = environment_of(plan, spec) | dict(caches)
    if spec.gpus:
        env |= gpus.share(gpus.visible(env), number, plan.replicas)
    return Job(
        label=f"replica {number} of {plan.snapshot.repo_id}",
        argv=argv,
        env=env,
        host=options.host,
        port=options.port,
        movable=not single,
        health_path=spec.health_path,
        log=log,
        ready_within=options.ready_within,
    )


def router_job(plan: Plan, ports: Sequence[int], log: str) -> Job:
    """The process that stands before several replicas."""
    options = plan.options

    def argv(port: int) -> tuple[str, ...]:
        return router_argv(
            options.host,
            port,
            [url_of(LOOPBACK, of_replica) for of_replica in ports],
            metrics_port=free_port(LOOPBACK),
            parallel=options.parallel or plan.engine.PARALLEL,
            ready_within=options.ready_within,
        )

    return Job(
        label=f"the router of {plan.snapshot.repo_id}",
        argv=argv,
        env=replica_environment(os.environ),
        host=options.host,
        port=options.port,
        movable=False,
        health_path="/health",
        log=log,
        ready_within=options.ready_within,
    )


def log_folder(snapshot: Snapshot, of: str) -> str:
    """Where the logs of a server go, by its port, or of whatever else runs it."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "modelshelf", f"{snapshot.repo_id.split('/')[1]}-{of}")


def fresh_log(folder: str, name: str) -> str:
    """The path of a log; what an earlier run wrote there is kept beside it."""
    path = os.path.join(folder, f"{name}.log")
    with explain_os_errors(path):
        os.makedirs(folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{path}.1")
    return path


def _cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""What a server's processes are: their command lines, environments and places."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence

from modelshelf.core.files import explained
from modelshelf.core.model import ModelRef, Snapshot
from modelshelf.core.shelf import Shelf
from modelshelf.engines import Engine, ServeOptions
from modelshelf.targets.local.environment import replica_environment
from modelshelf.targets.local.interpreters import interpreter_for
from modelshelf.targets.local.kept import Job
from modelshelf.targets.local.needs import require
from modelshelf.targets.local.ports import free_port, url_of
from modelshelf.targets.local.router import router_argv
from modelshelf.targets.local.starting import below, caches, primed, start_spec

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
    options = dataclasses.replace(options, python=python, threads=threads)
    return Plan(shelf, engine, snapshot, replicas, options)


def caches_beside(log: str) -> str:
    """The folder that a replica has its compiled caches in, if there are any on the shelf."""
    return log.removesuffix(".log") + ".caches"


def replica_job(plan: Plan, number: int, log: str) -> Job:
    """A process that serves: the front itself if it is the only one, behind a router otherwise."""
    single = plan.replicas == 1
    options = plan.options
    if not single:
        options = dataclasses.replace(options, host=LOOPBACK, port=free_port(LOOPBACK))
    path = plan.snapshot.path or ""

    def argv(port: int) -> tuple[str, ...]:
        moved = plan.engine.spec(plan.snapshot, path, dataclasses.replace(options, port=port))
        if moved.fork is None:
            return moved.argv
        unpack = primed(plan.shelf.path, plan.snapshot)
        ours = caches(plan.shelf.path, plan.snapshot, caches_beside(log)) if unpack else None
        told = start_spec(moved, options.host, path, ours)
        return below("start", told, log.removesuffix(".log") + ".start.json", moved.argv)

    spec = plan.engine.spec(plan.snapshot, path, options)
    return Job(
        label=f"replica {number} of {plan.snapshot.repo_id}",
        argv=argv,
        env=replica_environment(os.environ, spec.env, own=options.python.path == sys.executable),
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
    with explained(path):
        os.makedirs(folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{path}.1")
    return path


def _cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

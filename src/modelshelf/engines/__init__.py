"""Engines: each a pure function from a snapshot and options to what serves it.

That is a process on this machine (`spec`), or a container in a pod (`pods`, `images`, `budget`).
`llamacpp` says how llama.cpp is started in either place, and `llamacpp_server` is the process that
it is here. `vllm` says how vLLM is started in a pod, and `vllm_local` how it is here. `custom` is
for pods alone.
"""

from __future__ import annotations

from modelshelf.engines import custom, llamacpp, vllm, vllm_local
from modelshelf.engines.pods import PodEngine
from modelshelf.engines.spec import Engine, Interpreter, ServeOptions, ServerSpec
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
POD_ENGINES: dict[str, PodEngine] = {"custom": custom, "llamacpp": llamacpp, "vllm": vllm}


def engine_named(name: str) -> Engine:
    """The engine of a name.

    Raises:
        UsageError: There is none.
    """
    if name not in ENGINES:
        raise UsageError(
            f"there is no engine {name!r} here", hint=f"engines: {', '.join(sorted(ENGINES))}"
        )
    return ENGINES[name]

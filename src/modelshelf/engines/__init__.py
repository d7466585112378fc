"""Engines: each a pure function from a snapshot and options to the process that serves it.

`spec` holds the values, `llamacpp` says how llama.cpp is started, and `llamacpp_server` is the
process it names.
"""

from __future__ import annotations

from modelshelf.core.errors import UsageError
from modelshelf.engines import llamacpp
from modelshelf.engines.spec import Engine, ServeOptions, ServerSpec

__all__ = ["ENGINES", "Engine", "ServeOptions", "ServerSpec", "engine_named"]

ENGINES: dict[str, Engine] = {"llamacpp": llamacpp}


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

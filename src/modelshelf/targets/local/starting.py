"""Below `start`: the process between us and an engine that takes long to start.

It reads the model ahead meanwhile, and it ends all that the engine started.
"""

from __future__ import annotations

import sys
from typing import Any

from modelshelf.engines import ServerSpec
from modelshelf.shelf.files import explain_os_errors, write_json
from modelshelf.start import __main__ as start_main
from modelshelf.targets.local.ports import url_of


def start_spec(spec: ServerSpec, host: str, path: str) -> dict[str, Any]:
    """What `start` is told, as `start.__main__` documents it.

    Args:
        spec: The engine's process.
        host: Where it listens.
        path: The folder of the model.
    """
    return {
        "health": url_of(host, spec.port) + spec.health_path,
        "prefetch": {"paths": [path] if spec.prefetch else []},
        "fast": {"fork": spec.fork},
    }


def below(verb: str, told: dict[str, Any], file: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command line of a verb of `start` that runs an engine; its spec is written to a file.

    Raises:
        ShelfError: The file cannot be written.
    """
    with explain_os_errors(file):
        write_json(file, told)
    return (sys.executable, "-I", "-S", str(start_main.__file__), verb, file, "--", *argv)

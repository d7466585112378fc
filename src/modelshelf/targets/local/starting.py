"""Below `start`: the process between us and an engine that takes long to start.

It reads the model ahead and unpacks caches meanwhile, and it ends all that the engine started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from modelshelf.core import __main__ as core
from modelshelf.core import layout
from modelshelf.core.files import explained, write_json
from modelshelf.core.model import Snapshot
from modelshelf.engines import ServerSpec
from modelshelf.targets.local.ports import url_of


def start_spec(
    spec: ServerSpec, host: str, path: str, caches: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What `start` is told, as `core.__main__` documents it.

    Args:
        spec: The engine's process.
        host: Where it listens.
        path: The folder of the model.
        caches: Where compiled caches lie, what for, and where they belong; None for no such.
    """
    told: dict[str, Any] = {
        "health": url_of(host, spec.port) + spec.health_path,
        "warm": {"paths": [path]},
        "fast": {"fork": spec.fork},
    }
    return told | ({"derived": caches} if caches else {})


def primed(shelf: str, snapshot: Snapshot) -> bool:
    """Whether anything was compiled for a snapshot once and lies on its shelf."""
    return os.path.isdir(os.path.join(shelf, layout.derived_parent(snapshot.repo_id, snapshot.id)))


def caches(shelf: str, snapshot: Snapshot, into: str) -> dict[str, str]:
    """Where compiled caches of a snapshot lie on its shelf, and where a start is to have them."""
    folder = os.path.join(shelf, "derived")
    return {"folder": folder, "snapshot": f"{snapshot.repo_id}@{snapshot.id}", "into": into}


def below(verb: str, told: dict[str, Any], file: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command line of one of core's verbs that runs an engine; its spec is written to a file.

    Raises:
        ShelfError: The file cannot be written.
    """
    with explained(file):
        write_json(file, told)
    return (sys.executable, "-I", "-S", str(core.__file__), verb, file, "--", *argv)

"""The command line of `modelshelf.start`, which runs an engine that takes long to start.

It is a process between this one and the engine. It reads the model into the page cache while the
engine imports, and it ends every process that the engine started.
"""

from __future__ import annotations

import sys
from typing import Any

from modelshelf.engines import ServerSpec
from modelshelf.shelf.files import explain_os_errors, write_json
from modelshelf.start import __main__ as start_main
from modelshelf.targets.local.ports import base_url


def start_settings(spec: ServerSpec, host: str, model_folder: str) -> dict[str, Any]:
    """The JSON with which `start` runs an engine; `start.__main__` documents it.

    Args:
        spec: The engine's process.
        host: The address that the engine listens on.
        model_folder: The folder of the model.
    """
    return {
        "health": base_url(host, spec.port) + spec.health_path,
        "prefetch": {"paths": [model_folder] if spec.prefetch else []},
        "fast": {"fork": spec.fork},
    }


def start_command_line(
    verb: str, settings: dict[str, Any], settings_file: str, engine: tuple[str, ...]
) -> tuple[str, ...]:
    """Write the settings of a verb of `start` to a file, and return the verb's command line.

    Args:
        verb: `start` or `prime`.
        settings: The verb's JSON.
        settings_file: The file to write it to.
        engine: The engine's own command line.

    Raises:
        ShelfError: The file cannot be written.
    """
    with explain_os_errors(settings_file):
        write_json(settings_file, settings)
    program = (sys.executable, "-I", "-S", str(start_main.__file__))
    return (*program, verb, settings_file, "--", *engine)

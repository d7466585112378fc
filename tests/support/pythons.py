"""The Python interpreters of this machine on which our packages must run."""

from __future__ import annotations

import dataclasses
import functools
import glob
import os
import subprocess
import sys

_OLDEST = (3, 11)
_WHERE = (
    "~/.pyenv/versions/*/bin/python3",
    "~/.local/share/uv/python/*/bin/python3",
    "/usr/bin/python3*",
    "/usr/local/bin/python3*",
    "/opt/python/*/bin/python3",
)
_ASK = "import sys; print(sys.executable, *sys.version_info[:3], sep='\\n')"


@dataclasses.dataclass(frozen=True, slots=True)
class Python:
    """An interpreter with its real path and its version."""

    path: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        number = ".".join(str(part) for part in self.version)
        return f"{number}-{os.path.dirname(self.path).strip('/').replace('/', '.')}"


@functools.cache
def pythons() -> tuple[Python, ...]:
    """Find every interpreter from 3.11 on, each once, the oldest first."""
    candidates = [sys.executable]
    for pattern in _WHERE:
        candidates += glob.glob(os.path.expanduser(pattern))
    for folder in os.get_exec_path():
        candidates += glob.glob(os.path.join(folder, "python3.[0-9]*"))
    real = {os.path.realpath(path) for path in candidates if os.access(path, os.X_OK)}
    found = {python for path in real if (python := _ask(path)) is not None}
    return tuple(sorted(found, key=lambda python: (python.version, python.path)))


def _ask(path: str) -> Python | None:
    """Ask a program for its version; None if it is no Python or too old."""
    if os.path.basename(path).endswith("config"):
        return None
    command = [path, "-I", "-S", "-c", _ASK]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # A shim of pyenv for a version that is not chosen ends here.
    if answer.returncode != 0:
        return None
    executable, *version = answer.stdout.split("\n")[:4]
    numbers = tuple(int(part) for part in version)
    return Python(os.path.realpath(executable), numbers) if numbers >= _OLDEST else None

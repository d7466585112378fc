"""Runs tests where file modes bind. Root ignores file modes, since it has CAP_DAC_OVERRIDE.

Tests that run as root therefore run again as root without capabilities. Another user would be the
obvious alternative, but it could not read the interpreter, its packages or this checkout if they
are in root's home. Root without capabilities owns those files, and the kernel applies the modes of
all other files to it as to any user (see capabilities(7)). An empty bounding set keeps the process
from getting its capabilities back at exec.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest


def modes_bind() -> bool:
    """Whether a folder without write permission keeps this process from writing into it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        try:
            os.mkdir(os.path.join(folder, "x"))
        except PermissionError:
            return True
        finally:
            os.chmod(folder, 0o755)
    return False


needs_modes = pytest.mark.skipif(
    not modes_bind(), reason="root may write anywhere: test_unprivileged.py runs this without that"
)


def where_modes_bind(argv: list[str]) -> list[str]:
    """Make a command line that runs another one where modes bind: for root, without capabilities.

    Raises:
        RuntimeError: The user is root, and setpriv (util-linux) is missing.
    """
    if modes_bind():
        return argv
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise RuntimeError("setpriv is missing: install util-linux")
    drop = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    return [setpriv, *drop, *argv]

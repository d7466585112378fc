"""Running tests where file modes bind: for root they do not, since it has CAP_DAC_OVERRIDE.

A second user would not do, because it could not read the interpreter, its packages or this
checkout where those lie in root's home. Root without its capabilities can: it owns them, and for
everything else it is an ordinary user to whom the kernel applies modes as to anyone (see
capabilities(7)). That a process keeps none of them across exec is what an empty bounding set is
for.
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
    """A command line that runs another one where modes bind: without capabilities, if we have any.

    Raises:
        RuntimeError: This is root, and setpriv (util-linux) is missing.
    """
    if modes_bind():
        return argv
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise RuntimeError("setpriv is missing: install util-linux")
    drop = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    return [setpriv, *drop, *argv]

"""Scratch folders in memory, gone at the end however it comes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator

TMPFS = "/dev/shm"


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """A folder on the tmpfs; Ctrl-C, SIGTERM and SIGHUP remove it too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="modelshelf-bench-", dir=TMPFS)
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: str) -> None:
    """Delete a folder, the read-only ones of a shelf included."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            os.chmod(os.path.join(parent, name), 0o700)
    shutil.rmtree(folder, ignore_errors=True)

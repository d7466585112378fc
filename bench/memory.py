"""Scratch folders in memory that are removed at the end, also after a signal."""

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
def scratch(need: int) -> Iterator[str]:
    """Make a folder on the tmpfs for `need` bytes; Ctrl-C, SIGTERM and SIGHUP remove it, too.

    If there is too little memory, the program ends and says how much it needs.
    """
    room = min(shutil.disk_usage(TMPFS).free, _available())
    # A GiB for the programs themselves.
    if room < need + 2**30:
        sys.exit(f"{need / 1e9:.1f} GB in {TMPFS} and 1 GB more are needed, {room / 1e9:.1f} free")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix=f"modelshelf-bench-{os.getpid()}-", dir=TMPFS)
    try:
        yield folder
    finally:
        # A second Ctrl-C during the removal would leave gigabytes in memory.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        remove(folder)


def _available() -> int:
    """Bytes of memory that can be used without swapping."""
    with open("/proc/meminfo", encoding="utf-8") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["MemAvailable"].split()[0]) * 1024


def remove(folder: str) -> None:
    """Delete a folder, the read-only ones of a shelf included."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            os.chmod(os.path.join(parent, name), 0o700)
    shutil.rmtree(folder, ignore_errors=True)

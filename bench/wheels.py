"""Python packages for pods that have no route to a package index.

`python -m bench.wheels` downloads them once for all runs, where there is a network. A benchmark
then serves them to its pods by HTTP.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.metadata
import os
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lab.parts import PartError, part, register, run

# Versions of Debian's Pythons, one of which is in the pods' image.
_PYTHONS = ("3.11", "3.12", "3.13")
_TAGS = ("manylinux2014", "manylinux_2_28")


@register("bench-wheels", command="python -m bench.wheels")
def packages() -> Path:
    """Make a folder with `wheels`, which huggingface_hub needs, and with an importable `pip`.

    Raises:
        lab.parts.PartError: The packages cannot be downloaded here.
    """
    wanted = f"huggingface_hub=={version()}"
    tags = [f"--platform={tag}_{platform.machine()}" for tag in _TAGS]

    def build(place: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        fetch = [*pip, "download", "--only-binary=:all:", *tags, "-d", f"{place}/wheels", wanted]
        for python in _PYTHONS:
            run([*fetch, f"--python-version={python}"])
        run([*pip, "install", "--no-deps", "--target", place / "pip", "pip"])

    return part("bench-wheels", (wanted, *_PYTHONS, *tags), build)


def version() -> str:
    """The version of huggingface_hub that all ways use: the installed one."""
    return importlib.metadata.version("huggingface_hub")


class Index(http.server.ThreadingHTTPServer):
    """A server of a folder of wheels, for pip's `--find-links`.

    Attributes:
        sent: Bytes of wheels and listings sent so far.
    """

    daemon_threads = True

    def __init__(self, address: str, folder: Path) -> None:
        handler = functools.partial(_Counted, directory=os.fspath(folder))
        super().__init__((address, 0), handler)
        self.sent = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/"

    def count(self, size: int) -> None:
        """Count bytes that were sent to a client."""
        with self._lock:
            self.sent += size


class _Counted(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Index

    def copyfile(self, source: Any, outputfile: BinaryIO) -> None:  # type: ignore[override] # noqa: ANN401
        """Send a body in one piece, since wheels are small."""
        body = source.read()
        self.server.count(len(body))
        outputfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are counted, not printed."""


@contextlib.contextmanager
def served(address: str, folder: Path) -> Iterator[Index]:
    """Serve a folder of wheels on an address that pods reach."""
    with Index(address, folder) as index:
        thread = threading.Thread(target=index.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield index
        finally:
            index.shutdown()
            thread.join()


if __name__ == "__main__":
    try:
        packages()
    except PartError as error:
        sys.exit(str(error))

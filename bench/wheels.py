"""Python packages for pods that have no route to a package index: fetched before, served by HTTP.

`python -m bench.wheels` fetches them, where there is a network, and once for all runs.
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

# Of the Pythons that Debian's releases have; one of them is in the image that pods use.
_PYTHONS = ("3.11", "3.12", "3.13")
_TAGS = ("manylinux2014", "manylinux_2_28")


@register("bench-wheels", command="python -m bench.wheels")
def packages() -> Path:
    """A folder with `wheels`, all that huggingface_hub needs, and `pip`, which can be imported.

    Raises:
        lab.parts.PartError: They cannot be fetched here.
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
    """Which huggingface_hub all ways use: the one that is installed here."""
    return importlib.metadata.version("huggingface_hub")


class Index(http.server.ThreadingHTTPServer):
    """A folder of wheels as pip's `--find-links` reads it.

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
        """Its base URL."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/"

    def count(self, size: int) -> None:
        """Count bytes that a client gets."""
        with self._lock:
            self.sent += size


class _Counted(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Index

    def copyfile(self, source: Any, outputfile: BinaryIO) -> None:  # type: ignore[override] # noqa: ANN401
        """Send a body, whole: wheels are small."""
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

"""A folder as a share far away: each request takes a delay, all bytes one line of a given rate.

`python -m bench.share SOURCE MOUNT RATE DELAY` mounts it read-only by FUSE, as root, and serves it
until its standard input ends; then it says what was asked of it, as JSON. The filesystem is spoken
here, on /dev/fuse, so nothing needs to be installed.

Like a share by NFS under a present Linux: read-ahead of 128 KiB a file, requests of up to 1 MiB,
many in flight. Unlike one, nothing is ever lost, and no other client is there.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import errno
import json
import mmap
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import fuse
from bench.timing import FailedError, python

_FILESYSTEM_TYPE = b"fuse.share"
_READ_ONLY, _NO_SUID, _NO_DEVICES = 1, 2, 4
_DETACH = 2
_BUFFER_BYTES = 2**21  # more than the largest request
_WAIT = 10.0  # seconds for the share to come up, or to go


def why_not() -> str:
    """Say why a share cannot be emulated here, or return an empty string."""
    if os.geteuid() != 0:
        return "mounting the emulated share needs root"
    return "" if os.path.exists("/dev/fuse") else "the emulated share needs /dev/fuse"


class Line:
    """A network line that delays each reply and sends the bytes of replies one after another.

    Args:
        rate: Bytes per second.
        delay: Seconds from a request to the first byte of its reply.
    """

    def __init__(self, rate: float, delay: float) -> None:
        self._rate, self._delay = rate, delay
        self._free = 0.0

    def due(self, asked: float, size: int) -> float:
        """When the last of `size` bytes arrives that were requested at time `asked`."""
        self._free = max(asked + self._delay, self._free) + size / self._rate
        return self._free


class Share:
    """A server of a mounted folder, which sends replies in the order of their requests."""

    def __init__(self, device: int, source: Path, line: Line) -> None:
        self._device, self._line = device, line
        paths = sorted(path for path in source.iterdir() if path.is_file())
        self._folder = fuse.Folder(tuple((path.name, path.stat().st_size) for path in paths))
        self._maps = [_map(path) for path in paths]
        self._replies: collections.deque[tuple[float, fuse.Request]] = collections.deque()
        self._asked = threading.Condition()
        self.requests = self.bytes = 0

    def serve(self) -> None:
        """Answer until the folder is unmounted."""
        threading.Thread(target=self._reply, daemon=True).start()
        while True:
            try:
                request = fuse.parse(os.read(self._device, _BUFFER_BYTES))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                continue
            if request.operation in fuse.UNANSWERED:
                continue
            size = request.span()[1] if request.operation == fuse.READ else 0
            with self._asked:
                self._replies.append((self._line.due(time.monotonic(), size), request))
                self._asked.notify()

    def _reply(self) -> None:
        while True:
            with self._asked:
                while not self._replies:
                    self._asked.wait()
                due, request = self._replies.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            # If the request was given up or the folder was unmounted, nothing waits for this reply.
            with contextlib.suppress(OSError):
                self._send(request)

    def _send(self, request: fuse.Request) -> None:
        if request.operation == fuse.READ:
            offset, size = request.span()
            data = self._maps[request.node - fuse.ROOT - 1][offset : offset + size]
            self.requests += 1
            self.bytes += len(data)
            os.writev(self._device, [fuse.head(request.number, len(data)), data])
            return
        answer = self._folder.answer(request)
        body, error = (b"", answer) if isinstance(answer, int) else (answer, 0)
        os.writev(self._device, [fuse.head(request.number, len(body), error), body])


def _map(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


@contextlib.contextmanager
def mounted(source: Path, rate: float, delay: float) -> Iterator[tuple[Path, dict[str, int]]]:
    """Mount the folder as a share, with nothing of it in the page cache.

    Yields:
        Where it is mounted, and a dict that holds `requests` and `bytes` once it is unmounted.
    """
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="modelshelf-share-") as mount:
        argv = python("-m", "bench.share", str(source), mount, str(rate), str(delay))
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            if not child.stdout.readline():
                raise FailedError("the emulated share did not come up")
            yield Path(mount), counts
            child.stdin.close()
            counts.update(json.loads(child.stdout.readline() or "{}"))
        finally:
            _unmount(mount)
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()


def _unmount(mount: str) -> bool:
    return bool(ctypes.CDLL(None).umount2(mount.encode(), _DETACH) == 0)


def _mount(mount: str) -> int:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    flags = _READ_ONLY | _NO_SUID | _NO_DEVICES
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(_FILESYSTEM_TYPE, mount.encode(), _FILESYSTEM_TYPE, flags, options.encode()):
        raise OSError(ctypes.get_errno(), "the emulated share cannot be mounted", mount)
    return device


def main(argv: Sequence[str]) -> None:
    """Mount the share, serve it until stdin ends, unmount it, and print its counts."""
    source, mount, rate, delay = argv
    # A real network does not wait for its client's processor.
    with contextlib.suppress(OSError):
        os.nice(-20)
    share = Share(_mount(mount), Path(source), Line(float(rate), float(delay)))
    server = threading.Thread(target=share.serve, daemon=True)
    server.start()
    print("mounted", flush=True)
    try:
        sys.stdin.read()
    finally:
        _unmount(mount)
    print(json.dumps({"requests": share.requests, "bytes": share.bytes}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

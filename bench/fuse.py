"""What the kernel and a read-only filesystem in userland say to each other. Pure.

The protocol: https://man7.org/linux/man-pages/man4/fuse.4.html, and `linux/fuse.h`.
"""

from __future__ import annotations

import dataclasses
import errno
import stat
import struct

LOOKUP, READ, READDIR = 1, 15, 28
_OPEN, _RELEASE, _FLUSH, _OPENDIR, _RELEASEDIR, _DESTROY = 14, 18, 25, 27, 29, 38
UNANSWERED = frozenset({2, 36, 42})  # what was forgotten or given up
ROOT = 1
# Replies to read-ahead may overtake each other; a request holds up to 256 pages.
_ASYNC_READ, _MAX_PAGES = 1 << 0, 1 << 22
_PAGES = 256
_IN_FLIGHT = 1024  # requests of read-ahead; the kernel's 12 would be the bottleneck, NFS has none
_KEEP_CACHE = 1 << 1  # a second open finds what the first has read
_OPENED = struct.pack("<QII", 0, _KEEP_CACHE, 0)
_SAME: dict[int, bytes] = {
    _OPEN: _OPENED,
    _OPENDIR: _OPENED,
    **dict.fromkeys((_RELEASE, _FLUSH, _RELEASEDIR, _DESTROY), b""),
}
_FOREVER = 3600  # seconds that the kernel may remember names and sizes
_HEADER = struct.Struct("<IIQQIIIHH")
_REPLY = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_READ_IN = struct.Struct("<QQI")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What the kernel asks.

    Attributes:
        operation: What is to be done.
        number: Comes back with the reply.
        node: Of which file; `ROOT` for the folder.
        body: What else the operation needs.
    """

    operation: int
    number: int
    node: int
    body: bytes

    def name(self) -> str:
        """The name that is looked up."""
        return self.body.split(b"\0", 1)[0].decode()

    def span(self) -> tuple[int, int]:
        """Offset and size of what is read."""
        _, offset, size = _READ_IN.unpack_from(self.body)
        return offset, size


def parse(data: bytes) -> Request:
    """A request as the kernel wrote it."""
    _, operation, number, node, *_ = _HEADER.unpack_from(data)
    return Request(operation, number, node, data[_HEADER.size :])


def head(number: int, size: int, error: int = 0) -> bytes:
    """What goes before `size` bytes of a reply."""
    return _REPLY.pack(_REPLY.size + size, -error, number)


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """One folder of files, nothing below: what a model's snapshot is.

    Attributes:
        files: Name and size of each; the first is node 2.
    """

    files: tuple[tuple[str, int], ...]

    def answer(self, request: Request) -> bytes | int:
        """What to reply to anything but a read: bytes, or the number of an error."""
        match request.operation:
            case 1:  # LOOKUP
                return self._found(request.name())
            case 3:  # GETATTR
                return struct.pack("<Q2I", _FOREVER, 0, 0) + self._about(request.node)
            case 26:  # INIT
                return _welcome(request.body)
            case 28:  # READDIR
                return self._names(*request.span())
            case operation:
                return _SAME.get(operation, errno.ENOSYS)

    def _found(self, name: str) -> bytes | int:
        for node, (known, _) in enumerate(self.files, ROOT + 1):
            if known == name:
                times = (_FOREVER, _FOREVER, 0, 0)
                return struct.pack("<4Q2I", node, 0, *times) + self._about(node)
        return errno.ENOENT

    def _about(self, node: int) -> bytes:
        size = 0 if node == ROOT else self.files[node - ROOT - 1][1]
        mode = stat.S_IFDIR | 0o555 if node == ROOT else stat.S_IFREG | 0o444
        times = (0,) * 6
        return _ATTRIBUTES.pack(node, size, -(-size // 512), *times, mode, 1, 0, 0, 0, 4096, 0)

    def _names(self, offset: int, size: int) -> bytes:
        rows = [(ROOT, stat.S_IFDIR, b"."), (ROOT, stat.S_IFDIR, b"..")]
        for n, (name, _) in enumerate(self.files):
            rows.append((ROOT + 1 + n, stat.S_IFREG, name.encode()))
        listed = b""
        for at, (node, kind, called) in enumerate(rows[offset:], offset + 1):
            row = struct.pack("<QQII", node, at, len(called), kind >> 12) + called
            row += b"\0" * (-len(row) % 8)
            if len(listed) + len(row) > size:
                break
            listed += row
        return listed


def _welcome(body: bytes) -> bytes:
    major, minor, read_ahead, flags = struct.unpack_from("<4I", body)
    agreed = flags & (_ASYNC_READ | _MAX_PAGES)
    limits = struct.pack("<HHIIHHII", _IN_FLIGHT, _IN_FLIGHT, 1 << 20, 1, _PAGES, 0, 0, 0)
    return struct.pack("<4I", major, minor, read_ahead, agreed) + limits + b"\0" * 24

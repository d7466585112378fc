"""The messages between the kernel and a read-only filesystem in userland (FUSE). Pure.

The protocol: https://man7.org/linux/man-pages/man4/fuse.4.html, and `linux/fuse.h`.
"""

from __future__ import annotations

import dataclasses
import errno
import stat
import struct

LOOKUP, READ, READDIR = 1, 15, 28
_OPEN, _RELEASE, _FLUSH, _OPENDIR, _RELEASEDIR, _DESTROY = 14, 18, 25, 27, 29, 38
UNANSWERED = frozenset({2, 36, 42})  # FORGET, INTERRUPT, BATCH_FORGET: the kernel expects no reply
ROOT = 1
# Replies to read-ahead may come in another order; a request reads up to 256 pages.
_ASYNC_READ, _MAX_PAGES = 1 << 0, 1 << 22
_PAGES = 256
# Requests of read-ahead at once. The kernel's 12 would be a bottleneck that NFS does not have.
_IN_FLIGHT = 1024
_KEEP_CACHE = 1 << 1  # a second open uses the pages that the first has read
_OPENED = struct.pack("<QII", 0, _KEEP_CACHE, 0)
_CONSTANT_REPLIES: dict[int, bytes] = {
    _OPEN: _OPENED,
    _OPENDIR: _OPENED,
    **dict.fromkeys((_RELEASE, _FLUSH, _RELEASEDIR, _DESTROY), b""),
}
_CACHE_SECONDS = 3600  # how long the kernel may remember names and sizes
_HEADER = struct.Struct("<IIQQIIIHH")
_REPLY = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_READ_IN = struct.Struct("<QQI")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request of the kernel.

    Attributes:
        operation: The number of the operation.
        number: The request's number, which its reply repeats.
        node: The file's node; `ROOT` for the folder.
        body: The operation's arguments.
    """

    operation: int
    number: int
    node: int
    body: bytes

    def name(self) -> str:
        """The name to look up."""
        return self.body.split(b"\0", 1)[0].decode()

    def span(self) -> tuple[int, int]:
        """Offset and size of the bytes to read."""
        _, offset, size = _READ_IN.unpack_from(self.body)
        return offset, size


def parse(data: bytes) -> Request:
    """Parse a request that the kernel wrote."""
    _, operation, number, node, *_ = _HEADER.unpack_from(data)
    return Request(operation, number, node, data[_HEADER.size :])


def head(number: int, size: int, error: int = 0) -> bytes:
    """The header of a reply of `size` bytes."""
    return _REPLY.pack(_REPLY.size + size, -error, number)


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """One folder of files without subfolders.

    Attributes:
        files: Name and size of each; the first is node 2.
    """

    files: tuple[tuple[str, int], ...]

    def answer(self, request: Request) -> bytes | int:
        """The reply to any operation but a read: bytes, or the number of an error."""
        match request.operation:
            case 1:  # LOOKUP
                return self._lookup(request.name())
            case 3:  # GETATTR
                return struct.pack("<Q2I", _CACHE_SECONDS, 0, 0) + self._attributes(request.node)
            case 26:  # INIT
                return _init_reply(request.body)
            case 28:  # READDIR
                return self._rows(*request.span())
            case operation:
                return _CONSTANT_REPLIES.get(operation, errno.ENOSYS)

    def _lookup(self, name: str) -> bytes | int:
        for node, (known, _) in enumerate(self.files, ROOT + 1):
            if known == name:
                times = (_CACHE_SECONDS, _CACHE_SECONDS, 0, 0)
                return struct.pack("<4Q2I", node, 0, *times) + self._attributes(node)
        return errno.ENOENT

    def _attributes(self, node: int) -> bytes:
        size = 0 if node == ROOT else self.files[node - ROOT - 1][1]
        mode = stat.S_IFDIR | 0o555 if node == ROOT else stat.S_IFREG | 0o444
        times = (0,) * 6
        return _ATTRIBUTES.pack(node, size, -(-size // 512), *times, mode, 1, 0, 0, 0, 4096, 0)

    def _rows(self, offset: int, size: int) -> bytes:
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


def _init_reply(body: bytes) -> bytes:
    major, minor, read_ahead, flags = struct.unpack_from("<4I", body)
    agreed = flags & (_ASYNC_READ | _MAX_PAGES)
    limits = struct.pack("<HHIIHHII", _IN_FLIGHT, _IN_FLIGHT, 1 << 20, 1, _PAGES, 0, 0, 0)
    return struct.pack("<4I", major, minor, read_ahead, agreed) + limits + b"\0" * 24

"""Reading a body that was compressed by gzip, although `Accept-Encoding: identity` was sent.

Some proxies and mirrors compress every text. The checksums are those of the content, so the content
is what must be read.
"""

from __future__ import annotations

import zlib
from typing import Protocol

_BLOCK_BYTES = 64 << 10
_GZIP_FORMAT = 16 + zlib.MAX_WBITS  # for zlib.decompressobj


class ByteSource(Protocol):
    """What a body is read from, as `http.client.HTTPResponse` has it."""

    def read(self, amt: int | None = None, /) -> bytes:
        """Read at most so many bytes; empty at the end."""


class GunzipReader:
    """Decompresses a body while it is read, and never holds more than two blocks of it.

    Args:
        source: The compressed body.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._inflater = zlib.decompressobj(_GZIP_FORMAT)
        self._has_more_output = False

    def readinto(self, room: memoryview | bytearray, /) -> int:
        """Fill a buffer with content.

        Returns:
            How many bytes were written to it; 0 at the end, also if the body ended early.

        Raises:
            zlib.error: The body is not gzip.
        """
        while not self._inflater.eof:
            block = self._inflater.unconsumed_tail
            if not block and not self._has_more_output:
                block = self._source.read(_BLOCK_BYTES)
                if not block:
                    return 0
            content = self._inflater.decompress(block, len(room))
            self._has_more_output = len(content) == len(room)
            if content:
                room[: len(content)] = content
                return len(content)
        return 0

"""One file that is being fetched by several connections, and what each of them reads.

The connections receive different ranges at the same time, but a file is hashed and written in
order. One connection reads the range that the file needs next. It writes that in small pieces,
while they are still in the processor's second-level cache. The other connections fill their buffers
and wait for their turn.
"""

from __future__ import annotations

import http.client
import threading
import zlib
from collections.abc import Callable
from typing import Protocol

from modelshelf.shelf.values import File
from modelshelf.transfer.connection import HttpReply, HttpTarget
from modelshelf.transfer.gunzip import GunzipReader
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.ranges import Range, RangeQueue
from modelshelf.transfer.replies import (
    BodySlice,
    RetryableError,
    refusal_error,
    slice_partial,
    slice_whole,
    too_long_error,
)

_SMALL_PIECE_BYTES = 16 << 10
_LAG_PER_CONNECTION = 0.05  # of a file: how far it must lag to get one more connection
# File hosts answer with one of these when a signed URL has expired.
_EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})


class FileSink(Protocol):
    """Takes the bytes of one file, in order.

    Attributes:
        file: What the bytes should be.
        done: Bytes that are written.
    """

    file: File
    done: int

    def append(self, block: memoryview) -> None:
        """Hash and write the next bytes.

        Raises:
            ShelfError: They could not be written.
        """

    def finish(self) -> bool:
        """Verify the file after its last byte. If it is wrong, empty the sink for one more fetch.

        Returns:
            Whether the bytes are right.

        Raises:
            IntegrityError: They were wrong before, too.
            ShelfError: They could not be synced.
        """


class FileTransfer:
    """The state of one file, which the connections that fetch it share.

    Args:
        sink: Takes the bytes.
        source_target: The source's own URL of the file.
        chunk: Bytes of one range.

    Attributes:
        resolved_target: Where the source's redirects lead; None while that is not known.
        resolving: Held by the connection that asks the source.
        queue: The ranges that are to be requested.
        finished: Whether the file is whole and verified.
    """

    def __init__(self, sink: FileSink, source_target: HttpTarget, chunk: int) -> None:
        self.sink = sink
        self.source_target = source_target
        self.resolved_target: HttpTarget | None = None
        self.resolving = threading.Lock()
        self.finished = False
        self._chunk = chunk
        self.restart()

    def restart(self) -> None:
        """Begin behind the bytes that the sink has."""
        self.queue = RangeQueue(self.sink.file.size, self.sink.done, self._chunk)
        self._early_buffers: dict[int, tuple[bytearray, int]] = {}
        self._lock = threading.Lock()
        self._completed = False
        self.resolved_target = None

    @property
    def has_started(self) -> bool:
        """Whether some of the file is there or on its way."""
        return self.sink.done > 0 or self.queue.active > 0

    def rank(self) -> float:
        """The order in which files get one more connection: the lowest rank first.

        A file without a connection comes before the others, unless another file lags far behind.
        So all files end at about the same time, and the processor has something to hash until then.
        """
        missing_share = 1 - self.sink.done / self.sink.file.size
        return self.queue.active * _LAG_PER_CONNECTION - missing_share

    def keep_early(self, position: int, buffer: bytearray, length: int) -> bool:
        """Keep a buffer that arrived before its turn; False if its turn is now."""
        with self._lock:
            if self.sink.done == position:
                return False
            self._early_buffers[position] = (buffer, length)
            return True

    def next_early(self) -> tuple[bytearray, int] | None:
        """Take the early buffer, and its length, whose turn is now; None if there is none."""
        with self._lock:
            return self._early_buffers.pop(self.sink.done, None)

    def drop_early(self) -> list[bytearray]:
        """Forget what arrived early, and return its buffers."""
        with self._lock:
            buffers = [buffer for buffer, _ in self._early_buffers.values()]
            self._early_buffers.clear()
            return buffers

    def claim_completion(self) -> bool:
        """Whether all bytes are written. Of all callers, only one gets True."""
        with self._lock:
            completed = not self._completed and self.sink.done == self.sink.file.size
            self._completed = self._completed or completed
            return completed

    def check_reply(self, reply: HttpReply, requested: Range) -> BodySlice:
        """Decide by status and headers what to read of a reply.

        Raises:
            RetryableError: Another try may do better.
            RangeIgnoredError: The whole file comes, and that was not expected.
            Error: Another try will not help.
        """
        file, status = self.sink.file, reply.response.status
        if status == http.client.PARTIAL_CONTENT:
            body = slice_partial(file, reply.response, requested)
        elif status == http.client.OK:
            expected = self.queue.reading_whole
            body = slice_whole(file, reply.response, requested, expected=expected)
        elif status in _EXPIRED_STATUSES and self._may_have_expired(reply.target):
            if self.resolved_target is reply.target:
                self.resolved_target = None
            raise RetryableError(
                f"a signed URL was refused with {status}", server_seconds=0, status=status
            )
        else:
            raise refusal_error(file.path, reply)
        self.resolved_target = reply.target
        return body

    def _may_have_expired(self, target: HttpTarget) -> bool:
        """Whether a URL may be signed: it is another host's, or it served this file before."""
        return target is self.resolved_target or target.origin != self.source_target.origin


class RangeReader:
    """Reads one claimed range, over as many replies as it takes.

    Args:
        transfer: The file.
        claimed: The range.
        buffer: Holds the range until its turn comes.
        piece: Bytes to write at once.
        meter: Counts the bytes.
    """

    def __init__(
        self, transfer: FileTransfer, claimed: Range, buffer: bytearray, piece: int, meter: Meter
    ) -> None:
        self.transfer = transfer
        self.queue = transfer.queue
        self.buffer = buffer
        self.received = 0
        self._view = memoryview(buffer)
        self._end = claimed.end
        self._position = claimed.start  # where in the file the buffer begins
        self._filled = 0
        self._piece = piece
        self._meter = meter

    def shrink_pieces(self) -> None:
        """Read smaller pieces: what a broken connection brought of a piece is lost."""
        self._piece = max(min(self._piece, _SMALL_PIECE_BYTES), self._piece // 4)

    def remaining(self) -> Range:
        """The part of the range that was not received yet."""
        return Range(self._position + self._filled, self._end)

    def read(self, response: http.client.HTTPResponse, body: BodySlice) -> None:
        """Read a reply's body.

        Raises:
            RetryableError: It ended early, or is not compressed as it says; what came is kept.
            IntegrityError: It goes on behind its end; the rest is not read.
            OSError, http.client.HTTPException: The connection failed; what came is kept.
        """
        content = GunzipReader(response) if body.gzipped else response
        try:
            self._read_content(content, body)
            # If the reply states no length, only one more read tells whether the body ends here.
            is_length_known = response.length is not None and not body.gzipped
            if not is_length_known and content.readinto(bytearray(1)):
                raise too_long_error(self.transfer.sink.file)
        except zlib.error as error:
            raise RetryableError("the body is not gzip, as its headers say") from error

    def _read_content(
        self, content: GunzipReader | http.client.HTTPResponse, body: BodySlice
    ) -> None:
        self._skip(content, body.skip)
        length = body.length
        while length:
            room = self._view[self._filled : self._filled + min(self._piece, length)]
            count = content.readinto(room)
            if not count:
                raise RetryableError(f"the body ended {length:,} bytes early")
            length -= count
            self._accept(count)

    def _skip(self, content: GunzipReader | http.client.HTTPResponse, length: int) -> None:
        scrap = memoryview(bytearray(min(length, self._piece)))
        while length:
            count = content.readinto(scrap[: min(length, len(scrap))])
            if not count:
                raise RetryableError("the body ended before the part that was wanted")
            length -= count
            self._meter.add(received=count)

    def _accept(self, count: int) -> None:
        """Count bytes that came into the buffer, and write the buffer if its turn is now."""
        self._filled += count
        self.received += count
        written = 0
        # Only one range begins where the file ends now, so no other thread appends meanwhile.
        if self.transfer.sink.done == self._position:
            written = self._filled
            self.transfer.sink.append(self._view[:written])
            self._position += written
            self._filled = 0
        self._meter.add(done=written, received=count)

    def hand_over(self, give_back: Callable[[bytearray], None]) -> None:
        """Write the whole range and the early ones behind it, or let it wait for its turn.

        Args:
            give_back: Takes buffers that are free again.
        """
        transfer = self.transfer
        if self._filled and transfer.keep_early(self._position, self.buffer, self._filled):
            return
        next_buffer: tuple[bytearray, int] | None = (self.buffer, self._filled)
        while next_buffer is not None:
            buffer, length = next_buffer
            if length:
                transfer.sink.append(memoryview(buffer)[:length])
                self._meter.add(done=length)
            give_back(buffer)
            next_buffer = transfer.next_early()

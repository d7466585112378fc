"""One file on its way: reading a range's reply, and writing what arrives in order.

Whoever reads what the file needs next writes it in small pieces, while they are still in the
processor's second-level cache; the others fill their buffers and wait for their turn.
"""

from __future__ import annotations

import dataclasses
import http.client
import re
import threading
from collections.abc import Callable
from typing import Protocol

from modelshelf.shelf.errors import (
    Error,
    IntegrityError,
    NotAuthorisedError,
    NotFoundError,
    SourceError,
    UsageError,
)
from modelshelf.shelf.values import File, Snapshot
from modelshelf.transfer.connection import Reply, Target
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.ranges import Range, Window
from modelshelf.transfer.retries import RETRIED, retry_after

_HUB_SOURCE = re.compile(r"hf://([\w.-]+/[\w.-]+)")
_SMALL_PIECE = 16 << 10  # bytes
_LAG = 0.05  # of a file that one more connection is worth
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
# What file hosts answer when a signed URL has expired.
_EXPIRED = frozenset({400, 401, 403, 404, 410})


class Sink(Protocol):
    """Where one file's bytes go, in order.

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
        """All bytes are written: whether they are right. If not, the sink is empty again.

        Raises:
            IntegrityError: They were wrong before, too.
            ShelfError: They could not be synced.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where a snapshot's bytes come from.

    Attributes:
        base: The URL below which the files are: `https://HUB/org/name/resolve/<commit>`.
        token: Sent to this origin only; None for none.
    """

    base: str
    token: str | None = dataclasses.field(default=None, repr=False)

    def target(self, path: str) -> Target:
        """The request for one file."""
        headers = [("Accept-Encoding", "identity"), ("User-Agent", "modelshelf")]
        if self.token:
            headers.append(("Authorization", f"Bearer {self.token}"))
        for character in "%?#":
            path = path.replace(character, f"%{ord(character):02X}")
        return Target(f"{self.base}/{path}", tuple(headers))


def hub_origin(endpoint: str, snapshot: Snapshot, token: str | None) -> Origin:
    """Where a Hub serves the files of a snapshot.

    Args:
        endpoint: The Hub's base URL.
        snapshot: Its `source` names the repository, which may be called otherwise on the shelf.
        token: The Hub's token; None for none.

    Raises:
        UsageError: The snapshot is not from a Hub.
    """
    match = _HUB_SOURCE.match(snapshot.source)
    if match is None:
        raise UsageError(f"{snapshot.source} is not on a Hub, so nothing can be fetched from there")
    return Origin(f"{endpoint.rstrip('/')}/{match[1]}/resolve/{snapshot.commit}", token)


class FailedTryError(Exception):
    """A request failed in a way that may pass.

    Args:
        reason: For people; without URLs.
        after: Seconds that the server asked to wait; None if it did not.
        status: The HTTP status; 0 if there was none.
    """

    def __init__(self, reason: str, *, after: float | None = None, status: int = 0) -> None:
        super().__init__(reason)
        self.after = after
        self.status = status


class RangeIgnoredError(Exception):
    """The server answers with the whole file instead of a range."""


class Transfer:
    """One file's state, shared by the connections that fetch it.

    Args:
        sink: Where the bytes go.
        first: The source's own URL of the file.
        chunk: Bytes of one range.
    """

    def __init__(self, sink: Sink, first: Target, chunk: int) -> None:
        self.sink = sink
        self.first = first
        self.resolved: Target | None = None
        self.resolving = threading.Lock()
        self.finished = False
        self._chunk = chunk
        self.restart()

    def restart(self) -> None:
        """Begin at what the sink holds."""
        self.window = Window(self.sink.file.size, self.sink.done, self._chunk)
        self._early: dict[int, tuple[bytearray, int]] = {}
        self._lock = threading.Lock()
        self._ended = False
        self.resolved = None

    @property
    def begun(self) -> bool:
        """Whether some of it is there or on its way."""
        return self.sink.done > 0 or self.window.active > 0

    def rank(self) -> float:
        """The lower, the sooner it gets another connection.

        An idle file comes first, unless another lags: then that gets one more, so that all end
        together and the processor has something to do until then.
        """
        left = 1 - self.sink.done / self.sink.file.size
        return self.window.active * _LAG - left

    def keep_early(self, position: int, buffer: bytearray, length: int) -> bool:
        """Keep what arrived before its turn; False if its turn is now."""
        with self._lock:
            if self.sink.done == position:
                return False
            self._early[position] = (buffer, length)
            return True

    def next_early(self) -> tuple[bytearray, int] | None:
        """What arrived early and whose turn is now."""
        with self._lock:
            return self._early.pop(self.sink.done, None)

    def drop_early(self) -> list[bytearray]:
        """Forget what arrived early; its buffers."""
        with self._lock:
            buffers = [buffer for buffer, _ in self._early.values()]
            self._early.clear()
            return buffers

    def ends_now(self) -> bool:
        """Whether all bytes are written; True for one caller only."""
        with self._lock:
            ends = not self._ended and self.sink.done == self.sink.file.size
            self._ended = self._ended or ends
            return ends

    def judge(self, reply: Reply, asked: Range) -> Body:
        """What to read of a reply, by its status and headers.

        Raises:
            FailedTryError: Another try may do better.
            RangeIgnoredError: The whole file comes, and was not asked for.
            Error: Another try will not help.
        """
        path, status = self.sink.file.path, reply.response.status
        if status == http.client.PARTIAL_CONTENT:
            body = _partial(self.sink.file, reply.response, asked)
        elif status == http.client.OK:
            body = _complete(self.sink.file, reply.response, asked, whole=self.window.reading_whole)
        elif status in _EXPIRED and self._was_signed(reply.target):
            if self.resolved is reply.target:
                self.resolved = None
            raise FailedTryError(f"a signed URL was refused with {status}", after=0, status=status)
        else:
            raise _refusal(path, reply)
        self.resolved = reply.target
        return body

    def _was_signed(self, target: Target) -> bool:
        """Whether a URL may have expired: a file host's, or one that served this file before."""
        return target is self.resolved or target.origin != self.first.origin


@dataclasses.dataclass(frozen=True, slots=True)
class Body:
    """What to read of a reply: `skip` bytes for nothing, then `length`."""

    skip: int
    length: int


def _partial(file: File, response: http.client.HTTPResponse, asked: Range) -> Body:
    match = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range") or "")
    if match is None:
        raise FailedTryError("the reply does not say which range it is")
    start, end = int(match[1]), int(match[2]) + 1
    if match[3] not in ("*", str(file.size)):
        raise _other_size(file, int(match[3]))
    if start != asked.start or not start < end <= asked.end:
        raise FailedTryError(f"the reply is another range than bytes {asked.start}-{asked.end - 1}")
    if response.length is not None and response.length > end - start:
        raise _too_long(file)
    return Body(0, end - start)


def _complete(file: File, response: http.client.HTTPResponse, asked: Range, *, whole: bool) -> Body:
    if response.length is not None and response.length != file.size:
        raise _other_size(file, response.length)
    if not whole and asked != (0, file.size):
        raise RangeIgnoredError
    return Body(asked.start, asked.end - asked.start)


def _other_size(file: File, size: int) -> IntegrityError:
    return IntegrityError(
        f"{file.path} has {size:,} bytes where it is served and {file.size:,} in its commit",
        hint="the source or a proxy before it is broken: try another endpoint",
    )


def _too_long(file: File) -> IntegrityError:
    return IntegrityError(
        f"the body of {file.path} is longer than its commit and its headers state",
        hint="the source or a proxy before it is broken: try another endpoint",
    )


def _refusal(path: str, reply: Reply) -> Error | FailedTryError:
    host, status = reply.target.origin[1].rpartition("@")[2], reply.response.status
    if status in RETRIED:
        after = retry_after(reply.response.getheader("Retry-After"))
        return FailedTryError(f"{host} answered {status}", after=after, status=status)
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return NotAuthorisedError(
            f"{host} refuses {path} with {status}",
            hint="accept the model's licence on its page and set HF_TOKEN to a token that may read",
        )
    if status in (http.client.NOT_FOUND, http.client.GONE):
        return NotFoundError(f"{host} has no {path} at this commit (it answered {status})")
    if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        return IntegrityError(f"{path} is shorter where {host} serves it than in its commit")
    return SourceError(f"{host} answered {status} for {path}")


class Reader:
    """Reads one claimed range, over as many replies as it takes.

    Args:
        transfer: The file.
        claimed: The range.
        buffer: Holds the range until its turn comes.
        piece: Bytes handed on at once.
        meter: Counts.
    """

    def __init__(
        self, transfer: Transfer, claimed: Range, buffer: bytearray, piece: int, meter: Meter
    ) -> None:
        self.transfer = transfer
        self.window = transfer.window
        self.buffer = buffer
        self.received = 0
        self._view = memoryview(buffer)
        self._end = claimed.end
        self._position = claimed.start  # where in the file the buffer begins
        self._filled = 0
        self._piece = piece
        self._meter = meter

    def read_less(self) -> None:
        """What a broken connection brought of a piece is lost, so the next pieces are smaller."""
        self._piece = max(min(self._piece, _SMALL_PIECE), self._piece // 4)

    def left(self) -> Range:
        """What was not received yet."""
        return Range(self._position + self._filled, self._end)

    def read(self, response: http.client.HTTPResponse, body: Body) -> None:
        """Take a reply's body.

        Raises:
            FailedTryError: It ended early; what came is kept.
            IntegrityError: It goes on behind its end; that is thrown away.
            OSError, http.client.HTTPException: The connection failed; what came is kept.
        """
        self._skip(response, body.skip)
        length = body.length
        while length:
            room = self._view[self._filled : self._filled + min(self._piece, length)]
            count = response.readinto(room)
            if not count:
                raise FailedTryError(f"the body ended {length:,} bytes early")
            length -= count
            self._take(count)
        # Without a length only one more byte tells whether the body ends here.
        if response.length is None and response.readinto(bytearray(1)):
            raise _too_long(self.transfer.sink.file)

    def _skip(self, response: http.client.HTTPResponse, length: int) -> None:
        scrap = memoryview(bytearray(min(length, self._piece)))
        while length:
            count = response.readinto(scrap[: min(length, len(scrap))])
            if not count:
                raise FailedTryError("the body ended before the part that was wanted")
            length -= count
            self._meter.add(received=count)

    def _take(self, count: int) -> None:
        self._filled += count
        self.received += count
        written = 0
        # Only one range begins where the file ends, so nobody else appends meanwhile.
        if self.transfer.sink.done == self._position:
            written = self._filled
            self.transfer.sink.append(self._view[:written])
            self._position += written
            self._filled = 0
        self._meter.add(done=written, received=count)

    def hand_over(self, give_back: Callable[[bytearray], None]) -> None:
        """The range is here: write it and what waits behind it, or let it wait for its turn.

        Args:
            give_back: Takes buffers that are free again.
        """
        transfer = self.transfer
        if self._filled and transfer.keep_early(self._position, self.buffer, self._filled):
            return
        turn: tuple[bytearray, int] | None = (self.buffer, self._filled)
        while turn is not None:
            buffer, length = turn
            if length:
                transfer.sink.append(memoryview(buffer)[:length])
                self._meter.add(done=length)
            give_back(buffer)
            turn = transfer.next_early()

"""Fetching several files at once: many ranges of each, over as many connections as help.

Each connection has a thread. A thread claims a range of the file that needs it most, reads it into
a buffer, and hands it over to the file, which writes its ranges in order. Buffers are limited and
used again, so the memory that a fetch needs does not depend on the sizes of files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import queue
import random
import ssl
import threading
import time
from collections.abc import Iterator, Sequence

from modelshelf.shelf.errors import SourceError
from modelshelf.transfer.connection import Connections, HttpReply
from modelshelf.transfer.events import FileDone, Retrying
from modelshelf.transfer.file_transfer import FileSink, FileTransfer, RangeReader
from modelshelf.transfer.hub_source import HubSource
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.ramp import ConnectionLimits, ConnectionRamp
from modelshelf.transfer.ranges import Range
from modelshelf.transfer.replies import BodySlice, RangeIgnoredError, RetryableError
from modelshelf.transfer.retries import THROTTLING_STATUSES, Backoff

MIB = 1 << 20
_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class FetchSettings:
    """How to fetch.

    Attributes:
        chunk: Bytes of one range.
        buffers: The most chunks in memory; more than `limits.max_connections`.
        piece: Bytes to hash and write at once; they fit in a core's second-level cache.
        stall: Seconds without a byte, after which a request is repeated.
        limits: How the number of connections grows.
        backoff: How tries are spaced.
        ca_file: Certificates to trust besides the system's; None for none.
    """

    chunk: int = 6 * MIB
    buffers: int = 36
    piece: int = MIB
    stall: float = 30.0
    limits: ConnectionLimits = dataclasses.field(default_factory=ConnectionLimits)
    backoff: Backoff = dataclasses.field(default_factory=Backoff)
    ca_file: str | None = None


class _StoppedError(Exception):
    """The fetch is over: another thread failed, or the user interrupted it."""


class Fetch:
    """One fetch of several files.

    Args:
        sinks: Take the files' bytes. What they have already is not fetched.
        source: Serves the files.
        meter: Counts bytes and passes events on.
        settings: How to fetch.
    """

    def __init__(
        self, sinks: Sequence[FileSink], source: HubSource, meter: Meter, settings: FetchSettings
    ) -> None:
        self._settings = settings
        self._meter = meter
        self._transfers = [
            FileTransfer(sink, source.target(sink.file.path), settings.chunk)
            for sink in sorted(sinks, key=lambda s: -s.file.size)
        ]
        self._changed = threading.Condition()
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._buffer_count = 0
        self._ramp = ConnectionRamp(settings.limits, time.monotonic())
        self._threads: list[tuple[threading.Thread, Connections]] = []
        self._working = 0
        self._stop = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Fetch until every file is finished.

        Raises:
            Error: What failed, after retries. What was written stays in the sinks.
        """
        try:
            for transfer in self._transfers:
                self._finish(transfer)
            while not self._is_over():
                self._start_threads()
                with self._changed:
                    self._changed.wait(_POLL_SECONDS)
        finally:
            self._stop_threads()
        if self._error is not None:
            raise self._error
        self._meter.tell_progress()

    def _stop_threads(self) -> None:
        """Stop all threads at once, also those that wait for bytes."""
        self._stop.set()
        for _, connections in self._threads:
            connections.abort()
        for thread, connections in self._threads:
            # Establishing a connection cannot be interrupted. Such a thread is not waited for: it
            # will find its connection aborted, and write nothing.
            while thread.is_alive() and not connections.connecting:
                thread.join(_POLL_SECONDS)

    def _is_over(self) -> bool:
        return self._stop.is_set() or all(t.finished for t in self._transfers)

    def _start_threads(self) -> None:
        cpu_seconds = time.process_time() / (os.cpu_count() or 1)
        wanted = self._ramp.tick(time.monotonic(), self._meter.received, cpu_seconds)
        with self._changed:
            for _ in range(min(wanted, self._usable_connections()) - self._working):
                connections = Connections(self._settings.stall, self._settings.ca_file)
                thread = threading.Thread(
                    target=self._work, args=(connections,), name="fetch", daemon=True
                )
                self._threads.append((thread, connections))
                self._working += 1
                thread.start()
            self._meter.connections = self._working

    def _usable_connections(self) -> int:
        """How many connections could be busy at once."""
        chunk = self._settings.chunk
        sinks = [t.sink for t in self._transfers if not t.finished]
        return sum(-(-(sink.file.size - sink.done) // chunk) for sink in sinks)

    def _work(self, connections: Connections) -> None:
        try:
            while (reader := self._claim_range()) is not None:
                self._read_range(reader, connections)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - `run` raises it in the caller's thread
            with self._changed:
                self._error = self._error or error
                self._stop.set()
        finally:
            connections.close()
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _claim_range(self) -> RangeReader | None:
        """Wait for a range and a buffer for it; None when there is no more work for this thread."""
        # The buffer comes first. If a thread claimed a range and then waited for a buffer, it could
        # wait forever: all buffers may hold later ranges, which wait for that range to be written.
        while True:
            # Not under the lock, which the threads that give buffers back need.
            buffer = self._take_buffer()
            with self._changed:
                reader = self._try_to_claim(buffer)
                if reader is not None:
                    return reader
                self._buffers.put(buffer)
                if self._is_over() or self._working > self._ramp.connections:
                    return None
                self._changed.wait(_POLL_SECONDS)

    def _try_to_claim(self, buffer: bytearray) -> RangeReader | None:
        if self._is_over() or self._working > self._ramp.connections:
            return None
        for transfer in self._ranked_transfers():
            claimed = transfer.queue.claim(transfer.sink.done)
            if claimed is not None:
                return RangeReader(transfer, claimed, buffer, self._settings.piece, self._meter)
        return None

    def _ranked_transfers(self) -> Iterator[FileTransfer]:
        """The files that are not finished, in the order in which they get a connection.

        As many files are fetched at once as there are connections, the largest first. Another file
        only gets a connection that none of these can use.
        """
        started = [t for t in self._transfers if t.has_started and not t.finished]
        waiting = [t for t in self._transfers if not t.has_started and not t.finished]
        room = max(self._ramp.connections - len(started), 0)
        yield from sorted(started + waiting[:room], key=FileTransfer.rank)
        yield from waiting[room:]

    def _take_buffer(self) -> bytearray:
        with contextlib.suppress(queue.Empty):
            return self._buffers.get_nowait()
        with self._changed:
            # A crash loses the buffers that wait for their turn. So there are no more than two for
            # each connection: the one that it fills, and one that waits.
            if self._buffer_count < min(self._settings.buffers, 2 * self._ramp.connections):
                self._buffer_count += 1
                return bytearray(self._settings.chunk)
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                return self._buffers.get(timeout=_POLL_SECONDS)
        raise _StoppedError

    def _read_range(self, reader: RangeReader, connections: Connections) -> None:
        transfer = reader.transfer
        try:
            self._try_until_done(reader, connections)
        except RangeIgnoredError:
            with self._changed:
                transfer.queue.read_whole()
                transfer.queue.release(reader.remaining())
                for buffer in [reader.buffer, *transfer.drop_early()]:
                    self._buffers.put(buffer)
            return
        with self._changed:
            reader.queue.finish()
        reader.hand_over(self._buffers.put)
        self._finish(transfer)

    def _finish(self, transfer: FileTransfer) -> None:
        if not transfer.claim_completion():
            return
        is_right = transfer.sink.finish()
        with self._changed:
            for buffer in transfer.drop_early():
                self._buffers.put(buffer)
            if is_right:
                transfer.finished = True
                file = transfer.sink.file
                self._meter.tell(FileDone(file.path, file.size, "fetched"))
            else:
                self._meter.add(done=-transfer.sink.file.size)
                self._meter.tell(
                    Retrying(transfer.sink.file.path, "its checksum was wrong", wait=0)
                )
                transfer.restart()
            self._changed.notify_all()

    def _try_until_done(self, reader: RangeReader, connections: Connections) -> None:
        failures = 0
        while (requested := reader.remaining()).start < requested.end:
            before = reader.received
            try:
                self._try(reader, requested, connections)
            except RetryableError as failure:
                reader.shrink_pieces()
                failures = 1 if reader.received > before else failures + 1
                self._pause(reader.transfer.sink.file.path, failure, failures)

    def _pause(self, path: str, failure: RetryableError, failures: int) -> None:
        backoff = self._settings.backoff
        if self._stop.is_set():
            # Another file has failed for good. Nothing is tried again, and must not be said to be.
            raise _StoppedError
        if failures >= backoff.max_tries:
            raise SourceError(
                f"{path} could not be fetched: {failure}, {failures} times in a row",
                hint="run the same command again later: it goes on where it stopped",
            )
        if failure.status in THROTTLING_STATUSES:
            with self._changed:
                self._ramp.back_off(time.monotonic())
        wait = backoff.wait_seconds(failures, random.random(), failure.server_seconds)  # noqa: S311 - jitter
        self._meter.tell(Retrying(path, str(failure), round(wait, 1)))
        if self._stop.wait(wait):
            raise _StoppedError

    def _try(self, reader: RangeReader, requested: Range, connections: Connections) -> None:
        try:
            reply, body = self._request(reader.transfer, requested, connections)
            reader.read(reply.response, body)
        except ssl.SSLCertVerificationError as error:
            raise SourceError(
                f"the certificate of the host that serves {reader.transfer.sink.file.path} "
                f"is not trusted: {error.verify_message}",
                hint="set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to a bundle with its authority",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connections.close()
            raise RetryableError(f"{connections.last_host}: {self._describe(error)}") from error
        except (RetryableError, RangeIgnoredError):
            connections.close()
            raise
        if self._stop.is_set():
            raise _StoppedError
        connections.finish(reply)

    def _request(
        self, transfer: FileTransfer, requested: Range, connections: Connections
    ) -> tuple[HttpReply, BodySlice]:
        if transfer.resolved_target is None:
            # One connection asks the source, which may redirect it to a file host. The others wait
            # until it knows where, so that the source gets one request for each file.
            with transfer.resolving:
                if transfer.resolved_target is None:
                    return self._send_request(transfer, requested, connections)
        return self._send_request(transfer, requested, connections)

    def _send_request(
        self, transfer: FileTransfer, requested: Range, connections: Connections
    ) -> tuple[HttpReply, BodySlice]:
        if self._stop.is_set():
            raise _StoppedError
        headers = {"Range": f"bytes={requested.start}-{requested.end - 1}"}
        reply = connections.get(transfer.resolved_target or transfer.source_target, headers)
        return reply, transfer.check_reply(reply, requested)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no byte came for {self._settings.stall:g} s"
        if str(error).startswith("Tunnel connection failed"):
            return f"the proxy answered {str(error).partition(': ')[2].strip()}"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror[0].lower() + error.strerror[1:]
        return f"the connection failed ({type(error).__name__})"


def fetch(
    sinks: Sequence[FileSink],
    source: HubSource,
    meter: Meter,
    settings: FetchSettings | None = None,
) -> None:
    """Fetch files until all are whole and verified.

    Args:
        sinks: Take the files' bytes. What they have already is not fetched.
        source: Serves the files.
        meter: Counts bytes and passes events on.
        settings: How to fetch.

    Raises:
        SourceError: The source kept failing, or refuses.
        IntegrityError: The content is not what the commit states.
        ShelfError: The bytes could not be written.
    """
    Fetch(sinks, source, meter, settings or FetchSettings()).run()

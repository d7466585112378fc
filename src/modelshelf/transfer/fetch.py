"""Fetching: many ranges of several files at once, over as many connections as help."""

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
from modelshelf.transfer.connection import Connections, Reply
from modelshelf.transfer.events import FileDone, Retrying
from modelshelf.transfer.file_transfer import (
    Body,
    FailedTryError,
    Origin,
    RangeIgnoredError,
    Reader,
    Sink,
    Transfer,
)
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.ranges import Limits, Ramp, Range
from modelshelf.transfer.retries import LESS_PLEASE, Backoff

MIB = 1 << 20
_TICK = 0.1  # seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How to fetch.

    Attributes:
        chunk: Bytes of one range.
        buffers: Chunks in memory at the most; more than `limits.most`.
        piece: Bytes handed on at once; fits in a core's second-level cache.
        stall: Seconds without a byte after which a request is repeated.
        limits: How connections grow.
        backoff: How tries are spaced.
        ca_file: Certificates to trust besides the system's; None for none.
    """

    chunk: int = 6 * MIB
    buffers: int = 36
    piece: int = MIB
    stall: float = 30.0
    limits: Limits = dataclasses.field(default_factory=Limits)
    backoff: Backoff = dataclasses.field(default_factory=Backoff)
    ca_file: str | None = None


class _StoppedError(Exception):
    """Another thread failed, or the user gave up."""


class Fetch:
    """One run over several files.

    Args:
        sinks: Where the files' bytes go; what they hold already is not fetched.
        origin: Where the bytes come from.
        meter: Counts bytes and passes events on.
        settings: How to fetch.
    """

    def __init__(
        self, sinks: Sequence[Sink], origin: Origin, meter: Meter, settings: Settings
    ) -> None:
        self._settings = settings
        self._meter = meter
        self._transfers = [
            Transfer(sink, origin.target(sink.file.path), settings.chunk)
            for sink in sorted(sinks, key=lambda s: -s.file.size)
        ]
        self._changed = threading.Condition()
        self._buffers: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._made = 0
        self._ramp = Ramp(settings.limits, time.monotonic())
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
            while not self._over():
                self._grow()
                with self._changed:
                    self._changed.wait(_TICK)
        finally:
            self._end()
        if self._error is not None:
            raise self._error
        self._meter.tell()

    def _end(self) -> None:
        """Stop all threads, without waiting for bytes that may take long to come."""
        self._stop.set()
        for _, connections in self._threads:
            connections.cut()
        for thread, connections in self._threads:
            # One that waits for a connection to be made will find it cut, and write nothing more.
            while thread.is_alive() and not connections.connecting:
                thread.join(_TICK)

    def _over(self) -> bool:
        return self._stop.is_set() or all(t.finished for t in self._transfers)

    def _grow(self) -> None:
        worked = time.process_time() / (os.cpu_count() or 1)
        wanted = self._ramp.tick(time.monotonic(), self._meter.received, worked)
        with self._changed:
            for _ in range(min(wanted, self._useful()) - self._working):
                connections = Connections(self._settings.stall, self._settings.ca_file)
                thread = threading.Thread(
                    target=self._work, args=(connections,), name="fetch", daemon=True
                )
                self._threads.append((thread, connections))
                self._working += 1
                thread.start()
            self._meter.connections = self._working

    def _useful(self) -> int:
        """Connections that could be busy at once."""
        chunk = self._settings.chunk
        sinks = [t.sink for t in self._transfers if not t.finished]
        return sum(-(-(sink.file.size - sink.done) // chunk) for sink in sinks)

    def _work(self, connections: Connections) -> None:
        try:
            while (reader := self._next()) is not None:
                self._carry_out(reader, connections)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            with self._changed:
                self._error = self._error or error
                self._stop.set()
        finally:
            connections.close()
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _next(self) -> Reader | None:
        """A claimed range and a buffer for it; None when there is no more work for this thread."""
        # The buffer first: a range that is claimed and waits for a buffer could wait for ever,
        # while all buffers wait for that range.
        while True:
            # Never under the lock, since whoever gives a buffer back needs it.
            buffer = self._take_buffer()
            with self._changed:
                reader = self._claim(buffer)
                if reader is not None:
                    return reader
                self._buffers.put(buffer)
                if self._over() or self._working > self._ramp.connections:
                    return None
                self._changed.wait(_TICK)

    def _claim(self, buffer: bytearray) -> Reader | None:
        if self._over() or self._working > self._ramp.connections:
            return None
        for transfer in self._ranked():
            claimed = transfer.window.claim(transfer.sink.done)
            if claimed is not None:
                return Reader(transfer, claimed, buffer, self._settings.piece, self._meter)
        return None

    def _ranked(self) -> Iterator[Transfer]:
        """The files that are not finished, in the order in which they get a connection.

        As many are under way at once as there are connections, the largest first; the others
        only get one that those cannot use.
        """
        begun = [t for t in self._transfers if t.begun and not t.finished]
        fresh = [t for t in self._transfers if not t.begun and not t.finished]
        room = max(self._ramp.connections - len(begun), 0)
        yield from sorted(begun + fresh[:room], key=Transfer.rank)
        yield from fresh[room:]

    def _take_buffer(self) -> bytearray:
        with contextlib.suppress(queue.Empty):
            return self._buffers.get_nowait()
        with self._changed:
            # What waits for its turn is lost in a crash: no more than one chunk a connection.
            if self._made < min(self._settings.buffers, 2 * self._ramp.connections):
                self._made += 1
                return bytearray(self._settings.chunk)
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                return self._buffers.get(timeout=_TICK)
        raise _StoppedError

    def _carry_out(self, reader: Reader, connections: Connections) -> None:
        transfer = reader.transfer
        try:
            self._try_until_done(reader, connections)
        except RangeIgnoredError:
            with self._changed:
                transfer.window.take_whole()
                transfer.window.release(reader.left())
                for buffer in [reader.buffer, *transfer.drop_early()]:
                    self._buffers.put(buffer)
            return
        with self._changed:
            reader.window.finish()
        reader.hand_over(self._buffers.put)
        self._finish(transfer)

    def _finish(self, transfer: Transfer) -> None:
        if not transfer.ends_now():
            return
        right = transfer.sink.finish()
        with self._changed:
            for buffer in transfer.drop_early():
                self._buffers.put(buffer)
            if right:
                transfer.finished = True
                done = transfer.sink.file
                self._meter.tell(FileDone(done.path, done.size, "fetched"))
            else:
                self._meter.add(done=-transfer.sink.file.size)
                self._meter.tell(
                    Retrying(transfer.sink.file.path, "its checksum was wrong", wait=0)
                )
                transfer.restart()
            self._changed.notify_all()

    def _try_until_done(self, reader: Reader, connections: Connections) -> None:
        failures = 0
        while (asked := reader.left()).start < asked.end:
            before = reader.received
            try:
                self._try(reader, asked, connections)
            except FailedTryError as failed:
                reader.read_less()
                failures = 1 if reader.received > before else failures + 1
                self._pause(reader.transfer.sink.file.path, failed, failures)

    def _pause(self, path: str, failed: FailedTryError, failures: int) -> None:
        backoff = self._settings.backoff
        if failures >= backoff.tries:
            raise SourceError(
                f"{path} could not be fetched: {failed}, {failures} times in a row",
                hint="run the same command again later: it goes on where it stopped",
            )
        if failed.status in LESS_PLEASE:
            with self._changed:
                self._ramp.back_off(time.monotonic())
        wait = backoff.wait(failures, random.random(), failed.after)  # noqa: S311 - jitter
        self._meter.tell(Retrying(path, str(failed), round(wait, 1)))
        if self._stop.wait(wait):
            raise _StoppedError

    def _try(self, reader: Reader, asked: Range, connections: Connections) -> None:
        try:
            reply, body = self._request(reader.transfer, asked, connections)
            reader.read(reply.response, body)
        except ssl.SSLCertVerificationError as error:
            raise SourceError(
                f"the certificate of the host that serves {reader.transfer.sink.file.path} "
                f"is not trusted: {error.verify_message}",
                hint="set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to a bundle with its authority",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connections.close()
            raise FailedTryError(self._describe(error)) from error
        except (FailedTryError, RangeIgnoredError):
            connections.close()
            raise
        if self._stop.is_set():
            raise _StoppedError
        connections.finish(reply)

    def _request(
        self, transfer: Transfer, asked: Range, connections: Connections
    ) -> tuple[Reply, Body]:
        if transfer.resolved is None:
            # One connection asks the source where the file is; the others wait for what it hears.
            with transfer.resolving:
                if transfer.resolved is None:
                    return self._ask(transfer, asked, connections)
        return self._ask(transfer, asked, connections)

    def _ask(
        self, transfer: Transfer, asked: Range, connections: Connections
    ) -> tuple[Reply, Body]:
        if self._stop.is_set():
            raise _StoppedError
        headers = {"Range": f"bytes={asked.start}-{asked.end - 1}"}
        reply = connections.get(transfer.resolved or transfer.first, headers)
        return reply, transfer.judge(reply, asked)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no byte came for {self._settings.stall:g} s"
        if str(error).startswith("Tunnel connection failed"):
            return f"the proxy answered {str(error).partition(': ')[2].strip()}"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror[0].lower() + error.strerror[1:]
        return f"the connection failed ({type(error).__name__})"


def fetch(
    sinks: Sequence[Sink], origin: Origin, meter: Meter, settings: Settings | None = None
) -> None:
    """Fetch files until all are whole and verified.

    Args:
        sinks: Where the files' bytes go; what they hold already is not fetched.
        origin: Where the bytes come from.
        meter: Counts bytes and passes events on.
        settings: How to fetch.

    Raises:
        SourceError: The source kept failing, or refuses.
        IntegrityError: The content is not what the commit states.
        ShelfError: The bytes could not be written.
    """
    Fetch(sinks, origin, meter, settings or Settings()).run()

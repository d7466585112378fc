"""Counting bytes for all threads, and reporting to a listener a few times a second."""

from __future__ import annotations

import threading
import time

from modelshelf.shelf.events import Event, Listener
from modelshelf.shelf.values import File
from modelshelf.transfer.events import FileDone, FileOrigin, Progressed

_REPORT_SECONDS = 0.2  # between two reports of progress


class Meter:
    """Counts what a pull has received and written.

    Args:
        total: Bytes of the snapshot.
        listener: Gets the events. It is called under a lock, so it need not be safe for threads.

    Attributes:
        done: Bytes that are hashed and written.
        received: Bytes that came from the source.
        connections: Connections in use.
    """

    def __init__(self, total: int, listener: Listener) -> None:
        self._lock = threading.Lock()
        self._listener = listener
        self._total = total
        self._last_report = 0.0
        self.done = 0
        self.received = 0
        self.connections = 0

    def add(self, *, done: int = 0, received: int = 0) -> None:
        """Count bytes that were written or received, and report the progress if it is time."""
        with self._lock:
            self.done += done
            self.received += received
            now = time.monotonic()
            if now - self._last_report >= _REPORT_SECONDS:
                self._last_report = now
                self._listener(self._progress())

    def tell(self, event: Event) -> None:
        """Pass an event on to the listener."""
        with self._lock:
            self._listener(event)

    def tell_progress(self) -> None:
        """Report the numbers as they are now."""
        with self._lock:
            self._listener(self._progress())

    def count_whole_file(self, file: File, how: FileOrigin) -> None:
        """Count a file that came in one step, without being copied, and report that it is done."""
        self.add(done=file.size)
        self.tell(FileDone(file.path, file.size, how))

    def _progress(self) -> Progressed:
        return Progressed(self.done, self._total, self.received, self.connections)

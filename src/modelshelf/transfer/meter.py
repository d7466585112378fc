"""Counting bytes for all threads, and telling a listener a few times a second."""

from __future__ import annotations

import threading
import time

from modelshelf.shelf.events import Event, Listener
from modelshelf.transfer.events import Progressed

_REPORT = 0.2  # seconds


class Meter:
    """Counts what a pull has received and written.

    Args:
        total: Bytes of the snapshot.
        listener: Told under a lock, so it need not be safe for threads.
    """

    def __init__(self, total: int, listener: Listener) -> None:
        self._lock = threading.Lock()
        self._listener = listener
        self._total = total
        self._told = 0.0
        self.done = 0
        self.received = 0
        self.connections = 0

    def add(self, *, done: int = 0, received: int = 0) -> None:
        """Count bytes that were written, or received."""
        with self._lock:
            self.done += done
            self.received += received
            now = time.monotonic()
            if now - self._told >= _REPORT:
                self._told = now
                self._listener(self._progress())

    def tell(self, event: Event | None = None) -> None:
        """Pass an event on, or the numbers as they are now."""
        with self._lock:
            self._listener(event or self._progress())

    def _progress(self) -> Progressed:
        return Progressed(self.done, self._total, self.received, self.connections)

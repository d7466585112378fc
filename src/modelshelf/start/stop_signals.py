"""The signals that ask us to stop, received so that none is lost and each is acted on at once.

`start` and `prime` are the parents of an engine. A signal may come at any moment, and two things
can go wrong:

- Python runs a signal's handler in the main thread, between any two of its instructions. A handler
  that raises KeyboardInterrupt is right while caches are unpacked: that may take minutes, nothing
  runs yet, and the exception undoes what was begun. It is wrong as soon as the engine is started.
  Between the fork and the line that stores the child's pid, the exception would leave a process
  that nobody knows of. So the handler raises until `record_only` is called, and only records the
  signal from then on.
- A handler that only records wakes nobody. The main thread could look at `received`, find nothing,
  and begin to wait just after a signal came. It would notice the signal when the wait is over.
  `signal.set_wakeup_fd` closes this gap: the interpreter writes a byte to a pipe in the moment in
  which a signal arrives, and `wait` waits for that pipe. A byte that was written before the wait
  began ends it at once.

Blocking the signals and calling `sigtimedwait` would work, too, but a blocked signal stays blocked
in the programs that we start. Looking at `received` every few milliseconds would cost processor
time for as long as the engine runs.

These signals have handlers:

- SIGTERM comes from a kubelet or another supervisor, SIGINT from Ctrl-C.
- SIGIO comes from the kernel when the process that started us has died (see `process_tree`, which
  ties an engine to us in the same way).
- SIGCHLD asks for nothing. It has a handler because a signal without one writes no byte, and the
  end of a child must end a `wait`.

In a container we are process 1 of a PID namespace. The kernel drops every signal for that process
that it has no handler for, SIGTERM included (pid_namespaces(7)). `early_signals` covers the time
before this module's handlers are installed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import types
from typing import Self

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGIO)


class StopSignals:
    """A context in which the signals that ask us to stop are recorded.

    Only the main thread may enter it, since Python lets no other install handlers.

    Args:
        received: The signals that were received before, for example by `early_signals`. The
            signals that come are added to this list.
    """

    def __init__(self, received: list[int] | None = None) -> None:
        self.received = [] if received is None else received
        self._raises = True
        self._handlers_before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        # A full pipe wakes `wait` as well as one more byte would.
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*_STOP_SIGNALS, signal.SIGCHLD):
            self._handlers_before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def record_only(self) -> None:
        """From now on, record signals and raise nothing.

        Raises:
            KeyboardInterrupt: A signal was received before, so nothing more is to be started.
        """
        self._raises = False
        if self.received:
            raise KeyboardInterrupt

    def add(self, number: int) -> None:
        """Act as if a signal had been received. Any thread may call it."""
        self.received.append(number)
        with contextlib.suppress(OSError):
            os.write(self._writer, b"\0")

    def wait(self, seconds: float) -> None:
        """Wait until a signal comes, a child ends, or the time is over."""
        select.select([self._reader], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def _handle(self, number: int, _frame: types.FrameType | None) -> None:
        if number == signal.SIGCHLD:
            return
        # The exception alone is not enough. One that is raised while the interpreter runs a
        # finalizer is printed and forgotten, and `record_only` must still see the signal.
        self.received.append(number)
        if self._raises:
            raise KeyboardInterrupt

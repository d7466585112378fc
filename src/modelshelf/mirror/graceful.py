"""A uvicorn server that tells when it listens and ends quietly when it is asked to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

GRACE = 3  # seconds that answers under way get when the server is stopped
IDLE = 75  # seconds that a connection is kept without a request
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulServer(uvicorn.Server):
    """Serves an application on one bound socket until SIGTERM or SIGINT, and then returns.

    uvicorn itself raises the signal again after a clean end, which kills the process.

    Args:
        app: What to serve.
        ready: Called once connections are accepted.
    """

    def __init__(self, app: ASGIApp, ready: Callable[[], None]) -> None:
        logging.getLogger("uvicorn.error").addFilter(_is_fault)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=GRACE,
        )
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, then say so."""
        await super().startup(sockets=sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on the first signal; on a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether a record of uvicorn's speaks of a fault of ours, not of a client or of stopping."""
    fault = record.exc_info[1] if record.exc_info else None
    return fault is not None and not isinstance(fault, asyncio.CancelledError)

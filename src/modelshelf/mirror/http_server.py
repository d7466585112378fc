"""`HttpServer`: uvicorn, with a call when it is ready and a normal return when it is stopped."""

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

GRACE_SECONDS = 3  # for answers that are being sent when the server is stopped
IDLE_SECONDS = 75  # after which a connection without a request is closed
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HttpServer(uvicorn.Server):
    """Serves an application on a bound socket until SIGTERM or SIGINT, and then returns.

    uvicorn restores the previous signal handlers after a clean shutdown and then raises the signal
    again. The default handler of the signal kills the process, so a mirror that was stopped as
    intended would look as if it had failed. `capture_signals` is overridden to prevent this.

    Args:
        app: The application to serve.
        ready: Called once connections are accepted.
    """

    def __init__(self, app: ASGIApp, ready: Callable[[], None]) -> None:
        logging.getLogger("uvicorn.error").addFilter(_is_our_fault)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, and then call `ready`."""
        await super().startup(sockets=sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully on the first signal, and immediately on the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous_handlers = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether uvicorn reports an error of the mirror, rather than of a client or of stopping."""
    error = record.exc_info[1] if record.exc_info else None
    return error is not None and not isinstance(error, asyncio.CancelledError)

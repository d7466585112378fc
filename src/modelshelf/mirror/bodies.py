"""Files' bytes on their way from the disk to the network."""

from __future__ import annotations

import asyncio
import contextlib
import os

from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from modelshelf.mirror.byteranges import Span
from modelshelf.mirror.counters import Counters
from modelshelf.mirror.delivery import Delivery

# Smaller blocks cost more thread switches than bytes (64 KiB: a sixth of the speed), larger ones
# only memory.
BLOCK = 1024 * 1024


class FileAnswer(Response):
    """An answer about one file, sent block by block.

    The connection is cut where the file ends early or cannot be read any more; the client sees a
    short body. When the client hangs up, reading stops.

    Args:
        fd: An open file; it is closed at the end.
        delivery: What to send.
        counters: Where to count it.
    """

    def __init__(self, fd: int, delivery: Delivery, counters: Counters) -> None:
        super().__init__(status_code=delivery.status, headers=delivery.headers)
        self._fd = fd
        self._pieces = delivery.pieces
        self._counters = counters

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 - Starlette's signature
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the answer."""
        watch = asyncio.create_task(_hung_up(receive))
        try:
            await self._send(send, watch)
        finally:
            watch.cancel()
            os.close(self._fd)

    async def _send(self, send: Send, watch: asyncio.Task[None]) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        self._counters.file_requests += bool(self._pieces)
        for piece in self._pieces:
            if isinstance(piece, Span):
                if not await self._send_span(piece, send, watch):
                    return
            else:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_span(self, span: Span, send: Send, watch: asyncio.Task[None]) -> bool:
        """Send bytes of the file; False if they cannot be read or nobody listens."""
        offset = span.start
        while offset < span.stop:
            count = min(BLOCK, span.stop - offset)
            block = b""
            with contextlib.suppress(OSError):
                block = await to_thread.run_sync(os.pread, self._fd, count, offset)
            if not block or watch.done():
                return False
            # Returns when the block before is mostly sent: this one is read meanwhile.
            await send({"type": "http.response.body", "body": block, "more_body": True})
            self._counters.file_bytes += len(block)
            offset += len(block)
        return True


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

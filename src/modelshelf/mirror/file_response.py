"""`FileResponse`: sends the content of a file from the disk to the network."""

from __future__ import annotations

import asyncio
import contextlib
import os

from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from modelshelf.mirror.byte_ranges import Span
from modelshelf.mirror.counters import Counters
from modelshelf.mirror.file_answer import FileAnswer

# With smaller blocks most of the time goes into switching threads: 64 KiB reach a sixth of the
# speed. Larger blocks need more memory and are not faster.
BLOCK_BYTES = 1024 * 1024


class FileResponse(Response):
    """Sends the answer about one file, block by block.

    If the file is shorter than expected or can no longer be read, the connection is closed early,
    and the client sees a body that is too short. If the client closes the connection, reading
    stops.

    Args:
        fd: The descriptor of the open file. It is closed at the end.
        answer: The answer to send.
        counters: Counts the bytes that are sent.
    """

    def __init__(self, fd: int, answer: FileAnswer, counters: Counters) -> None:
        super().__init__(status_code=answer.status, headers=answer.headers)
        self._fd = fd
        self._pieces = answer.pieces
        self._counters = counters

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 - Starlette's signature
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the answer."""
        disconnected = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await self._send(send, disconnected)
        finally:
            disconnected.cancel()
            os.close(self._fd)

    async def _send(self, send: Send, disconnected: asyncio.Task[None]) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        self._counters.file_requests += bool(self._pieces)
        for piece in self._pieces:
            if isinstance(piece, Span):
                if not await self._send_span(piece, send, disconnected):
                    return
            else:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_span(self, span: Span, send: Send, disconnected: asyncio.Task[None]) -> bool:
        """Send a span of the file; return False if it cannot be read or the client has gone."""
        offset = span.start
        while offset < span.stop:
            count = min(BLOCK_BYTES, span.stop - offset)
            block = b""
            with contextlib.suppress(OSError):
                block = await to_thread.run_sync(os.pread, self._fd, count, offset)
            if not block or disconnected.done():
                return False
            # `send` returns when most of the previous block is sent, so that the next block is read
            # from the disk while this one is on its way.
            await send({"type": "http.response.body", "body": block, "more_body": True})
            self._counters.file_bytes += len(block)
            offset += len(block)
        return True


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""A listening port that reads and records requests, and sends replies with their faults."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from hub.faults import Reply

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SLICE_BYTES = 64 * 1024


@dataclasses.dataclass(slots=True)
class Request:
    """A request, and how it was answered.

    Attributes:
        method: HTTP method.
        target: Path and query as sent.
        headers: By lower-case name.
        origin: The port that received it: `hub` or `host`.
        connection: The number of the connection, from 1, counted per port.
        file: The requested file, by its name in the repository; None for anything else.
        status: The status of the answer; 0 before it.
        sent: How many bytes of the body were sent so far.
    """

    method: str
    target: str
    headers: dict[str, str]
    origin: str
    connection: int
    file: str | None = None
    status: int = 0
    sent: int = 0

    @property
    def path(self) -> str:
        """The URL's path, unquoted."""
        return unquote(urlsplit(self.target).path)

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")

    @property
    def authorization(self) -> str | None:
        """The Authorization header."""
        return self.headers.get("authorization")


Answer = Callable[[Request], Reply]


class Server(http.server.ThreadingHTTPServer):
    """A port that answers with what a function returns.

    Args:
        origin: The `origin` of its recorded requests.
        answer: Called for each request, on the connection's thread.
        refuse: Called for each new connection; True resets it.
        tls: The server's TLS context, for https.
        address: The address that it listens on.

    Attributes:
        accepted: How many connections were accepted so far.
        peak: The highest number of connections that were open at once.
        released: If set, stalled replies continue.
    """

    daemon_threads = False
    request_queue_size = 128
    allow_reuse_address = False

    def __init__(
        self,
        origin: str,
        answer: Answer,
        refuse: Callable[[], bool],
        tls: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__((address, 0), _Connection)
        self._address = address
        self.origin = origin
        self.answer = answer
        self.accepted = 0
        self.peak = 0
        self.released = threading.Event()
        self._refuse = refuse
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """`http://ADDRESS:PORT`."""
        return f"{'https' if self._tls else 'http'}://{self._address}:{self.server_address[1]}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._open)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection, and wait for their threads."""
        self.shutdown()
        self._thread.join()
        self.released.set()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its TLS handshake happens on its own thread."""
        connection, address = super().get_request()
        with self._lock:
            self.accepted += 1
        if self._tls:
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Whether to accept a connection; a refused one is reset."""
        if self._refuse():
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            return False
        with self._lock:
            self._open.add(request)
            self.peak = max(self.peak, len(self._open))
        return True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.discard(request)
        # The base class shuts the connection down first, which would send a FIN before the reset.
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: tests make clients leave on purpose."""


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        """Number the connection."""
        super().setup()
        self.number = self.server.accepted

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are recorded, not printed."""

    def do_GET(self) -> None:
        """Answer a GET."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.server.origin, self.number)
        reply = self.server.answer(request)
        request.status = reply.status
        if reply.delay:
            self.server.released.wait(reply.delay)
        self._send_head(reply)
        if self.command == "GET":
            self._send_body(request, reply)

    do_HEAD = do_GET  # noqa: N815

    def _send_head(self, reply: Reply) -> None:
        headers = dict(reply.headers)
        if reply.framing == "length":
            headers.setdefault("Content-Length", str(reply.length + reply.shift))
        elif reply.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        if reply.framing == "close" or reply.ending == "close":
            self.close_connection = True
        if reply.framing == "close" or (self.close_connection and reply.ending == "keep"):
            headers["Connection"] = "close"
        reason = http.client.responses.get(reply.status, "Odd")
        lines = [f"HTTP/1.1 {reply.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def _send_body(self, request: Request, reply: Reply) -> None:
        start = time.monotonic()
        for block in _cut(_bytes_of(reply), reply):
            self._send_block(request, block, chunked=reply.framing == "chunked")
            if reply.rate:
                ahead = request.sent / reply.rate - (time.monotonic() - start)
                self.server.released.wait(max(ahead, 0))
        if reply.ending == "reset":
            self._reset()
        elif reply.ending == "stall":
            self._stall(request, reply)
        if reply.framing == "chunked":
            self.connection.sendall(b"0\r\n\r\n")

    def _send_block(self, request: Request, block: memoryview, *, chunked: bool) -> None:
        # Counted before sending: the client may read the bytes, and the test this count, before
        # this thread continues.
        request.sent += len(block)
        try:
            if chunked:
                self.connection.sendall(b"%x\r\n" % len(block))
            self.connection.sendall(block)
            if chunked:
                self.connection.sendall(b"\r\n")
        except OSError:
            request.sent -= len(block)
            raise

    def _reset(self) -> None:
        """Make the following close send an RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close_connection = True
        raise ConnectionAbortedError

    def _stall(self, request: Request, reply: Reply) -> None:
        while not self.server.released.wait(0.02):
            if _client_left(self.connection):
                raise ConnectionAbortedError
        rest = dataclasses.replace(reply, start=reply.start + request.sent, cut=None)
        for block in _bytes_of(rest):
            self._send_block(request, block, chunked=reply.framing == "chunked")


def _client_left(connection: socket.socket) -> bool:
    """Whether the client closed the connection, since it sends nothing during a reply."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable)


def _bytes_of(reply: Reply) -> Iterator[memoryview]:
    """The body, with its flipped and additional bytes."""
    offset = reply.start
    blocks = reply.content.blocks(reply.start, reply.stop) if reply.content is not None else ()
    for block in blocks:
        damaged = block
        for flip in reply.flips:
            if offset <= flip < offset + len(block):
                damaged = memoryview(bytearray(damaged))
                damaged[flip - offset] ^= 0xFF
        offset += len(block)
        yield from _slices(damaged, _SLICE_BYTES if reply.rate else len(block))
    yield from _slices(memoryview(b"\xee" * reply.extra), _SLICE_BYTES)


def _slices(block: memoryview, length: int) -> Iterator[memoryview]:
    for at in range(0, len(block), max(length, 1)):
        yield block[at : at + length]


def _cut(blocks: Iterator[memoryview], reply: Reply) -> Iterator[memoryview]:
    if reply.cut is None:
        yield from blocks
        return
    remaining = reply.cut
    for block in blocks:
        if remaining > 0:
            yield block[:remaining]
        remaining -= len(block)
        if remaining <= 0:
            return

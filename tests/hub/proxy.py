"""A forward proxy on loopback that records its requests."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.server
import selectors
import socket
import threading
from typing import Any, Self
from urllib.parse import urlsplit


@dataclasses.dataclass(frozen=True, slots=True)
class ProxyRequest:
    """A request of a client to the proxy.

    Attributes:
        method: `CONNECT`, or the method of a request to forward.
        target: `host:port` of a CONNECT, else the whole URL.
        headers: The headers by lower-case name.
    """

    method: str
    target: str
    headers: dict[str, str]


class Proxy(http.server.ThreadingHTTPServer):
    """A proxy for `HTTP_PROXY` and `HTTPS_PROXY` that tunnels CONNECT and forwards `GET http://…`.

    Args:
        credentials: The `user:password` that it requires (otherwise 407); None for none.
        address: The address that it listens on; pods cannot reach loopback.

    Attributes:
        requests: Its requests in the order of arrival.
    """

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, credentials: str | None = None, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), _Exchange)
        self.requests: list[ProxyRequest] = []
        self.credentials = credentials
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """`http://ADDRESS:PORT`, without credentials."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: tests make either side leave on purpose."""


class _Exchange(http.server.BaseHTTPRequestHandler):
    # One request a connection, so that no thread waits for another request when the test ends.
    protocol_version = "HTTP/1.0"
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are recorded, not printed."""

    def _admit(self) -> bool:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(ProxyRequest(self.command, self.path, headers))
        wanted = self.server.credentials
        if wanted is None:
            return True
        expected = "Basic " + base64.b64encode(wanted.encode()).decode()
        if headers.get("proxy-authorization") == expected:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self) -> None:
        """Open a tunnel."""
        if self._admit():
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as upstream:
                self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._pump(upstream)

    def do_GET(self) -> None:
        """Forward one request and its reply."""
        if self._admit():
            url = urlsplit(self.path)
            target = url.path + (f"?{url.query}" if url.query else "")
            lines = [f"{self.command} {target or '/'} HTTP/1.1", "Connection: close"]
            lines += [
                f"{name}: {value}"
                for name, value in self.headers.items()
                if name.lower() not in ("proxy-authorization", "proxy-connection", "connection")
            ]
            address = (url.hostname or "", url.port or 80)
            with socket.create_connection(address, timeout=10) as upstream:
                upstream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
                self._pump(upstream)

    do_HEAD = do_GET  # noqa: N815

    def _pump(self, upstream: socket.socket) -> None:
        """Copy bytes in both directions until a side closes or the proxy stops."""
        other = {self.connection: upstream, upstream: self.connection}
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            for side in other:
                selector.register(side, selectors.EVENT_READ)
            while not self.server.stopping.is_set():
                for key, _ in selector.select(0.05):
                    side = key.fileobj
                    assert isinstance(side, socket.socket)
                    data = side.recv(256 * 1024)
                    if not data:
                        return
                    other[side].sendall(data)

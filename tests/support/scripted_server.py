"""An HTTP server that gives the answers of a script, and remembers the requests it got."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "AlreadyExists",
    422: "Invalid",
    500: "InternalError",
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        status: HTTP status; 0 closes the connection without an answer.
        body: The body.
        length: The Content-Length in the headers; None for the true length.
        headers: More headers.
        gate: If given, the answer is sent only when this event is set.
        after: If given, the connection stays open until this event is set.
    """

    status: int = 200
    body: bytes = b"{}"
    length: int | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    gate: threading.Event | None = None
    after: threading.Event | None = None


def json_answer(obj: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with a JSON object."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(obj).encode(), headers=named)


def refusal(status: int, message: str, reason: str = "", **details: Any) -> Answer:
    """A refusal by an API server: a `Status` object."""
    status_object = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    cause = {"reason": reason or STATUS.get(status, ""), "code": status, "details": details}
    return json_answer(status_object | cause, status)


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that the server got."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


class ApiServer(ThreadingHTTPServer):
    """A server that gives the answers of `script` in order, and repeats the last one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.script: list[Answer] = [Answer()]
        self.requests: list[Request] = []
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Talk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.requests.append(Request(self.command, self.path, body, headers))
            script = self.server.script
            answer = script.pop(0) if len(script) > 1 else script[0]
        if answer.gate:
            answer.gate.wait(10)
        if not answer.status:
            self.close_connection = True
            return
        self.send_response(answer.status)
        length = len(answer.body) if answer.length is None else answer.length
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.after:
            answer.after.wait(10)
        self.close_connection = length != len(answer.body)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """The tests assert on `requests`."""


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[ApiServer]:
    """An API server, with TLS if it gets a context."""
    with ApiServer() as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.url = server.url.replace("http:", "https:")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

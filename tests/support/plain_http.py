"""Plain HTTP requests to a server that a test started, without a client library."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


@dataclasses.dataclass(frozen=True)
class Reply:
    """A server's reply: status, headers by lower-case name, and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class HttpServer:
    """A server that runs, known by its base URL."""

    url: str

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection; the caller closes it."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """Send one request on a connection of its own; the path is sent exactly as given."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, response.read())

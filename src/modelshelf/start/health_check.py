"""Whether an engine is ready, by its health path."""

from __future__ import annotations

import contextlib
import http.client
import urllib.parse


def is_healthy(url: str, timeout_seconds: float) -> bool:
    """Whether a URL such as `http://127.0.0.1:8000/health` answers 200 now.

    The request goes to the address itself. `urllib.request` would send it to a proxy, if the
    environment names one.

    Args:
        url: The URL.
        timeout_seconds: How long the server may take for its answer.
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_seconds)
    with contextlib.closing(connection):
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

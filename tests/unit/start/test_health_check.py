"""Health checks."""

from __future__ import annotations

import http.server
import threading

import pytest

from modelshelf.start.health_check import is_healthy


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_only_a_200_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another status is not healthy, nor is a closed port; a proxy is not asked."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert is_healthy(f"{url}/health", 5.0)
        assert not is_healthy(f"{url}/loading", 5.0)
        server.shutdown()
    assert not is_healthy(f"{url}/health", 5.0)

"""Ports and addresses on this machine."""

from __future__ import annotations

import socket

import pytest

from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.targets.local.ports import base_url, free_port, require_port


def test_a_port_in_use_is_an_error() -> None:
    """The error names the port, and the hint says what to do; a free port is accepted."""
    require_port("127.0.0.1", free_port("127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(TargetError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            require_port("127.0.0.1", port)
    assert "another --port" in caught.value.hint


def test_impossible_ports_and_addresses_are_refused() -> None:
    """A wrong port is an error of usage, another machine's address an error of the target."""
    with pytest.raises(UsageError, match="70000 is not a port"):
        require_port("127.0.0.1", 70_000)
    with pytest.raises(TargetError, match=r"cannot listen on port 8000 of 192\.0"):
        require_port("192.0.2.1", 8000)
    with pytest.raises(TargetError, match=r"of 192\.0\.2\.1"):
        free_port("192.0.2.1")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
    ],
)
def test_base_urls_can_be_used_on_this_machine(host: str, url: str) -> None:
    """An address that stands for all becomes loopback, and IPv6 addresses get brackets."""
    assert base_url(host, 80) == url

"""Ports and addresses on this machine."""

from __future__ import annotations

import errno
import os
import socket

from modelshelf.engines.listening_sockets import bind_errno, connectable_address
from modelshelf.shelf.errors import TargetError, UsageError

_MAX_PORT = 65_535


def free_port(host: str) -> int:
    """Find a port that no process listens on now.

    Another process may listen on it before it is used.

    Raises:
        TargetError: This machine does not have the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise _listen_error(host, 0, error.errno or errno.EINVAL) from error


def require_port(host: str, port: int) -> None:
    """Check that a server can listen on a port, before anything is started.

    Raises:
        UsageError: The number is not a port.
        TargetError: Another process listens there, or this user may not.
    """
    if not 0 <= port <= _MAX_PORT:
        raise UsageError(
            f"{port} is not a port", hint=f"ports go up to {_MAX_PORT}; 0 chooses a free one"
        )
    error_number = bind_errno(host, port)
    if error_number:
        raise _listen_error(host, port, error_number)


def base_url(host: str, port: int) -> str:
    """The URL at which clients on this machine reach a server with this host and port."""
    address, port = connectable_address((host, port))
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _listen_error(host: str, port: int, error_number: int) -> TargetError:
    if error_number == errno.EADDRINUSE:
        return TargetError(
            f"port {port} of {host} is in use",
            hint="stop the process that listens there, or give another --port (0 chooses one)",
        )
    return TargetError(
        f"this user cannot listen on port {port} of {host}: {os.strerror(error_number)}",
        hint="give an address of this machine, and a port above 1023",
    )

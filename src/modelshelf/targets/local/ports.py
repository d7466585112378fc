"""Ports and addresses on this machine."""

from __future__ import annotations

import errno
import os
import socket

from modelshelf.engines.listening import bind_errno, reachable
from modelshelf.shelf.errors import TargetError, UsageError

_HIGHEST = 65_535


def free_port(host: str) -> int:
    """A port that nobody listens on now; somebody may before it is used.

    Raises:
        TargetError: The address is not one of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise _cannot_listen(host, 0, error.errno or errno.EINVAL) from error


def require_port(host: str, port: int) -> None:
    """Find out before anything is started whether a server may listen on a port.

    Raises:
        UsageError: It is no port.
        TargetError: Somebody else listens there, or this user may not.
    """
    if not 0 <= port <= _HIGHEST:
        raise UsageError(f"{port} is not a port", hint=f"ports go up to {_HIGHEST}; 0 finds one")
    number = bind_errno(host, port)
    if number:
        raise _cannot_listen(host, port, number)


def url_of(host: str, port: int) -> str:
    """The base URL under which a server that listens there can be reached from this machine."""
    address, port = reachable((host, port))
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _cannot_listen(host: str, port: int, number: int) -> TargetError:
    if number == errno.EADDRINUSE:
        return TargetError(
            f"port {port} of {host} is in use",
            hint="stop what listens there, or give another --port (0 finds a free one)",
        )
    return TargetError(
        f"this user cannot listen on port {port} of {host}: {os.strerror(number)}",
        hint="give an address of this machine, and a port above 1023",
    )

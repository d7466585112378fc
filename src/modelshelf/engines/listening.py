"""The sockets of a server that runs inside this process and does not let itself be asked."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator

_OF_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked for by the user


def bind_errno(host: str, port: int) -> int:
    """Why no server could listen on a port now, as an errno; 0 if one could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier one that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def connections(port: int) -> int:
    """How many connections this process has accepted on a port and not closed."""
    return sum(not listens for _, listens, _ in _sockets(port))


def stop_listening(port: int) -> None:
    """Refuse new connections on a port from now on, and leave those that are there alone.

    The thread that accepts is inside `accept` and must not see an error, or its server would end
    all connections. So another listening socket, which nobody knows, takes the place of the one
    that clients know; a last connection of our own leads the thread to it.
    """
    for descriptor, listens, address in list(_sockets(port)):
        if not listens:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as unknown:
            unknown.bind(("127.0.0.1", 0))
            unknown.listen(1)
            os.dup2(unknown.fileno(), descriptor, inheritable=False)
        with contextlib.suppress(OSError):
            socket.create_connection(reachable(address), timeout=1).close()


def reachable(address: tuple[str, int]) -> tuple[str, int]:
    """Where a server that listens on an address, maybe on all of the host's, can be reached."""
    return _OF_ALL.get(address[0], address[0]), address[1]


def _sockets(port: int) -> Iterator[tuple[int, bool, tuple[str, int]]]:
    """This process's TCP sockets with a local port: descriptor, whether it listens, address."""
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            # A copy, since the server may close its own at any time.
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                if copy.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                address = copy.getsockname()[:2]
                listens = bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            continue
        if address[1] == port:
            yield descriptor, listens, address

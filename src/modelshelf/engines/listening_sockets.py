"""The sockets of a server that runs inside this process and that has no interface for them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator

# An address that stands for all addresses → the loopback address that reaches it.
_LOOPBACK_OF_WILDCARD = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the user asks for it


def bind_errno(host: str, port: int) -> int:
    """The errno with which a server would fail to listen on a port now; 0 if it could listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Servers set this option too. Lingering connections of an earlier server do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def count_connections(port: int) -> int:
    """Count the connections that this process has accepted on a port and not closed."""
    return sum(not listens for _, listens, _ in _tcp_sockets(port))


def stop_listening(port: int) -> None:
    """Refuse new connections on a port from now on, and keep those that are open.

    The server's thread is blocked in `accept`. Closing its listening socket would make `accept`
    fail, and the server would then end all connections. So another listening socket, on a port
    that no client knows, takes over the same file descriptor. One last connection to the old
    address ends the `accept` that is blocked; the thread's next one waits on the new socket.
    """
    for descriptor, listens, address in list(_tcp_sockets(port)):
        if not listens:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as replacement:
            replacement.bind(("127.0.0.1", 0))
            replacement.listen(1)
            os.dup2(replacement.fileno(), descriptor, inheritable=False)
        with contextlib.suppress(OSError):
            socket.create_connection(connectable_address(address), timeout=1).close()


def connectable_address(address: tuple[str, int]) -> tuple[str, int]:
    """The address at which clients on this machine reach a server that listens on `address`."""
    return _LOOPBACK_OF_WILDCARD.get(address[0], address[0]), address[1]


def _tcp_sockets(port: int) -> Iterator[tuple[int, bool, tuple[str, int]]]:
    """This process's TCP sockets with a local port: descriptor, whether it listens, address."""
    for name in os.listdir("/dev/fd"):
        descriptor = int(name)
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            # Look at a duplicate, since the server may close its own descriptor at any time.
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                if copy.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                address = copy.getsockname()[:2]
                listens = bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            continue
        if address[1] == port:
            yield descriptor, listens, address

"""`run`: serves a shelf on a port until it is stopped."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket

from modelshelf.mirror.events import MirrorListening
from modelshelf.shelf.errors import Error, TargetError, UsageError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.shelf import Shelf

_REQUIRED_PACKAGES = ("starlette", "uvicorn")
_MAX_PORT = 65_535
# A client cannot connect to the address that means all addresses, so the URL names loopback.
_LOOPBACK_FOR = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here


def run(shelf: Shelf, host: str, port: int, listener: Listener = ignore) -> None:
    """Serve a shelf until SIGTERM or SIGINT. Answers under way then get three seconds to finish.

    Args:
        shelf: The shelf to serve.
        host: The name or address to listen on; `0.0.0.0` or `::` for all addresses.
        port: The port; 0 for a free one.
        listener: Hears `MirrorListening` once connections are accepted.

    Raises:
        UsageError: The extra `mirror` is not installed, the host is unknown, or the port is not
            between 0 and 65535.
        TargetError: The port is in use, or this user may not listen on it.
    """
    _require_extra()
    from modelshelf.mirror.app import make_app  # noqa: PLC0415 - an optional dependency
    from modelshelf.mirror.http_server import HttpServer  # noqa: PLC0415

    with _bind(host, port) as bound:
        url = _url(host, bound)
        server = HttpServer(make_app(shelf), lambda: listener(MirrorListening(url)))
        server.run(sockets=[bound])


def _require_extra() -> None:
    missing = [name for name in _REQUIRED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the mirror needs {' and '.join(missing)}, which are not installed here",
            hint="pip install 'modelshelf[mirror]'",
        )


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= _MAX_PORT:
        raise UsageError(f"{port} is not a port", hint="use 1 to 65535, or 0 for a free one")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(
            f"{host!r} is not the name or address of a host", hint="127.0.0.1 is this machine only"
        ) from error
    except OSError as error:
        raise _explain(error, host, port) from error


def _explain(error: OSError, host: str, port: int) -> Error:
    if error.errno == errno.EADDRINUSE:
        return TargetError(
            f"port {port} on {host} is taken", hint="choose another --port; 0 finds a free one"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return TargetError(
            f"user {os.geteuid()} may not listen on port {port}", hint="use a --port above 1023"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return TargetError(
        f"cannot listen on {host} port {port}: {reason}", hint="choose another --host"
    )


def _url(host: str, bound: socket.socket) -> str:
    port = bound.getsockname()[1]
    name = _LOOPBACK_FOR.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

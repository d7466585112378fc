"""HTTP connections of one thread: kept alive, through proxies, with redirects followed by hand.

`http.client` knows neither proxies from the environment nor redirects; `urllib` follows redirects
but hands Authorization to other hosts.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import functools
import http.client
import os
import socket
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping

from modelshelf.shelf.errors import SourceError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 8
_SECURE = "https"


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A URL and the headers that may be sent there.

    Attributes:
        url: Absolute; may be signed, so it is never shown.
        headers: Without Authorization where the URL has left the source's own origin.
    """

    url: str = dataclasses.field(repr=False)
    headers: tuple[tuple[str, str], ...] = dataclasses.field(repr=False, default=())

    @property
    def origin(self) -> tuple[str, str]:
        """Scheme and host with port."""
        parts = urllib.parse.urlsplit(self.url)
        return parts.scheme, parts.netloc

    def redirected(self, location: str) -> Target:
        """Where a reply's Location leads; another origin gets no Authorization and no cookie.

        Raises:
            SourceError: It does not lead anywhere over HTTP.
        """
        try:
            there = Target(urllib.parse.urljoin(self.url, location), self.headers)
            usable = there.origin[0] in ("http", _SECURE)
        except ValueError:
            usable = False
        if not usable:
            raise SourceError(f"{self.origin[1]} redirects to something that is no URL of HTTP")
        if there.origin == self.origin:
            return there
        kept = tuple(h for h in self.headers if h[0].lower() not in ("authorization", "cookie"))
        return dataclasses.replace(there, headers=kept)


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """An answered request whose body is still to be read, and the target that answered."""

    response: http.client.HTTPResponse
    target: Target


class Connections:
    """One thread's connections, one for each origin.

    Args:
        timeout: Seconds without a byte after which a request fails.
        ca_file: Certificates to trust besides the system's; None for none.

    Attributes:
        connecting: Whether a connection is being made at the moment.
    """

    def __init__(self, timeout: float, ca_file: str | None = None) -> None:
        self._timeout = timeout
        self._ca_file = ca_file
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._cut = False
        self.connecting = False

    def get(self, target: Target, extra: Mapping[str, str]) -> Reply:
        """Send a GET and follow where it leads.

        Args:
            target: Where to send it.
            extra: More headers, sent at every hop.

        Raises:
            OSError, http.client.HTTPException: The connection failed; it is closed.
            SourceError: The redirects lead nowhere.
        """
        for _ in range(_HOPS):
            reply = Reply(self._request(target, extra), target)
            location = reply.response.getheader("Location")
            if reply.response.status not in _REDIRECTS or not location:
                return reply
            self.finish(reply)
            target = target.redirected(location)
        raise SourceError(f"{target.origin[1]} redirects more than {_HOPS} times")

    def _request(self, target: Target, extra: Mapping[str, str]) -> http.client.HTTPResponse:
        fresh = target.origin not in self._open
        try:
            return self._send(target, extra)
        except (http.client.RemoteDisconnected, ConnectionError):
            # A server may close an idle connection at any time: that says nothing about it.
            if fresh:
                raise
            return self._send(target, extra)

    def _send(self, target: Target, extra: Mapping[str, str]) -> http.client.HTTPResponse:
        connection = self._connection(target.origin)
        try:
            if connection.sock is None:
                self._connect(connection)
            # A reply that ends with its connection takes the socket from it.
            self._socket = connection.sock
            if self._cut:
                raise ConnectionAbortedError(errno.ECONNABORTED, "stopped")  # noqa: TRY301
            headers = {**dict(target.headers), **extra}
            connection.request("GET", _request_line(target.url), headers=headers)
            self._response = connection.getresponse()
            return self._response
        except BaseException:
            self.drop(target)
            raise

    def _connection(self, origin: tuple[str, str]) -> http.client.HTTPConnection:
        if origin not in self._open:
            self._open[origin] = connect(origin, self._timeout, self._ca_file)
        return self._open[origin]

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        self.connecting = True
        try:
            connection.connect()
        finally:
            self.connecting = False

    def finish(self, reply: Reply) -> None:
        """Make a connection ready for the next request, by reading on where little is left."""
        if reply.response.isclosed() and not reply.response.will_close:
            return
        left = reply.response.length
        if left is not None and left <= _SMALL and not reply.response.will_close:
            with contextlib.suppress(OSError, http.client.HTTPException):
                reply.response.read()
                return
        self.drop(reply.target)

    def drop(self, target: Target) -> None:
        """Close the connection to a target's origin."""
        self._leave()
        connection = self._open.pop(target.origin, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        self._leave()
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _leave(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def cut(self) -> None:
        """Make a wait for bytes here fail at once, and every later request; for other threads."""
        self._cut = True
        waiting = self._socket
        if waiting is not None:
            with contextlib.suppress(OSError):
                # Not the TLS socket's own method, which pulls its state from under the reader.
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)


_SMALL = 64 * 1024


def connect(
    origin: tuple[str, str], timeout: float, ca_file: str | None
) -> http.client.HTTPConnection:
    """An unopened connection to an origin, through the proxy that the environment names for it.

    Raises:
        SourceError: The proxy's URL cannot be used.
    """
    scheme, netloc = origin
    host = netloc.rpartition("@")[2]
    proxy = proxy_for(scheme, host)
    # Reading certificates takes longer than many a request, so only where they are needed.
    context = tls_context(ca_file) if scheme == _SECURE else None
    if proxy is None:
        if context is not None:
            return http.client.HTTPSConnection(netloc, timeout=timeout, context=context)
        return http.client.HTTPConnection(netloc, timeout=timeout)
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise SourceError(
            f"the proxy for {host} is not an http:// proxy", hint=f"correct {scheme}_proxy"
        )
    headers = _proxy_authorization(parts)
    address = parts.netloc.rpartition("@")[2]
    if context is not None:
        tunnel = http.client.HTTPSConnection(address, timeout=timeout, context=context)
        tunnel.set_tunnel(netloc, headers=headers)
        return tunnel
    return _ForwardingConnection(address, f"{scheme}://{netloc}", headers, timeout)


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for a host; None for none.

    Args:
        scheme: `http` or `https`.
        host: With or without a port, which NO_PROXY may name.
    """
    proxy = urllib.request.getproxies().get(scheme)
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    return proxy


def _proxy_authorization(parts: urllib.parse.SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


class _ForwardingConnection(http.client.HTTPConnection):
    """A connection to a proxy that is asked for absolute URLs (RFC 9112, 3.2.2)."""

    def __init__(
        self, address: str, origin: str, headers: Mapping[str, str], timeout: float
    ) -> None:
        super().__init__(address, timeout=timeout)
        self._origin = origin
        self._headers = headers

    def putrequest(self, method: str, url: str, **skip: bool) -> None:  # type: ignore[override]
        super().putrequest(method, self._origin + url, skip_host=True, **_only_encoding(skip))
        self.putheader("Host", urllib.parse.urlsplit(self._origin).netloc)
        for name, value in self._headers.items():
            self.putheader(name, value)


def _only_encoding(skip: Mapping[str, bool]) -> dict[str, bool]:
    return {k: v for k, v in skip.items() if k == "skip_accept_encoding"}


def _request_line(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{parts.query}" if parts.query else path


@functools.cache
def tls_context(fallback: str | None = None) -> ssl.SSLContext:
    """The certificates to trust: REQUESTS_CA_BUNDLE or SSL_CERT_FILE, else the system's.

    Args:
        fallback: A bundle to trust besides the system's where neither variable is set.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    try:
        if bundle:
            if os.path.isdir(bundle):
                return ssl.create_default_context(capath=bundle)
            return ssl.create_default_context(cafile=bundle)
        context = ssl.create_default_context()
        if fallback:
            context.load_verify_locations(fallback)
    except OSError as error:
        raise SourceError(
            f"the certificates in {bundle or fallback} cannot be read: {error.strerror}",
            hint="correct REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
        ) from error
    return context

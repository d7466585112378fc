"""HTTP connections of one thread: they are kept alive, use proxies, and follow redirects.

`http.client` knows neither redirects nor the proxies that the environment names. `urllib` knows
both, but it makes a new connection for each request, and when it follows a redirect it sends the
Authorization header to the other host, too.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import functools
import http.client
import ipaddress
import os
import socket
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping

from modelshelf.shelf.errors import SourceError

_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 8
_MAX_DRAIN_BYTES = 64 * 1024  # of a body, read only to use its connection again
_HTTPS = "https"


@dataclasses.dataclass(frozen=True, slots=True)
class HttpTarget:
    """A URL and the headers that may be sent there.

    Attributes:
        url: An absolute URL. It may be signed, so it is never shown.
        headers: Without Authorization if the URL is not on the source's own origin any more.
    """

    url: str = dataclasses.field(repr=False)
    headers: tuple[tuple[str, str], ...] = dataclasses.field(repr=False, default=())

    @property
    def origin(self) -> tuple[str, str]:
        """Scheme and host with port."""
        parts = urllib.parse.urlsplit(self.url)
        return parts.scheme, parts.netloc

    def redirected(self, location: str) -> HttpTarget:
        """Where a reply's Location header leads.

        Another origin gets no Authorization and no cookie.

        Raises:
            SourceError: It is no URL of HTTP.
        """
        try:
            target = HttpTarget(urllib.parse.urljoin(self.url, location), self.headers)
            usable = target.origin[0] in ("http", _HTTPS)
        except ValueError:
            usable = False
        if not usable:
            raise SourceError(f"{self.origin[1]} redirects to something that is no URL of HTTP")
        if target.origin == self.origin:
            return target
        public = tuple(h for h in self.headers if h[0].lower() not in ("authorization", "cookie"))
        return dataclasses.replace(target, headers=public)


@dataclasses.dataclass(frozen=True, slots=True)
class HttpReply:
    """A response whose body is still to be read.

    Attributes:
        response: Status, headers and body.
        target: The URL that answered, behind all redirects.
    """

    response: http.client.HTTPResponse
    target: HttpTarget


class Connections:
    """The connections of one thread, one for each origin.

    Args:
        timeout: Seconds without a byte, after which a request fails.
        ca_file: Certificates to trust besides the system's; None for none.

    Attributes:
        connecting: Whether a connection is being established at the moment.
        last_host: The host, with its port, that the last request was sent to; empty before.
    """

    def __init__(self, timeout: float, ca_file: str | None = None) -> None:
        self._timeout = timeout
        self._ca_file = ca_file
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._aborted = False
        self.connecting = False
        self.last_host = ""

    def get(self, target: HttpTarget, extra_headers: Mapping[str, str]) -> HttpReply:
        """Send a GET, and follow redirects.

        Args:
            target: Where to send it.
            extra_headers: More headers, also sent to every URL that a redirect leads to.

        Raises:
            OSError, http.client.HTTPException: The connection failed; it is closed.
            SourceError: A redirect leads nowhere, or there are too many.
        """
        for _ in range(_MAX_REDIRECTS):
            reply = HttpReply(self._request(target, extra_headers), target)
            location = reply.response.getheader("Location")
            if reply.response.status not in _REDIRECT_STATUSES or not location:
                return reply
            self.finish(reply)
            target = target.redirected(location)
        raise SourceError(f"{target.origin[1]} redirects more than {_MAX_REDIRECTS} times")

    def _request(
        self, target: HttpTarget, extra_headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        fresh = target.origin not in self._open
        try:
            return self._send(target, extra_headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            # A server may close an idle connection at any time. So the failure of a connection
            # that was used before does not mean that the server fails.
            if fresh:
                raise
            return self._send(target, extra_headers)

    def _send(
        self, target: HttpTarget, extra_headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        self.last_host = target.origin[1].rpartition("@")[2]
        connection = self._connection(target.origin)
        try:
            if connection.sock is None:
                self._connect(connection)
            # Kept for `abort`: if a reply ends with its connection, http.client moves the socket
            # from the connection into the response.
            self._socket = connection.sock
            if self._aborted:
                raise ConnectionAbortedError(errno.ECONNABORTED, "stopped")  # noqa: TRY301
            headers = {**dict(target.headers), **extra_headers}
            connection.request("GET", _request_line(target.url), headers=headers)
            self._response = connection.getresponse()
            return self._response
        except BaseException:
            self.drop(target)
            raise

    def _connection(self, origin: tuple[str, str]) -> http.client.HTTPConnection:
        if origin not in self._open:
            self._open[origin] = make_connection(origin, self._timeout, self._ca_file)
        return self._open[origin]

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        self.connecting = True
        try:
            connection.connect()
        finally:
            self.connecting = False

    def finish(self, reply: HttpReply) -> None:
        """Make a connection ready for the next request, or close it.

        The rest of a body must be read before the connection can be used again. That is faster
        than a new connection if the rest is short.
        """
        if reply.response.isclosed() and not reply.response.will_close:
            return
        remaining = reply.response.length
        if (
            remaining is not None
            and remaining <= _MAX_DRAIN_BYTES
            and not reply.response.will_close
        ):
            with contextlib.suppress(OSError, http.client.HTTPException):
                reply.response.read()
                return
        self.drop(reply.target)

    def drop(self, target: HttpTarget) -> None:
        """Close the connection to a target's origin."""
        self._close_response()
        connection = self._open.pop(target.origin, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        self._close_response()
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _close_response(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def abort(self) -> None:
        """Make all requests fail at once, also one that waits for bytes. For other threads.

        Closing a socket does not wake a thread that is blocked in recv(2) on it; shutting it down
        does.
        """
        self._aborted = True
        current = self._socket
        if current is not None:
            with contextlib.suppress(OSError):
                # The base class's method: that of ssl.SSLSocket would also drop the TLS state,
                # which the reading thread is using.
                socket.socket.shutdown(current, socket.SHUT_RDWR)


def make_connection(
    origin: tuple[str, str], timeout: float, ca_file: str | None
) -> http.client.HTTPConnection:
    """Make a connection to an origin, through the proxy that the environment names for it.

    It is not open yet.

    Raises:
        SourceError: The proxy's URL cannot be used.
    """
    scheme, netloc = origin
    host = netloc.rpartition("@")[2]
    proxy = proxy_for(scheme, host)
    # Loading certificates takes longer than many requests, so it is done only if they are needed.
    context = tls_context(ca_file) if scheme == _HTTPS else None
    if proxy is None:
        if context is not None:
            return http.client.HTTPSConnection(netloc, timeout=timeout, context=context)
        return http.client.HTTPConnection(netloc, timeout=timeout)
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise SourceError(
            f"the proxy for {host} is not an http:// proxy",
            hint=f"correct {scheme}_proxy or all_proxy; proxies of other kinds, such as SOCKS, "
            "cannot be used",
        )
    headers = _proxy_authorization(parts)
    address = parts.netloc.rpartition("@")[2]
    if context is not None:
        tunnel = http.client.HTTPSConnection(address, timeout=timeout, context=context)
        tunnel.set_tunnel(netloc, headers=headers)
        return tunnel
    return _ForwardingConnection(address, f"{scheme}://{netloc}", headers, timeout)


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for a host.

    Args:
        scheme: `http` or `https`.
        host: With or without a port, which NO_PROXY may name.

    Returns:
        None for no proxy.
    """
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    return None if _is_in_networks(host, proxies.get("no", "")) else proxy


def _is_in_networks(host: str, no_proxy: str) -> bool:
    """Whether an address is in a network that NO_PROXY lists, such as `10.0.0.0/8`.

    `urllib.request.proxy_bypass` knows names and addresses, and no networks.
    """
    try:
        address = ipaddress.ip_address(urllib.parse.urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    for entry in no_proxy.split(","):
        with contextlib.suppress(ValueError):
            if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
    return False


def split_userinfo(url: str) -> tuple[str, str | None]:
    """Split the user and the password off a URL (RFC 3986, 3.2.1).

    Returns:
        The URL without them; then the value of an Authorization header that sends them (RFC 7617),
        or None if the URL has none.
    """
    parts = urllib.parse.urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urllib.parse.urlunsplit(plain), _basic_authorization(parts)


def _basic_authorization(parts: urllib.parse.SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _proxy_authorization(parts: urllib.parse.SplitResult) -> dict[str, str]:
    authorization = _basic_authorization(parts)
    return {} if authorization is None else {"Proxy-Authorization": authorization}


class _ForwardingConnection(http.client.HTTPConnection):
    """A connection to a proxy for plain HTTP, which gets absolute URLs (RFC 9112, 3.2.2)."""

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
    """The certificates to trust: those of REQUESTS_CA_BUNDLE or SSL_CERT_FILE, else the system's.

    Args:
        fallback: A bundle to trust besides the system's if neither variable is set.

    Raises:
        SourceError: The certificates cannot be read.
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

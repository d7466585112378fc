"""HTTP requests to an API server: credentials, retries, and the errors that failures become.

This is the only module that imports lightkube, whose client knows how to authenticate, and httpx2.
No exception of theirs leaves it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator

import httpx2
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from modelshelf.kube import plugins
from modelshelf.kube.calls import Call
from modelshelf.kube.kubeconfig import KubeContext
from modelshelf.kube.refusals import UnreachableError, error_for, is_transient
from modelshelf.shelf.errors import UsageError
from modelshelf.transfer.retries import Backoff, parse_retry_after

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0  # the API server itself gives up after as many
_RETRIES = Backoff(max_tries=4, first_seconds=0.4, max_seconds=10.0)


@dataclasses.dataclass(frozen=True, slots=True)
class RawResponse:
    """The answer to a single request, whatever its status is.

    Attributes:
        status: The HTTP status.
        body: The whole body.
    """

    status: int
    body: bytes


class Connection:
    """The connections of one user to an API server. Several threads may use it at once.

    Attributes:
        server: The API server's base URL.
        context: The name of the kubeconfig's context.
        calls: How many HTTP requests were sent so far, repeated ones included.
    """

    def __init__(
        self,
        chosen: KubeContext,
        sleep: Callable[[float], None] = time.sleep,
        http: httpx2.Client | None = None,
    ) -> None:
        """Prepare the connections; nothing is sent yet.

        Args:
            chosen: The cluster, and the credentials for it.
            sleep: Waits some seconds before a request is repeated.
            http: The HTTP client to send with; None for one that has the context's credentials.
                Tests give one whose requests are answered in memory.

        Raises:
            UsageError: The credentials in the context cannot be used.
            TargetError: The program that gives the credentials failed.
        """
        self.server = chosen.server
        self.context = chosen.name
        self.calls = 0
        self._http = http or _open(chosen)
        self._sleep = sleep
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def send(self, call: Call) -> bytes:
        """Send a request, several times where that is safe, until it succeeds.

        Args:
            call: The request.

        Returns:
            The body of the answer.

        Raises:
            TargetError: The request was refused, or no answer came.
        """
        return self._send_with_retries(call, read=_ANSWER_SECONDS, stream=False).content

    def stream_lines(self, call: Call, *, follow: bool, idle: float | None) -> Iterator[str]:
        """Send a request, and read the body of the answer line by line as it arrives.

        Args:
            call: The request.
            follow: Whether the body goes on until the connection is lost.
            idle: While following, the connection counts as lost after so many seconds without a
                byte; None for never.

        Raises:
            TargetError: The request was refused, or no answer came.
        """
        read = idle if follow else _ANSWER_SECONDS
        try:
            response = self._send_with_retries(call, read=read, stream=True)
        except UnreachableError as error:
            # The server sends its headers together with the first line. So a read timeout here
            # means that there was no line yet.
            if follow and isinstance(error.__cause__, httpx2.ReadTimeout):
                return
            raise
        with contextlib.closing(response):
            try:
                yield from _lines(response.iter_bytes())
            except httpx2.HTTPError as error:
                if not follow:
                    raise self._unreachable_error(error) from error

    def send_once(self, call: Call, timeout: float) -> RawResponse:
        """Send a request once, and return the answer whatever its status is.

        Args:
            call: The request.
            timeout: How many seconds may pass between two bytes of the answer.

        Raises:
            UnreachableError: No answer came.
        """
        try:
            response = self._send(call, read=timeout, stream=False)
        except httpx2.HTTPError as error:
            raise self._unreachable_error(error) from error
        return RawResponse(response.status_code, response.content)

    def _send_with_retries(
        self, call: Call, *, read: float | None, stream: bool
    ) -> httpx2.Response:
        for failures in range(1, _RETRIES.max_tries + 1):
            last = failures == _RETRIES.max_tries
            wait: float | None = None
            try:
                response = self._send(call, read=read, stream=stream)
                if response.is_success:
                    return response
                with contextlib.closing(response):
                    wait = self._check_refusal(call, response, last=last)
            except httpx2.HTTPError as error:
                is_silent = stream and isinstance(error, httpx2.ReadTimeout)
                if last or is_silent or not _may_be_repeated(call, error):
                    raise self._unreachable_error(error) from error
            self._sleep(_RETRIES.wait_seconds(failures, random.random(), wait))  # noqa: S311
        raise AssertionError("the last try returns or raises")

    def _check_refusal(self, call: Call, response: httpx2.Response, *, last: bool) -> float | None:
        """Raise the error that a refusal means, unless another try may succeed.

        Returns:
            Seconds to wait before the next try, where the server named them.
        """
        status, body = response.status_code, response.read()
        error = error_for(call, self.server, self.context, status, body)
        if not is_transient(call, status, body):
            raise error
        if last:
            raise UnreachableError(str(error), hint=self._readiness_hint())
        return parse_retry_after(response.headers.get("retry-after"))

    def _send(self, call: Call, *, read: float | None, stream: bool) -> httpx2.Response:
        with self._lock:
            self.calls += 1
        try:
            request = self._http.build_request(
                call.method,
                call.path,
                params=call.params or None,
                content=call.body,
                headers=dict(call.headers),
                timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS, read=read),
            )
            return self._http.send(request, stream=stream)
        except (ConfigError, OSError, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
            # Nothing was sent. The library's message may quote the token, so it is used only for
            # errors that do not.
            what = "a token or path with characters that HTTP forbids"
            if isinstance(error, ConfigError | OSError):
                what = str(error)
            raise UsageError(
                f"{self.server} (context {self.context}) cannot be asked: {what}",
                hint="check this context's user in the kubeconfig",
            ) from None

    def _readiness_hint(self) -> str:
        return f"check that the cluster is up: `kubectl --context {self.context} get --raw /readyz`"

    def _unreachable_error(self, error: httpx2.HTTPError) -> UnreachableError:
        hint = self._readiness_hint()
        if _is_about_certificate(error):
            hint = "check certificate-authority of this cluster in the kubeconfig"
        return UnreachableError(
            f"{self.server} (context {self.context}) cannot be reached: "
            f"{str(error) or type(error).__name__}",
            hint=hint,
        )


def _may_be_repeated(call: Call, error: httpx2.HTTPError) -> bool:
    if _is_about_certificate(error):
        return False
    # A request that never reached the server had no effect there. After any other failure a POST
    # may have created its object, and would create a second one.
    unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
    return unsent or (call.method != "POST" and isinstance(error, httpx2.TransportError))


def _is_about_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    r"""Split at `\n` alone.

    httpx2's own lines also end at characters such as U+2028, which JSON may hold unescaped.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")


def _open(chosen: KubeContext) -> httpx2.Client:
    """Make an HTTP client that has the credentials of a context."""
    user = dict(chosen.user)
    plugin = user.pop("exec", None)
    first = plugins.run_plugin(plugin, chosen) if plugin else None
    if first and first.certificate:
        user |= first.user()
    name = {"name": "chosen"}
    conf = {
        "current-context": "chosen",
        "contexts": [name | {"context": {"cluster": "chosen", "user": "chosen"}}],
        "clusters": [name | {"cluster": dict(chosen.cluster)}],
        "users": [name | {"user": user}],
    }
    params = client_adapter.ConnectionParams(
        timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
    )
    try:
        config = KubeConfig.from_dict(conf).get()
        assert config is not None  # noqa: S101
        http = client_adapter.Client(config, params)
    except (OSError, ValueError, ConfigError, httpx2.InvalidURL) as error:
        raise UsageError(
            f"context {chosen.name} of the kubeconfig cannot be used: {error}",
            hint="check the certificates and keys that it names",
        ) from error
    if plugin and first and first.token:
        http.auth = _PluginAuth(first, lambda: plugins.run_plugin(plugin, chosen))
    return http


class _PluginAuth(httpx2.Auth):
    """Sends a credential plugin's token, and runs the plugin again once the token is not valid."""

    def __init__(self, first: plugins.Credential, renew: Callable[[], plugins.Credential]) -> None:
        self._credential = first
        self._renew = renew
        self._lock = threading.Lock()

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        sent = self._valid_credential(time.time())
        request.headers["Authorization"] = f"Bearer {sent.token}"
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            with self._lock:
                if self._credential is sent:
                    self._credential = self._renew()
            request.headers["Authorization"] = f"Bearer {self._credential.token}"
            yield request

    def _valid_credential(self, now: float) -> plugins.Credential:
        with self._lock:
            if self._credential.expires is not None and self._credential.expires <= now:
                self._credential = self._renew()
            return self._credential

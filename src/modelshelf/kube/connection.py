"""HTTP with an API server: who asks, when to ask again, and what a failure means.

The only module that knows lightkube, which brings the authenticated client, and httpx2; nothing of
either leaves it.
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
from modelshelf.kube.refusals import UnreachableError, passing, refusal
from modelshelf.shelf.errors import UsageError
from modelshelf.transfer.retries import Backoff, retry_after

_CONNECT = 5.0  # seconds
_ANSWER = 60.0  # seconds; the API server itself gives up after as many
_TRIES = Backoff(tries=4, first=0.4, most=10.0)


@dataclasses.dataclass(frozen=True, slots=True)
class RawResponse:
    """What came back from a raw request: any HTTP status, and the whole body."""

    status: int
    body: bytes


class Connection:
    """An API server as one user reaches it; several threads may use it at once.

    Attributes:
        server: The API server's base URL.
        context: The kubeconfig's context.
        calls: HTTP requests sent so far, repeated ones included.
    """

    def __init__(
        self,
        chosen: KubeContext,
        sleep: Callable[[float], None] = time.sleep,
        http: httpx2.Client | None = None,
    ) -> None:
        self.server = chosen.server
        self.context = chosen.name
        self.calls = 0
        self._http = http or _open(chosen)
        self._sleep = sleep
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the sockets."""
        self._http.close()

    def answer(self, call: Call) -> bytes:
        """The body of a successful answer, asked for several times where that is safe.

        Args:
            call: The question.

        Raises:
            TargetError: It was refused, or no answer came.
        """
        return self._answer(call, read=_ANSWER, stream=False).content

    def lines(self, call: Call, *, follow: bool, idle: float | None) -> Iterator[str]:
        """A successful answer, line by line, as it comes.

        Args:
            call: The question.
            follow: Whether the answer has no end: then a lost connection is one.
            idle: Seconds without a byte that count as a lost connection while following.

        Raises:
            TargetError: It was refused, or no answer came.
        """
        read = idle if follow else _ANSWER
        try:
            response = self._answer(call, read=read, stream=True)
        except UnreachableError as error:
            # A server sends not even headers before there is a first line.
            if follow and isinstance(error.__cause__, httpx2.ReadTimeout):
                return
            raise
        with contextlib.closing(response):
            try:
                yield from _lines(response.iter_bytes())
            except httpx2.HTTPError as error:
                if not follow:
                    raise self._unreachable(error) from error

    def once(self, call: Call, timeout: float) -> RawResponse:
        """Whatever is answered to one request.

        Args:
            call: The question.
            timeout: Seconds between two bytes of the answer.

        Raises:
            UnreachableError: No answer came.
        """
        try:
            response = self._send(call, read=timeout, stream=False)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        return RawResponse(response.status_code, response.content)

    def _answer(self, call: Call, *, read: float | None, stream: bool) -> httpx2.Response:
        for failures in range(1, _TRIES.tries + 1):
            last = failures == _TRIES.tries
            wait: float | None = None
            try:
                response = self._send(call, read=read, stream=stream)
                if response.is_success:
                    return response
                with contextlib.closing(response):
                    wait = self._refused(call, response, last=last)
            except httpx2.HTTPError as error:
                silent = stream and isinstance(error, httpx2.ReadTimeout)
                if last or silent or not _worth_repeating(call, error):
                    raise self._unreachable(error) from error
            self._sleep(_TRIES.wait(failures, random.random(), wait))  # noqa: S311
        raise AssertionError("the last try returns or raises")

    def _refused(self, call: Call, response: httpx2.Response, *, last: bool) -> float | None:
        """Raise what a refusal means; return, with seconds to wait, if it is worth another try."""
        status, body = response.status_code, response.read()
        failed = refusal(call, self.server, self.context, status, body)
        if not passing(call, status, body):
            raise failed
        if last:
            raise UnreachableError(str(failed), hint=self._look())
        return retry_after(response.headers.get("retry-after"))

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
                timeout=httpx2.Timeout(_ANSWER, connect=_CONNECT, read=read),
            )
            return self._http.send(request, stream=stream)
        except (ConfigError, OSError, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
            # Nothing was sent. What is wrong may be the token, which the message quotes then.
            what = "a token or path with characters that HTTP forbids"
            if isinstance(error, ConfigError | OSError):
                what = str(error)
            raise UsageError(
                f"{self.server} (context {self.context}) cannot be asked: {what}",
                hint="check this context's user in the kubeconfig",
            ) from None

    def _look(self) -> str:
        return f"check that the cluster is up: `kubectl --context {self.context} get --raw /readyz`"

    def _unreachable(self, error: httpx2.HTTPError) -> UnreachableError:
        hint = self._look()
        if _is_certificate(error):
            hint = "check certificate-authority of this cluster in the kubeconfig"
        return UnreachableError(
            f"{self.server} (context {self.context}) cannot be reached: "
            f"{str(error) or type(error).__name__}",
            hint=hint,
        )


def _worth_repeating(call: Call, error: httpx2.HTTPError) -> bool:
    if _is_certificate(error):
        return False
    # What never reached the server did nothing there.
    unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
    return unsent or (call.method != "POST" and isinstance(error, httpx2.TransportError))


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    r"""Lines as `\n` ends them: httpx2's own would also split at what JSON may hold unescaped."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


def _open(chosen: KubeContext) -> httpx2.Client:
    user = dict(chosen.user)
    plugin = user.pop("exec", None)
    first = plugins.run(plugin, chosen) if plugin else None
    if first and first.certificate:
        user |= first.user()
    name = {"name": "chosen"}
    conf = {
        "current-context": "chosen",
        "contexts": [name | {"context": {"cluster": "chosen", "user": "chosen"}}],
        "clusters": [name | {"cluster": dict(chosen.cluster)}],
        "users": [name | {"user": user}],
    }
    params = client_adapter.ConnectionParams(timeout=httpx2.Timeout(_ANSWER, connect=_CONNECT))
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
        http.auth = _PluginAuth(first, lambda: plugins.run(plugin, chosen))
    return http


class _PluginAuth(httpx2.Auth):
    """A token that a plugin gave, asked for anew when it expires or is refused."""

    def __init__(self, first: plugins.Credential, again: Callable[[], plugins.Credential]) -> None:
        self._credential = first
        self._again = again
        self._lock = threading.Lock()

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        sent = self._fresh(time.time())
        request.headers["Authorization"] = f"Bearer {sent.token}"
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            with self._lock:
                if self._credential is sent:
                    self._credential = self._again()
            request.headers["Authorization"] = f"Bearer {self._credential.token}"
            yield request

    def _fresh(self, now: float) -> plugins.Credential:
        with self._lock:
            if self._credential.expires is not None and self._credential.expires <= now:
                self._credential = self._again()
            return self._credential

"""One Kubernetes cluster, spoken to in plain dicts.

lightkube brings the authenticated HTTP client; the few calls that are needed stand here, since its
typed objects would drop every field that they do not know. Nothing of lightkube or of httpx2
leaves this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Self

import httpx2
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from modelshelf.core.errors import TargetError, TimedOutError, UsageError
from modelshelf.core.retries import Backoff, retry_after
from modelshelf.kube import plugins
from modelshelf.kube.kinds import KINDS, Object, label_selector
from modelshelf.kube.kubeconfig import KubeContext, find
from modelshelf.kube.refusals import Asked, MissingError, UnreachableError, refusal

Objects = list[Object]  # within the class, `list` is its method
FIELD_MANAGER = "modelshelf"
_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML, too
_MERGE = "application/merge-patch+json"
_CONNECT = 5.0  # seconds
_ANSWER = 60.0  # seconds; the API server itself gives up after as many
_CHUNK = 1000  # objects in one part of a list
_TRIES = Backoff(tries=4, first=0.4, most=10.0)
_RETRIED = frozenset({429, 500, 502, 503, 504})
_NOT_DONE = frozenset({429})  # what also a create may be repeated after
_GONE = 410


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What came back from a raw request: any HTTP status, and the whole body."""

    status: int
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class _Call:
    """One request to be: what it is about, and how HTTP says it."""

    asked: Asked
    method: str
    path: str
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    timeout: httpx2.Timeout = dataclasses.field(
        default_factory=lambda: httpx2.Timeout(_ANSWER, connect=_CONNECT)
    )


class Cluster:
    """A cluster as one user sees it; several threads may use it at once.

    Every method raises TargetError (exit code 20) or one of its kinds in `kube.refusals`:
    `ForbiddenError` names the RBAC rule that is needed, `UnreachableError` the server and context.

    Attributes:
        server: The API server's base URL.
        context: The kubeconfig's context.
        calls: HTTP requests sent so far, repeated ones included.
    """

    def __init__(
        self,
        http: httpx2.Client,
        server: str,
        context: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.server = server
        self.context = context
        self.calls = 0
        self._http = http
        self._sleep = sleep
        self._lock = threading.Lock()

    @classmethod
    def connect(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """Choose a cluster as kubectl does; nothing is asked of it yet.

        Args:
            kubeconfig: A file; default: those of KUBECONFIG, ~/.kube/config, a pod's own account.
            context: Its context; default: the current one.

        Raises:
            UsageError: No such file or context, or a key in it that is not understood.
            TargetError: The credentials cannot be had.
        """
        chosen = find(kubeconfig, context)
        return cls(_open(chosen), chosen.server, chosen.name)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """An object, or None if there is none."""
        asked = self._asked("get", kind, name, namespace)
        try:
            return self._object(_Call(asked, "GET", KINDS[kind].path(namespace, name)))
        except MissingError:
            return None

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        *,
        fields: str = "",
    ) -> Objects:
        """All objects of a kind.

        Args:
            kind: `Deployment`.
            namespace: Where; None for everywhere.
            labels: What they must carry; a value of None stands for any.
            fields: A field selector, `involvedObject.name=x`.
        """
        call = _Call(self._asked("list", kind, "", namespace), "GET", KINDS[kind].path(namespace))
        params = {"limit": str(_CHUNK), "labelSelector": label_selector(labels or {})}
        params |= {"fieldSelector": fields}
        params = {name: value for name, value in params.items() if value}
        items: Objects = []
        while True:
            part = self._object(dataclasses.replace(call, params=params))
            # A list names the kind once; whoever gets one object of it wants it whole.
            about = {"apiVersion": KINDS[kind].api_version, "kind": kind}
            items += [about | item for item in part.get("items") or []]
            more = (part.get("metadata") or {}).get("continue")
            if not more:
                return items
            params = params | {"continue": more}

    def events(self, namespace: str, name: str = "") -> Objects:
        """A namespace's events, or those about the objects of one name."""
        fields = f"involvedObject.name={name}" if name else ""
        return self.list("Event", namespace, fields=fields)

    def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Create or change an object by server-side apply, as field manager `modelshelf`.

        Args:
            obj: The fields that are to be ours.
            force: Whether to take over fields that others own.
            dry_run: Whether the server shall only say what would become of it.

        Returns:
            The whole object.

        Raises:
            ConflictError: Others own some of the fields.
        """
        metadata = {**obj["metadata"]}
        metadata.pop("managedFields", None)  # the server takes none here
        kind, name, namespace = obj["kind"], metadata["name"], metadata.get("namespace")
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        params |= {"force": "true"} if force else {}
        params |= {"dryRun": "All"} if dry_run else {}
        asked = self._asked("apply", kind, name, namespace)
        path = KINDS[kind].path(namespace, name)
        return self._object(_write(asked, "PATCH", path, obj | {"metadata": metadata}, params))

    def create(self, obj: Object) -> Object:
        """Create an object.

        Raises:
            ExistsError: There is one of this name.
        """
        kind, metadata = obj["kind"], obj.get("metadata") or {}
        namespace = metadata.get("namespace")
        asked = self._asked("create", kind, metadata.get("name", ""), namespace)
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return self._object(_write(asked, "POST", KINDS[kind].path(namespace), obj, params))

    def patch(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Object:
        """Change some fields by a JSON merge patch (RFC 7396): null removes one.

        Args:
            kind: `Deployment`.
            name: The object's.
            namespace: Its namespace; None if it lives in none.
            body: The fields.
            subresource: `scale` or `status`.

        Raises:
            MissingError: There is no such object.
        """
        asked = self._asked("patch", kind, name, namespace)
        path = KINDS[kind].path(namespace, name, subresource or "")
        return self._object(_write(asked, "PATCH", path, body, {"fieldManager": FIELD_MANAGER}))

    def delete(  # noqa: PLR0913
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace: int | None = None,
        wait: bool = False,
        propagation: str = "Background",
        timeout: float = 120.0,
    ) -> bool:
        """Delete an object, and what it owns.

        Args:
            kind: `Deployment`.
            name: The object's.
            namespace: Its namespace; None if it lives in none.
            grace: Seconds that a pod gets to end; 0 does not wait for its node to confirm.
            wait: Whether to wait until the object is gone.
            propagation: `Background`, `Foreground` (what it owns goes first) or `Orphan`.
            timeout: Seconds to wait at the most.

        Returns:
            Whether there was one.

        Raises:
            TimedOutError: It is still there; the message names what holds it.
        """
        asked = self._asked("delete", kind, name, namespace)
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        body["propagationPolicy"] = propagation
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        path = KINDS[kind].path(namespace, name)
        try:
            said = self._object(_write(asked, "DELETE", path, body, {}))
        except MissingError:
            return False
        if wait:
            about = said.get("details") or said.get("metadata") or {}
            self._until_gone(asked, about.get("uid"), timeout)
        return True

    def logs(  # noqa: PLR0913
        self,
        pod: str,
        namespace: str,
        container: str | None = None,
        *,
        follow: bool = False,
        tail: int | None = None,
        previous: bool = False,
        idle: float | None = None,
    ) -> Iterator[str]:
        """A container's output, line by line, without the line ends.

        Args:
            pod: The pod's name.
            namespace: Its namespace.
            container: Which; may be left out where there is one.
            follow: Whether to go on until the container ends. A connection that is lost ends it,
                too: whoever follows looks at the pod then.
            tail: How many of the last lines; None for all.
            previous: Whether to read what the container said before it was restarted.
            idle: Seconds without a byte after which following ends; None for never.
        """
        params = {"container": container or "", "tailLines": "" if tail is None else str(tail)}
        params |= {"follow": "true" if follow else "", "previous": "true" if previous else ""}
        timeout = httpx2.Timeout(_ANSWER, connect=_CONNECT, read=idle if follow else _ANSWER)
        call = _Call(
            self._asked("read the log of", "Pod", pod, namespace),
            "GET",
            KINDS["Pod"].path(namespace, pod, "log"),
            {name: value for name, value in params.items() if value},
            timeout=timeout,
        )
        with contextlib.closing(self._answer(call, stream=True)) as response:
            try:
                yield from _lines(response.iter_bytes())
            except httpx2.HTTPError as error:
                if not follow:
                    raise self._unreachable(error) from error

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Reply:
        """Send one request as it is, once, and return whatever is answered.

        Args:
            method: `GET`, `POST`.
            path: With query; `/api/v1/namespaces/llm/services/mistral:http/proxy/v1/models`.
            body: Bytes to send.
            headers: Besides those that say who asks.
            timeout: Seconds between two bytes of the answer.

        Raises:
            UnreachableError: No answer came.
        """
        asked = self._asked(method, "path", path)
        limits = httpx2.Timeout(timeout, connect=_CONNECT)
        call = _Call(asked, method, path, body=body, headers=headers or {}, timeout=limits)
        try:
            response = self._send(call, stream=False)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        return Reply(response.status_code, response.content)

    def _asked(self, verb: str, kind: str, name: str = "", namespace: str | None = None) -> Asked:
        return Asked(self.server, self.context, verb, kind, name, namespace)

    def _object(self, call: _Call) -> Object:
        try:
            found = json.loads(self._answer(call).content)
        except ValueError as error:
            raise self._no_api() from error
        if not isinstance(found, dict):
            raise self._no_api()
        return found

    def _no_api(self) -> TargetError:
        return TargetError(
            f"{self.server} (context {self.context}) does not answer as a Kubernetes API server",
            hint="check the server's address in the kubeconfig",
        )

    def _answer(self, call: _Call, *, stream: bool = False) -> httpx2.Response:
        """A successful response, asked for several times where that is safe."""
        failures = 0
        while True:
            failures += 1
            wait: float | None = None
            try:
                response = self._send(call, stream=stream)
            except httpx2.HTTPError as error:
                if failures == _TRIES.tries or not _worth_repeating(call, error):
                    raise self._unreachable(error) from error
            else:
                if response.is_success:
                    return response
                with contextlib.closing(response), self._wrapped():
                    body = response.read()
                failed = refusal(call.asked, response.status_code, body)
                again = _NOT_DONE if call.method == "POST" else _RETRIED
                if response.status_code not in again:
                    raise failed
                if failures == _TRIES.tries:
                    raise UnreachableError(f"{failed}", hint=self._look()) from None
                wait = retry_after(response.headers.get("retry-after"))
            self._sleep(_TRIES.wait(failures, random.random(), wait))  # noqa: S311

    def _send(self, call: _Call, *, stream: bool) -> httpx2.Response:
        with self._lock:
            self.calls += 1
        request = self._http.build_request(
            call.method,
            call.path,
            params=call.params or None,
            content=call.body,
            headers=dict(call.headers),
            timeout=call.timeout,
        )
        return self._http.send(request, stream=stream)

    @contextlib.contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error

    def _look(self) -> str:
        return f"check that the cluster is up: `kubectl --context {self.context} get --raw /readyz`"

    def _unreachable(self, error: httpx2.HTTPError) -> UnreachableError:
        why = str(error) or type(error).__name__
        hint = self._look()
        if _is_certificate(error):
            hint = "check certificate-authority of this cluster in the kubeconfig"
        return UnreachableError(
            f"{self.server} (context {self.context}) cannot be reached: {why}", hint=hint
        )

    def _until_gone(self, asked: Asked, uid: str | None, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        pause = 0.1
        while True:
            found = self.get(asked.kind, asked.name, asked.namespace)
            if found is None or (uid and found["metadata"].get("uid") != uid):
                return
            if time.monotonic() >= deadline:
                holders = ", ".join(found["metadata"].get("finalizers") or ()) or "nothing it names"
                raise TimedOutError(
                    f"{asked.thing} is still there {timeout:g} s after it was deleted, held by "
                    f"{holders}"
                )
            self._sleep(pause)
            pause = min(pause * 1.5, 2.0)


def _write(
    asked: Asked, method: str, path: str, body: Mapping[str, Any], params: Mapping[str, str]
) -> _Call:
    kind = {"PATCH": _APPLY if asked.verb == "apply" else _MERGE}.get(method, _JSON)
    text = json.dumps(body, ensure_ascii=False).encode()
    return _Call(asked, method, path, params, text, {"Content-Type": kind})


def _worth_repeating(call: _Call, error: httpx2.HTTPError) -> bool:
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

"""One Kubernetes cluster, spoken to in plain dicts.

What is sent is what was rendered, and what comes back keeps the fields that nobody here knows,
which typed objects would drop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from modelshelf.kube import calls
from modelshelf.kube.calls import Call
from modelshelf.kube.connection import Connection, RawResponse
from modelshelf.kube.kinds import KINDS, Object
from modelshelf.kube.kubeconfig import find
from modelshelf.kube.refusals import MissingError
from modelshelf.shelf.errors import TargetError, TimedOutError

__all__ = ["Cluster", "RawResponse"]

Objects = list[Object]  # within the class, `list` is its method


class Cluster:
    """A cluster as one user sees it; several threads may use it at once.

    Every method raises TargetError (exit code 20) or one of its kinds in `kube.refusals`:
    `ForbiddenError` names the RBAC rule that is needed, `UnreachableError` the server and context.
    """

    def __init__(self, connection: Connection, sleep: Callable[[float], None] = time.sleep) -> None:
        self._connection = connection
        self._sleep = sleep

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
        return cls(Connection(find(kubeconfig, context)))

    @property
    def server(self) -> str:
        """The API server's base URL."""
        return self._connection.server

    @property
    def context(self) -> str:
        """The kubeconfig's context."""
        return self._connection.context

    @property
    def calls(self) -> int:
        """HTTP requests sent so far, repeated ones included."""
        return self._connection.calls

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """An object, or None if there is none."""
        try:
            return self._object(calls.get(kind, name, namespace))
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
        # A list names the kind once; whoever gets one object of it wants it whole.
        about = {"apiVersion": KINDS[kind].api_version, "kind": kind}
        items: Objects = []
        more = ""
        while True:
            part = self._object(calls.listing(kind, namespace, labels or {}, fields, more))
            items += [about | item for item in part.get("items") or []]
            more = (part.get("metadata") or {}).get("continue") or ""
            if not more:
                return items

    def events(self, namespace: str, name: str = "", *, warnings: bool = False) -> Objects:
        """A namespace's events, or those about the objects of one name; all, or warnings only."""
        # Each start of a pod leaves eight that tell of no trouble: lists of many parts.
        about = f"involvedObject.name={name}" if name else ""
        fields = ",".join(filter(None, (about, "type=Warning" if warnings else "")))
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
        return self._object(calls.apply(obj, force=force, dry_run=dry_run))

    def create(self, obj: Object) -> Object:
        """Create an object.

        Raises:
            ExistsError: There is one of this name.
        """
        return self._object(calls.create(obj))

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
        return self._object(calls.patch(kind, name, namespace, body, subresource or ""))

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
        try:
            said = self._object(calls.delete(kind, name, namespace, grace, propagation))
        except MissingError:
            return False
        if wait:
            # The object itself if it is still there, else a Status about it.
            uid = (said.get("details") or said.get("metadata") or {}).get("uid")
            self._until_gone(calls.get(kind, name, namespace), uid, timeout)
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
        timestamped_bytes: int | None = None,
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
            timestamped_bytes: Read so many bytes from the log's beginning, and put the time at which
                it was written before each line; None for the whole log, without times.
        """
        params = {
            "container": container or "",
            "follow": "true" if follow else "",
            "previous": "true" if previous else "",
            "tailLines": "" if tail is None else str(tail),
            "timestamps": "" if timestamped_bytes is None else "true",
            "limitBytes": "" if timestamped_bytes is None else str(timestamped_bytes),
        }
        call = calls.logs(pod, namespace, params)
        yield from self._connection.lines(call, follow=follow, idle=idle)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> RawResponse:
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
        # The credentials go nowhere else, whatever is asked for.
        path = f"/{path.lstrip('/')}"
        call = Call("ask", path, "", None, method, path, body=body, headers=headers or {})
        return self._connection.once(call, timeout)

    def _object(self, call: Call) -> Object:
        try:
            found = json.loads(self._connection.answer(call))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TargetError(
                f"{self.server} (context {self.context}) does not answer as a Kubernetes API "
                "server does",
                hint="check the server's address in the kubeconfig",
            )
        return found

    def _until_gone(self, call: Call, uid: str | None, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        pause = 0.1
        while True:
            found = self.get(call.kind, call.name, call.namespace)
            if found is None or (uid and found["metadata"].get("uid") != uid):
                return
            if time.monotonic() >= deadline:
                holders = ", ".join(found["metadata"].get("finalizers") or ()) or "no finalizer"
                raise TimedOutError(
                    f"{call.thing} is still there {timeout:g} s after it was deleted, held by "
                    f"{holders}"
                )
            self._sleep(pause)
            pause = min(pause * 1.5, 2.0)

"""The client of a Kubernetes cluster. Its objects are plain dicts.

A dict is sent as it was rendered, and an answer keeps the fields that this code does not know.
Typed objects would drop these.
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
from modelshelf.kube.kubeconfig import find_context
from modelshelf.kube.refusals import MissingError
from modelshelf.shelf.errors import TargetError, TimedOutError

__all__ = ["Cluster", "RawResponse"]

Objects = list[Object]  # inside the class, `list` is the name of a method


class Cluster:
    """A cluster, and one user of it. Several threads may use it at once.

    Every method raises TargetError (exit code 20) or one of its subclasses in `kube.refusals`:
    `ForbiddenError` names the RBAC rule that is needed, `UnreachableError` the server and context.
    """

    def __init__(self, connection: Connection, sleep: Callable[[float], None] = time.sleep) -> None:
        self._connection = connection
        self._sleep = sleep

    @classmethod
    def connect(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """Choose a cluster as kubectl does. No request is sent yet.

        Args:
            kubeconfig: The path of a kubeconfig; None for the files in the variable KUBECONFIG, or
                else ~/.kube/config, or else the pod's own service account.
            context: The name of a context; None for the current one.

        Raises:
            UsageError: There is no such file or context, or it has a key that is not supported.
            TargetError: The program that gives the credentials failed.
        """
        return cls(Connection(find_context(kubeconfig, context)))

    @property
    def server(self) -> str:
        """The API server's base URL."""
        return self._connection.server

    @property
    def context(self) -> str:
        """The name of the kubeconfig's context."""
        return self._connection.context

    @property
    def calls(self) -> int:
        """How many HTTP requests were sent so far, repeated ones included."""
        return self._connection.calls

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Get an object; None if it does not exist."""
        try:
            return self._send(calls.get(kind, name, namespace))
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
        """List all objects of a kind.

        Args:
            kind: `Deployment`.
            namespace: Their namespace; None for all namespaces.
            labels: The labels that they must have; a value of None stands for any value.
            fields: A field selector, `involvedObject.name=x`.
        """
        # The answer names the kind once for all objects. Each object is given it again.
        type_meta = {"apiVersion": KINDS[kind].api_version, "kind": kind}
        items: Objects = []
        page_token = ""
        while True:
            page = self._send(calls.listing(kind, namespace, labels or {}, fields, page_token))
            items += [type_meta | item for item in page.get("items") or []]
            page_token = (page.get("metadata") or {}).get("continue") or ""
            if not page_token:
                return items

    def events(self, namespace: str, name: str = "", *, warnings: bool = False) -> Objects:
        """List the events of a namespace.

        Args:
            namespace: The namespace.
            name: The name of the objects that they are about; empty for all objects.
            warnings: Whether to leave out normal events. Each start of a pod causes eight of them,
                so that a list of all events may have many pages.
        """
        by_name = f"involvedObject.name={name}" if name else ""
        fields = ",".join(filter(None, (by_name, "type=Warning" if warnings else "")))
        return self.list("Event", namespace, fields=fields)

    def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Create or change an object by server-side apply, as field manager `modelshelf`.

        Args:
            obj: The fields to set; `modelshelf` owns them from then on.
            force: Whether to take over fields that other field managers own.
            dry_run: Whether the server only answers what the object would become.

        Returns:
            The whole object.

        Raises:
            ConflictError: Other field managers own some of the fields.
        """
        return self._send(calls.apply(obj, force=force, dry_run=dry_run))

    def create(self, obj: Object) -> Object:
        """Create an object.

        Raises:
            ExistsError: An object of this kind and name exists already.
        """
        return self._send(calls.create(obj))

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
            name: The object's name.
            namespace: Its namespace; None if it has none.
            body: The fields to change.
            subresource: `scale` or `status`; None for the object itself.

        Raises:
            MissingError: The object does not exist.
        """
        return self._send(calls.patch(kind, name, namespace, body, subresource or ""))

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
        """Delete an object, and the objects that it owns.

        Args:
            kind: `Deployment`.
            name: The object's name.
            namespace: Its namespace; None if it has none.
            grace: Seconds that a pod gets to end; 0 deletes it without its node's confirmation;
                None for the number in the pod.
            wait: Whether to wait until the object is gone.
            propagation: `Background`, `Foreground` (the objects that it owns are deleted first) or
                `Orphan` (they stay).
            timeout: How many seconds to wait at most.

        Returns:
            Whether the object existed.

        Raises:
            TimedOutError: The object is not gone; the message names the finalizers that hold it.
        """
        try:
            answer = self._send(calls.delete(kind, name, namespace, grace, propagation))
        except MissingError:
            return False
        if wait:
            # The answer is the object if it still exists, else a Status with details about it.
            uid = (answer.get("details") or answer.get("metadata") or {}).get("uid")
            self._wait_until_gone(calls.get(kind, name, namespace), uid, timeout)
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
        """Read a container's log, line by line, without the line ends.

        Args:
            pod: The pod's name.
            namespace: Its namespace.
            container: The container; None where the pod has only one.
            follow: Whether to go on until the container ends. The lines also end when the
                connection is lost: look at the pod to learn whether its container has ended.
            tail: How many of the last lines to read; None for all.
            previous: Whether to read the log of the container before its last restart.
            idle: Following ends after so many seconds without a byte; None for never.
            timestamped_bytes: Read only so many bytes from the beginning of the log, and put before
                each line the time when it was written; None for the whole log, without times.
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
        yield from self._connection.stream_lines(call, follow=follow, idle=idle)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> RawResponse:
        """Send one request, once, and return the answer whatever its status is.

        Args:
            method: `GET`, `POST`.
            path: The path with its query:
                `/api/v1/namespaces/llm/services/mistral:http/proxy/v1/models`.
            body: Bytes to send.
            headers: Headers to send, besides those with the credentials.
            timeout: How many seconds may pass between two bytes of the answer.

        Raises:
            UnreachableError: No answer came.
        """
        # A path without a leading slash could be read as the URL of another host, which would then
        # get the credentials.
        path = f"/{path.lstrip('/')}"
        call = Call("ask", path, "", None, method, path, body=body, headers=headers or {})
        return self._connection.send_once(call, timeout)

    def _send(self, call: Call) -> Object:
        """Send a request, and read the answer as an object."""
        try:
            answer = json.loads(self._connection.send(call))
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise TargetError(
                f"{self.server} (context {self.context}) does not answer as a Kubernetes API "
                "server does",
                hint="check the server's address in the kubeconfig",
            )
        return answer

    def _wait_until_gone(self, call: Call, uid: str | None, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        pause = 0.1
        while True:
            live = self.get(call.kind, call.name, call.namespace)
            if live is None or (uid and live["metadata"].get("uid") != uid):
                return
            if time.monotonic() >= deadline:
                holders = ", ".join(live["metadata"].get("finalizers") or ()) or "no finalizer"
                raise TimedOutError(
                    f"{call.object_name} is still there {timeout:g} s after it was deleted, held "
                    f"by {holders}"
                )
            self._sleep(pause)
            pause = min(pause * 1.5, 2.0)

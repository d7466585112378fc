"""Requests to the Kubernetes API as values: one function for each verb. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from modelshelf.kube.kinds import KINDS, Object, describe_object, label_selector

FIELD_MANAGER = "modelshelf"
_OBJECTS_PER_PAGE = 1000
_APPLY = "application/apply-patch+yaml"  # every JSON text is YAML, too
_MERGE = "application/merge-patch+json"
_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request: what it does for people to read, and its parts as HTTP sends them.

    Attributes:
        verb: What is done, for messages: `get`, `list`, `apply`, `create`, `patch`, `delete`,
            `read the log of`.
        kind: The object's kind.
        name: The object's name; empty for all objects of the kind.
        namespace: The object's namespace; None if it has none.
        method: HTTP method.
        path: HTTP path; may end in a query.
        params: Query parameters.
        body: Bytes to send.
        headers: HTTP headers.
    """

    verb: str
    kind: str
    name: str
    namespace: str | None
    method: str
    path: str
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def object_name(self) -> str:
        """The object, as messages name it."""
        return describe_object(self.kind, self.name, self.namespace)


def get(kind: str, name: str, namespace: str | None) -> Call:
    """Read one object."""
    return Call("get", kind, name, namespace, "GET", KINDS[kind].path(namespace, name))


def listing(
    kind: str, namespace: str | None, labels: Mapping[str, str | None], fields: str, page_token: str
) -> Call:
    """Read one page of a list.

    Args:
        kind: The kind of the objects.
        namespace: Their namespace; None for all namespaces.
        labels: What they must carry; a value of None stands for any value.
        fields: A field selector.
        page_token: The token that the previous page ended with; empty for the first page.
    """
    params = {
        "limit": str(_OBJECTS_PER_PAGE),
        "labelSelector": label_selector(labels),
        "fieldSelector": fields,
        "continue": page_token,
    }
    return Call(
        "list", kind, "", namespace, "GET", KINDS[kind].path(namespace), _without_empty(params)
    )


def apply(obj: Object, *, force: bool, dry_run: bool) -> Call:
    """Create or change an object by server-side apply.

    Args:
        obj: The fields to set.
        force: Whether to take over fields that other field managers own.
        dry_run: Whether the server only answers what the object would become.
    """
    # A server sends managedFields in its answers, and refuses them in requests.
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    kind, name, namespace = obj["kind"], metadata["name"], metadata.get("namespace")
    params = {"force": "true" if force else "", "dryRun": "All" if dry_run else ""}
    path = KINDS[kind].path(namespace, name)
    call = Call("apply", kind, name, namespace, "PATCH", path, _STRICT | _without_empty(params))
    return _with_body(call, obj | {"metadata": metadata}, _APPLY)


def create(obj: Object) -> Call:
    """Create an object."""
    kind, metadata = obj["kind"], obj.get("metadata") or {}
    name, namespace = metadata.get("name", ""), metadata.get("namespace")
    call = Call("create", kind, name, namespace, "POST", KINDS[kind].path(namespace), _STRICT)
    return _with_body(call, obj)


def patch(
    kind: str, name: str, namespace: str | None, body: Mapping[str, Any], subresource: str
) -> Call:
    """Change some fields by a JSON merge patch (RFC 7396)."""
    path = KINDS[kind].path(namespace, name, subresource)
    params = {"fieldManager": FIELD_MANAGER}
    return _with_body(Call("patch", kind, name, namespace, "PATCH", path, params), body, _MERGE)


def delete(
    kind: str, name: str, namespace: str | None, grace: int | None, propagation: str
) -> Call:
    """Delete an object.

    Args:
        kind: The object's kind.
        name: The object's name.
        namespace: The object's namespace; None if it has none.
        grace: Seconds that a pod gets to end; None for the pod's own number.
        propagation: What happens to the objects that it owns: `Background`, `Foreground`, `Orphan`.
    """
    options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
    options["propagationPolicy"] = propagation
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    path = KINDS[kind].path(namespace, name)
    return _with_body(Call("delete", kind, name, namespace, "DELETE", path), options)


def logs(pod: str, namespace: str, params: Mapping[str, str]) -> Call:
    """Read a container's output."""
    path = KINDS["Pod"].path(namespace, pod, "log")
    return Call("read the log of", "Pod", pod, namespace, "GET", path, _without_empty(params))


def _without_empty(params: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}


def _with_body(call: Call, body: Mapping[str, Any], content: str = "application/json") -> Call:
    text = json.dumps(body, ensure_ascii=False).encode()
    return dataclasses.replace(call, body=text, headers={"Content-Type": content})

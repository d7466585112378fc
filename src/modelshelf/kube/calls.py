"""What is asked of the Kubernetes API, as values: one builder for each verb. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from modelshelf.kube.kinds import KINDS, Object, describe_object, label_selector

FIELD_MANAGER = "modelshelf"
_CHUNK = 1000  # objects in one part of a list
_APPLY = "application/apply-patch+yaml"  # JSON is YAML, too
_MERGE = "application/merge-patch+json"
_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request: what it is about, and how HTTP says it.

    Attributes:
        verb: `get`, `list`, `apply`, `create`, `patch`, `delete`, `read the log of`.
        kind: The object's kind.
        name: Its name; empty for all.
        namespace: Its namespace, if it has one.
        method: HTTP method.
        path: HTTP path; may have a query.
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
    def thing(self) -> str:
        """The object in words."""
        return describe_object(self.kind, self.name, self.namespace)


def get(kind: str, name: str, namespace: str | None) -> Call:
    """Read one object."""
    return Call("get", kind, name, namespace, "GET", KINDS[kind].path(namespace, name))


def listing(
    kind: str, namespace: str | None, labels: Mapping[str, str | None], fields: str, more: str
) -> Call:
    """Read a part of all objects; `more` is where the part before ended."""
    params = {
        "limit": str(_CHUNK),
        "labelSelector": label_selector(labels),
        "fieldSelector": fields,
        "continue": more,
    }
    return Call("list", kind, "", namespace, "GET", KINDS[kind].path(namespace), _said(params))


def apply(obj: Object, *, force: bool, dry_run: bool) -> Call:
    """Create or change an object by server-side apply."""
    # A server answers with managedFields, and takes none.
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    kind, name, namespace = obj["kind"], metadata["name"], metadata.get("namespace")
    params = {"force": "true" if force else "", "dryRun": "All" if dry_run else ""}
    path = KINDS[kind].path(namespace, name)
    call = Call("apply", kind, name, namespace, "PATCH", path, _STRICT | _said(params))
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
    """Delete an object."""
    options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
    options["propagationPolicy"] = propagation
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    path = KINDS[kind].path(namespace, name)
    return _with_body(Call("delete", kind, name, namespace, "DELETE", path), options)


def logs(pod: str, namespace: str, params: Mapping[str, str]) -> Call:
    """Read a container's output."""
    path = KINDS["Pod"].path(namespace, pod, "log")
    return Call("read the log of", "Pod", pod, namespace, "GET", path, _said(params))


def _said(params: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}


def _with_body(call: Call, body: Mapping[str, Any], content: str = "application/json") -> Call:
    text = json.dumps(body, ensure_ascii=False).encode()
    return dataclasses.replace(call, body=text, headers={"Content-Type": content})

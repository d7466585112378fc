"""The error for an answer by which the Kubernetes API refuses a request. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from modelshelf.kube.calls import Call
from modelshelf.shelf.errors import TargetError

_UNAUTHORISED, _FORBIDDEN, _MISSING, _CONFLICT = 401, 403, 404, 409
_INVALID = frozenset({400, 422})
_TOO_MANY_REQUESTS = 429
_TRANSIENT = frozenset({_TOO_MANY_REQUESTS, 500, 502, 503, 504})
# Kubernetes refuses a field that no schema has with status 500 and this message (1.36, measured).
_UNKNOWN_FIELD = "failed to create typed"
# The message of a refusal by RBAC:
# k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go
_RBAC = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
# The message of a conflict: k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go
_MANAGER = re.compile(r'conflict with "([^"]+)"')


class ConflictError(TargetError):
    """Somebody else owns some of the fields, or changed the object meanwhile.

    Attributes:
        fields: Paths of these fields, `.spec.replicas`; empty if the object was changed meanwhile.
        managers: The field managers that own them, each once.
    """

    def __init__(
        self, message: str, *, fields: tuple[str, ...], managers: tuple[str, ...], hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.fields = fields
        self.managers = managers


class ExistsError(TargetError):
    """An object of this kind and name exists already."""


class MissingError(TargetError):
    """There is no such object."""


class ForbiddenError(TargetError):
    """The cluster accepts the credentials, but does not allow the request."""


class UnreachableError(TargetError):
    """The API server cannot be reached, or keeps failing after several tries."""


def error_for(call: Call, server: str, context: str, status: int, body: bytes) -> TargetError:
    """Make the error for an answer that is no success.

    Args:
        call: The request.
        server: The API server's base URL.
        context: The kubeconfig's context.
        status: HTTP status.
        body: The body: a `Status` object, unless a proxy before the API server answered.
    """
    details = _status_object(body)
    message = str(details.get("message") or f"HTTP status {status}")
    if call.kind == "Secret" and status in _INVALID:
        message = _without_values(details)  # the message may quote the secret
    sentence = f"{server} refused to {call.verb} {call.object_name}: {message}"
    if status == _UNAUTHORISED:
        return _unauthorised_error(server, context)
    if status == _FORBIDDEN:
        return _forbidden_error(call, server, message, sentence)
    if status == _MISSING:
        return MissingError(sentence, hint=_namespace_hint(message))
    if status == _CONFLICT:
        return _conflict_error(call, server, details, sentence)
    return TargetError(sentence)


def is_transient(call: Call, status: int, body: bytes) -> bool:
    """Whether the same request may succeed soon, and may be sent again without harm.

    Args:
        call: The request.
        status: HTTP status of the refusal.
        body: The body of the refusal.
    """
    if call.method == "POST":
        # After any other status the object may have been created.
        return status == _TOO_MANY_REQUESTS
    message = str(_status_object(body).get("message"))
    return status in _TRANSIENT and _UNKNOWN_FIELD not in message


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    # Any other body is from a proxy in between. It is not quoted: it may hold secrets.
    return value if isinstance(value, dict) and value.get("kind") == "Status" else {}


def _without_values(details: dict[str, Any]) -> str:
    """Name the fields that are wrong, without what they hold."""
    causes = (details.get("details") or {}).get("causes") or []
    fields = ", ".join(str(cause["field"]) for cause in causes if cause.get("field"))
    reason = str(details.get("reason") or "it is not valid")
    return f"{reason}: {fields}" if fields else reason


def _unauthorised_error(server: str, context: str) -> TargetError:
    return TargetError(
        f"the cluster {server} does not accept these credentials (context {context})",
        hint="log in again as your cluster's provider says; `kubectl auth whoami` shows whether "
        "it worked",
    )


def _forbidden_error(call: Call, server: str, message: str, sentence: str) -> TargetError:
    rule = _RBAC.search(message)
    if rule is None:
        # This is no missing right: admission refused. Examples are Pod Security, a quota, and a
        # namespace that is being deleted.
        return ForbiddenError(sentence)
    namespace = rule["namespace"]
    resource = f"{rule['resource']}.{rule['group']}" if rule["group"] else rule["resource"]
    where = f"in namespace {namespace}" if namespace else "in the whole cluster"
    role = f"Role in namespace {namespace}" if namespace else "ClusterRole"
    return ForbiddenError(
        f"{server} does not let this user {rule['verb']} {resource} {where}, needed to "
        f"{call.verb} {call.object_name}",
        hint=f'ask for a {role} with the rule {{apiGroups: ["{rule["group"]}"], '
        f'resources: ["{rule["resource"]}"], verbs: ["{rule["verb"]}"]}}',
    )


def _namespace_hint(message: str) -> str:
    match = re.search(r'namespaces "([^"]+)" not found', message)
    return f"there is no namespace {match[1]}: create it, or run `modelshelf up`" if match else ""


def _conflict_error(call: Call, server: str, details: dict[str, Any], sentence: str) -> TargetError:
    if details.get("reason") == "AlreadyExists":
        return ExistsError(sentence)
    causes = [
        cause
        for cause in (details.get("details") or {}).get("causes") or []
        if cause.get("reason") == "FieldManagerConflict"
    ]
    if not causes:
        return ConflictError(sentence, fields=(), managers=(), hint="try again")
    fields = tuple(dict.fromkeys(str(cause.get("field", "")) for cause in causes))
    matches = (_MANAGER.search(str(cause.get("message", ""))) for cause in causes)
    managers = tuple(dict.fromkeys(match[1] for match in matches if match))
    return ConflictError(
        f"{', '.join(fields)} of {call.object_name} on {server} "
        f"{'is' if len(fields) == 1 else 'are'} owned by {', '.join(managers) or 'somebody else'}",
        fields=fields,
        managers=managers,
        hint="--force-conflicts takes them over",
    )

"""What a refusal of the Kubernetes API means for whoever call. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from modelshelf.kube.calls import Call
from modelshelf.shelf.errors import TargetError

_UNAUTHORISED, _FORBIDDEN, _MISSING, _CONFLICT = 401, 403, 404, 409
_MALFORMED = frozenset({400, 422})
_BUSY = 429
_FAILING = frozenset({_BUSY, 500, 502, 503, 504})
# What a field that no schema has is refused with, as status 500 (Kubernetes 1.36, measured).
_NOT_TYPED = "failed to create typed"
# k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go: what RBAC's refusal says.
_RBAC = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
# k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go
_MANAGER = re.compile(r'conflict with "([^"]+)"')


class ConflictError(TargetError):
    """Somebody else owns fields that were to be set, or changed the object meanwhile.

    Attributes:
        fields: Their paths, `.spec.replicas`; empty if the object as a whole changed.
        managers: Who owns them, without repetition.
    """

    def __init__(
        self, message: str, *, fields: tuple[str, ...], managers: tuple[str, ...], hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.fields = fields
        self.managers = managers


class ExistsError(TargetError):
    """An object of this kind and name is there already."""


class MissingError(TargetError):
    """There is no such object."""


class ForbiddenError(TargetError):
    """The cluster knows who asks, and does not let them."""


class UnreachableError(TargetError):
    """The API server cannot be reached, or keeps failing (it was asked several times)."""


def refusal(call: Call, server: str, context: str, status: int, body: bytes) -> TargetError:
    """The error for a reply that is no success.

    Args:
        call: The question.
        server: The API server's base URL.
        context: The kubeconfig's context.
        status: HTTP status.
        body: The reply's body: a `Status` object, unless something before the server answered.
    """
    said = _status(body)
    message = str(said.get("message") or f"HTTP status {status}")
    if call.kind == "Secret" and status in _MALFORMED:
        message = _without_values(said)  # it may quote what was sent
    sentence = f"{server} refused to {call.verb} {call.thing}: {message}"
    if status == _UNAUTHORISED:
        return _unauthorised(server, context)
    if status == _FORBIDDEN:
        return _forbidden(call, server, message, sentence)
    if status == _MISSING:
        return MissingError(sentence, hint=_no_namespace(message))
    if status == _CONFLICT:
        return _conflict(call, server, said, sentence)
    return TargetError(sentence)


def passing(call: Call, status: int, body: bytes) -> bool:
    """Whether the same question may soon get a better answer, and may be put again.

    Args:
        call: The question.
        status: HTTP status of the refusal.
        body: Its body.
    """
    if call.method == "POST":
        return status == _BUSY  # after anything else it may have been done
    return status in _FAILING and _NOT_TYPED not in str(_status(body).get("message"))


def _status(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    # Anything else comes from something in between, and may hold what nobody should read.
    return said if isinstance(said, dict) and said.get("kind") == "Status" else {}


def _without_values(said: dict[str, Any]) -> str:
    causes = (said.get("details") or {}).get("causes") or []
    fields = ", ".join(str(cause["field"]) for cause in causes if cause.get("field"))
    reason = str(said.get("reason") or "it is not valid")
    return f"{reason}: {fields}" if fields else reason


def _unauthorised(server: str, context: str) -> TargetError:
    return TargetError(
        f"the cluster {server} does not accept these credentials (context {context})",
        hint="log in again as your cluster's provider says; `kubectl auth whoami` shows whether "
        "it worked",
    )


def _forbidden(call: Call, server: str, message: str, sentence: str) -> TargetError:
    rule = _RBAC.search(message)
    if rule is None:
        # Admission refuses too: Pod Security, a quota, a namespace on its way out.
        return ForbiddenError(sentence)
    namespace = rule["namespace"]
    resource = f"{rule['resource']}.{rule['group']}" if rule["group"] else rule["resource"]
    where = f"in namespace {namespace}" if namespace else "in the whole cluster"
    role = f"Role in namespace {namespace}" if namespace else "ClusterRole"
    return ForbiddenError(
        f"{server} does not let this user {rule['verb']} {resource} {where}, needed to "
        f"{call.verb} {call.thing}",
        hint=f'ask for a {role} with the rule {{apiGroups: ["{rule["group"]}"], '
        f'resources: ["{rule["resource"]}"], verbs: ["{rule["verb"]}"]}}',
    )


def _no_namespace(message: str) -> str:
    found = re.search(r'namespaces "([^"]+)" not found', message)
    return f"there is no namespace {found[1]}: create it, or run `modelshelf up`" if found else ""


def _conflict(call: Call, server: str, said: dict[str, Any], sentence: str) -> TargetError:
    if said.get("reason") == "AlreadyExists":
        return ExistsError(sentence)
    causes = [
        cause
        for cause in (said.get("details") or {}).get("causes") or []
        if cause.get("reason") == "FieldManagerConflict"
    ]
    if not causes:
        return ConflictError(sentence, fields=(), managers=(), hint="try again")
    fields = tuple(dict.fromkeys(str(cause.get("field", "")) for cause in causes))
    found = (_MANAGER.search(str(cause.get("message", ""))) for cause in causes)
    managers = tuple(dict.fromkeys(match[1] for match in found if match))
    return ConflictError(
        f"{', '.join(fields)} of {call.thing} on {server} "
        f"{'is' if len(fields) == 1 else 'are'} owned by {', '.join(managers) or 'somebody else'}",
        fields=fields,
        managers=managers,
        hint="--force-conflicts takes them over",
    )

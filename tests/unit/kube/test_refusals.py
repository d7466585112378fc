"""What a refusal of the Kubernetes API means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelshelf.kube import calls
from modelshelf.kube.calls import Call
from modelshelf.kube.refusals import (
    ConflictError,
    ExistsError,
    ForbiddenError,
    MissingError,
    error_for,
    is_transient,
)
from modelshelf.shelf.errors import TargetError

SERVER = "https://10.0.0.1:6443"
APPLY = Call("apply", "Deployment", "mistral", "llm", "PATCH", "/x")


def refused(call: Call, status: int, message: str, **more: Any) -> TargetError:
    """The error for a Status with a message."""
    body = {"kind": "Status", "message": message, **more}
    return error_for(call, SERVER, "prod", status, json.dumps(body).encode())


def test_credentials_that_are_not_accepted() -> None:
    """The error names the cluster and the context, and the hint says what to do."""
    error = refused(APPLY, 401, "Unauthorized")
    assert (type(error), str(error)) == (
        TargetError,
        f"the cluster {SERVER} does not accept these credentials (context prod)",
    )
    assert error.hint.startswith("log in again")


@pytest.mark.parametrize(
    ("message", "sentence", "hint"),
    [
        (
            (
                'deployments.apps "mistral" is forbidden: User "jane" cannot patch resource '
                '"deployments" in API group "apps" in the namespace "llm"'
            ),
            (
                "does not let this user patch deployments.apps in namespace llm, needed to apply "
                "Deployment llm/mistral"
            ),
            (
                'ask for a Role in namespace llm with the rule {apiGroups: ["apps"], resources: '
                '["deployments"], verbs: ["patch"]}'
            ),
        ),
        (
            (
                'deployments.apps "mistral" is forbidden: User "jane" cannot patch resource '
                '"deployments/scale" in API group "apps" in the namespace "llm": RBAC: no role'
            ),
            (
                "does not let this user patch deployments/scale.apps in namespace llm, needed to "
                "apply Deployment llm/mistral"
            ),
            (
                'ask for a Role in namespace llm with the rule {apiGroups: ["apps"], resources: '
                '["deployments/scale"], verbs: ["patch"]}'
            ),
        ),
        (
            (
                'persistentvolumes is forbidden: User "jane" cannot list resource '
                '"persistentvolumes" in API group "" at the cluster scope'
            ),
            (
                "does not let this user list persistentvolumes in the whole cluster, needed to "
                "apply Deployment llm/mistral"
            ),
            (
                'ask for a ClusterRole with the rule {apiGroups: [""], resources: '
                '["persistentvolumes"], verbs: ["list"]}'
            ),
        ),
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilege…',
            (
                "refused to apply Deployment llm/mistral: "
                'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilege…'
            ),
            "",
        ),
        (
            (
                'configmaps "x" is forbidden: unable to create new content in namespace llm '
                "because it is being terminated"
            ),
            (
                "refused to apply Deployment llm/mistral: "
                'configmaps "x" is forbidden: unable to create new content in namespace llm '
                "because it is being terminated"
            ),
            "",
        ),
    ],
)
def test_what_is_forbidden_names_the_rule(message: str, sentence: str, hint: str) -> None:
    """A missing right is named with its RBAC rule; a refusal by admission keeps its words."""
    error = refused(APPLY, 403, message)
    assert (type(error), str(error), error.hint) == (ForbiddenError, f"{SERVER} {sentence}", hint)


def test_a_conflict_names_fields_and_owners() -> None:
    """The fields and their owners come from the causes in the answer."""
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-edit" using apps/v1 at 2026-11-24T10:00:00Z',
            "field": '.spec.template.spec.containers[name="vllm"].image',
        },
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl" with subresource "scale" using apps/v1',
            "field": ".spec.replicas",
        },
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl" using apps/v1',
            "field": ".spec.paused",
        },
    ]
    error = refused(APPLY, 409, "…", reason="Conflict", details={"causes": causes})
    assert isinstance(error, ConflictError)
    assert (error.fields, error.managers) == (
        ('.spec.template.spec.containers[name="vllm"].image', ".spec.replicas", ".spec.paused"),
        ("kubectl-edit", "kubectl"),
    )
    assert str(error) == (
        '.spec.template.spec.containers[name="vllm"].image, .spec.replicas, .spec.paused of '
        f"Deployment llm/mistral on {SERVER} are owned by kubectl-edit, kubectl"
    )
    assert error.hint == "--force-conflicts takes them over"


def test_an_object_that_changed_meanwhile_is_a_conflict_without_fields() -> None:
    """A conflict of versions names no fields and no owners."""
    error = refused(APPLY, 409, "the object has been modified", reason="Conflict")
    assert isinstance(error, ConflictError)
    assert (error.fields, error.managers, error.hint) == ((), (), "try again")


@pytest.mark.parametrize(
    ("status", "reason", "kind", "hint"),
    [
        (409, "AlreadyExists", ExistsError, ""),
        (404, "NotFound", MissingError, ""),
        (422, "Invalid", TargetError, ""),
        (413, "RequestEntityTooLarge", TargetError, ""),
    ],
)
def test_other_refusals_are_passed_on(
    status: int, reason: str, kind: type[TargetError], hint: str
) -> None:
    """The error names the server and the request, and then has Kubernetes' own words."""
    error = refused(APPLY, status, "spec.x: Invalid value: 3", reason=reason)
    assert (type(error), str(error), error.hint) == (
        kind,
        f"{SERVER} refused to apply Deployment llm/mistral: spec.x: Invalid value: 3",
        hint,
    )


def test_a_namespace_that_is_missing_is_named() -> None:
    """The hint for a missing namespace says how to create it."""
    error = refused(APPLY, 404, 'namespaces "llm" not found')
    assert error.hint == "there is no namespace llm: create it, or run `modelshelf up`"


def test_a_secrets_content_is_not_passed_on() -> None:
    """The error about a Secret names the field, and does not quote its value."""
    secret = calls.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}})
    causes = [{"field": "data[x y]", "message": "Invalid value: hf_SECRET"}]
    error = refused(secret, 422, 'bad "hf_SECRET"', reason="Invalid", details={"causes": causes})
    assert str(error) == f"{SERVER} refused to create Secret t: Invalid: data[x y]"
    error = refused(secret, 400, 'bad "hf_SECRET"', reason="BadRequest")
    assert str(error) == f"{SERVER} refused to create Secret t: BadRequest"


@pytest.mark.parametrize("body", [b"<html>SECRET</html>", b'{"message": "SECRET"}', b"[]", b"\xff"])
def test_who_is_not_an_api_server_is_not_quoted(body: bytes) -> None:
    """The body of an answer that is not from an API server is not quoted."""
    error = error_for(APPLY, SERVER, "prod", 418, body)
    assert str(error) == f"{SERVER} refused to apply Deployment llm/mistral: HTTP status 418"


UNKNOWN = "failed to create typed patch object (llm/m; apps/v1, Kind=Deployment): .x: not declared"


@pytest.mark.parametrize(
    ("method", "status", "message", "again"),
    [
        ("GET", 429, "too many requests", True),
        ("PATCH", 503, "unavailable", True),
        ("PATCH", 500, "etcdserver: leader changed", True),
        ("PATCH", 500, UNKNOWN, False),
        ("PATCH", 409, "conflict", False),
        ("POST", 429, "too many requests", True),
        ("POST", 503, "unavailable", False),
    ],
)
def test_what_may_pass_is_worth_another_try(
    method: str,
    status: int,
    message: str,
    again: bool,  # noqa: FBT001
) -> None:
    """An unknown field (status 500) and a POST that may have succeeded are not sent again."""
    body = json.dumps({"kind": "Status", "message": message}).encode()
    assert is_transient(Call("x", "Pod", "a", "llm", method, "/x"), status, body) is again

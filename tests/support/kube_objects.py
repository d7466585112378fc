"""Kubernetes objects as an API server answers with them, cut down to what is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelshelf.kube.kinds import Object

CREATED = "2026-11-24T10:00:00Z"


def pod(
    conditions: Sequence[Object] = (),
    containers: Sequence[Object] = (),
    init: Sequence[Object] = (),
    *,
    name: str = "m-1",
    node: str | None = "node1",
    phase: str = "Pending",
    deleted: str | None = None,
    owner: str = "m-rs",
    created: str = CREATED,
    **status: Any,
) -> Object:
    """A pod of namespace llm, with an `engine` and a `gate` in its spec."""
    metadata: Object = {
        "name": name,
        "namespace": "llm",
        "uid": f"uid-{name}",
        "creationTimestamp": created,
        "ownerReferences": [{"kind": "ReplicaSet", "name": owner, "uid": f"uid-{owner}"}],
    }
    engine = {"name": "engine", "image": "example/engine:1"}
    spec: Object = {
        "initContainers": [{"name": "gate", "image": "example/python:3"}],
        "containers": [engine | {"resources": {"limits": {"memory": "8Gi"}}}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | ({"deletionTimestamp": deleted} if deleted else {}),
        "spec": spec | ({"nodeName": node} if node else {}),
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
            **status,
        },
    }


def condition(
    kind: str, status: str = "True", message: str = "", reason: str = "", at: str = CREATED
) -> Object:
    """A condition."""
    found = {"type": kind, "status": status, "lastTransitionTime": at}
    return found | {"message": message, "reason": reason}


def state(name: str, now: Object, *, last: Object | None = None, restarts: int = 0) -> Object:
    """A container's status."""
    found: Object = {"name": name, "image": f"example/{name}:1", "restartCount": restarts}
    return found | {"state": now, "lastState": last or {}}


def running(
    name: str, *, at: str = CREATED, last: Object | None = None, restarts: int = 0
) -> Object:
    """The status of a container that runs."""
    return state(name, {"running": {"startedAt": at}}, last=last, restarts=restarts)


def waiting(
    name: str, reason: str, message: str = "", *, last: Object | None = None, restarts: int = 0
) -> Object:
    """The status of a container that does not run."""
    why = {"reason": reason} | ({"message": message} if message else {})
    return state(name, {"waiting": why}, last=last, restarts=restarts)


def terminated(
    code: int, message: str = "", *, reason: str = "", at: str = CREATED, until: str = CREATED
) -> Object:
    """A state of a container that ended."""
    reason = reason or ("Error" if code else "Completed")
    ended = {"exitCode": code, "reason": reason, "startedAt": at, "finishedAt": until}
    return {"terminated": ended | ({"message": message} if message else {})}


def event(kind: str, name: str, reason: str, message: str, **more: Any) -> Object:
    """An event of namespace llm about an object."""
    ref = {"kind": kind, "name": name, "namespace": "llm", "uid": f"uid-{name}"}
    about: Object = {"involvedObject": ref, "reason": reason, "message": message}
    return about | {"type": "Warning", "lastTimestamp": CREATED} | more

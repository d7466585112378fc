"""What a Job and its pods say: is it done, how did it end, which pods hang. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelshelf.render.names import Object
from modelshelf.shelf import errors
from modelshelf.shelf.errors import Error, TargetError
from modelshelf.targets.event_lines import parse_event_line
from modelshelf.targets.kubernetes.pods import seconds

_JOB_NAME = "batch.kubernetes.io/job-name"
_BY_EXIT_CODE: Mapping[int, type[Error]] = {
    kind.exit_code: kind
    for kind in (
        errors.UsageError,
        errors.NotAuthorisedError,
        errors.NotFoundError,
        errors.NoSpaceError,
        errors.NotWritableError,
        errors.IntegrityError,
        errors.SourceError,
        errors.BusyError,
    )
}


def state(job: Object) -> str:
    """`running`, `complete` or `failed`."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in {"Complete", "Failed"}:
            return str(condition["type"]).lower()
    return "running"


def failure(job: Object) -> str:
    """Why the Job controller says that a Job failed; empty if it did not."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") == "Failed":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
    return ""


def pods_of(job: Object, pods: Sequence[Object]) -> list[Object]:
    """A Job's pods, oldest first."""
    name = job["metadata"]["name"]
    uid = job["metadata"].get("uid")
    mine = [
        pod
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(_JOB_NAME) == name
        and any(ref.get("uid") == uid for ref in pod["metadata"].get("ownerReferences") or ())
    ]
    return sorted(mine, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def has_log(pod: Object) -> bool:
    """Whether a pod's container has been started, so that there is something to read."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return any({"running", "terminated"} & set(each.get("state") or {}) for each in statuses)


def ended(pod: Object) -> Mapping[str, Any] | None:
    """How a pod's container ended, as Kubernetes states it; None if it has not."""
    for each in pod.get("status", {}).get("containerStatuses") or ():
        terminated = (each.get("state") or {}).get("terminated")
        if terminated:
            return dict(terminated)
    return None


def outcome(pod: Object) -> dict[str, Any]:
    """A pod's last words as JSON, as core leaves them; empty if there are none."""
    message = (ended(pod) or {}).get("message") or ""
    return parse_event_line(message.strip().splitlines()[-1]) if message.strip() else {}


def typed_error(what: str, told: Mapping[str, Any]) -> Error | None:
    """The error that a pod told of, as the kind it was there; None if it told of none.

    Args:
        what: What the Job was for, which the message begins with.
        told: The pod's last words.
    """
    if told.get("event") != "error":
        return None
    kind = _BY_EXIT_CODE.get(int(told.get("exit_code", 1)), TargetError)
    return kind(f"{what}: {told.get('message', '')}", hint=str(told.get("hint") or ""))


def moment(job: Object) -> float:
    """When a Job ended, or began if it runs; seconds since 1970."""
    status = job.get("status", {})
    ended = status.get("completionTime") or next(
        (
            condition.get("lastTransitionTime")
            for condition in status.get("conditions") or ()
            if condition.get("type") == "Failed"
        ),
        None,
    )
    return seconds(str(ended or job["metadata"]["creationTimestamp"]))

"""What the status of a Job and of its pods says: whether it has ended, and how. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from modelshelf.render.names import Object
from modelshelf.shelf import errors
from modelshelf.shelf.errors import Error, TargetError
from modelshelf.targets.event_lines import parse_event_line
from modelshelf.targets.kubernetes.pods import parse_time

JobState = Literal["running", "complete", "failed"]

_JOB_NAME = "batch.kubernetes.io/job-name"
_ERROR_OF_EXIT_CODE: Mapping[int, type[Error]] = {
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


def state_of(job: Object) -> JobState:
    """How far a Job is."""
    if _true_condition(job, "Complete"):
        return "complete"
    return "failed" if _true_condition(job, "Failed") else "running"


def failure_of(job: Object) -> str:
    """The Job controller's reason for a Job's failure; empty if the Job did not fail."""
    failed = _true_condition(job, "Failed")
    return f"{failed.get('reason', '')}: {failed.get('message', '')}".strip(": ")


def pods_of(job: Object, pods: Sequence[Object]) -> list[Object]:
    """A Job's pods, oldest first."""
    name = job["metadata"]["name"]
    uid = job["metadata"].get("uid")
    own = [
        pod
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(_JOB_NAME) == name
        and any(ref.get("uid") == uid for ref in pod["metadata"].get("ownerReferences") or ())
    ]
    return sorted(own, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def has_log(pod: Object) -> bool:
    """Whether a pod's container was started, so that it has a log to read."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return any({"running", "terminated"} & set(status.get("state") or {}) for status in statuses)


def termination_of(pod: Object) -> Mapping[str, Any] | None:
    """How a pod's container ended, as Kubernetes states it; None if it has not ended."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        terminated = (status.get("state") or {}).get("terminated")
        if terminated:
            return dict(terminated)
    return None


def outcome_of(pod: Object) -> dict[str, Any]:
    """The last event that our code in a pod printed, as JSON; empty if there is none.

    Kubernetes keeps the last lines of a container's output as its termination message.
    """
    message = (termination_of(pod) or {}).get("message") or ""
    return parse_event_line(message.strip().splitlines()[-1]) if message.strip() else {}


def error_in(outcome: Mapping[str, Any], what: str) -> Error | None:
    """The error that a pod's outcome is about, in its own class; None if it is no error.

    Args:
        outcome: The last event that our code in the pod printed.
        what: What the Job was for: the message begins with it.
    """
    if outcome.get("event") != "error":
        return None
    kind = _ERROR_OF_EXIT_CODE.get(int(outcome.get("exit_code", 1)), TargetError)
    return kind(f"{what}: {outcome.get('message', '')}", hint=str(outcome.get("hint") or ""))


def latest_time(job: Object) -> float:
    """When a Job ended, or when it was created if it runs; seconds since 1970."""
    completed = job.get("status", {}).get("completionTime")
    failed = _true_condition(job, "Failed").get("lastTransitionTime")
    return parse_time(str(completed or failed or job["metadata"]["creationTimestamp"]))


def _true_condition(job: Object, kind: str) -> Object:
    """A Job's condition of a type whose status is True; empty if it has none."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") == kind:
            return dict(condition)
    return {}

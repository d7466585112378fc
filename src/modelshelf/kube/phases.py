"""How far a pod is on its way to answering, and what each part of the way took. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from modelshelf.kube.endings import (
    condition,
    ending_of_status,
    main_statuses,
    parse_object,
    statuses,
    waiting,
)
from modelshelf.kube.kinds import Object

IMAGE_TROUBLE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
ENDING_AGAIN = "CrashLoopBackOff"
START_TROUBLE = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


@dataclasses.dataclass(frozen=True, slots=True)
class PodPhase:
    """Where a pod is.

    Attributes:
        name: `pending` (no node yet), `unschedulable`, `scheduled` (a node has it, and mounts its
            volumes), `image` (once for the gate, once for the engine), `gate` (the init container
            runs), `weights` (the engine runs, and does not answer yet), `ready`, `done`, `failed`
            or `terminating`.
        detail: More about it, in one sentence or part of one; may be empty.
    """

    name: str
    detail: str = ""


def pod_phase(pod: Object, gate_says: str = "") -> PodPhase:
    """Where a pod is.

    Args:
        pod: The pod.
        gate_says: The last line of the gate's log, where that is known: JSON with a `reason`.
    """
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return PodPhase("terminating", f"since {pod['metadata']['deletionTimestamp']}")
    if status.get("phase") == "Succeeded":
        return PodPhase("done")
    if status.get("phase") == "Failed":
        return PodPhase("failed", _failure(pod))
    if not (pod.get("spec") or {}).get("nodeName"):
        scheduled = condition(pod, "PodScheduled")
        name = "unschedulable" if scheduled.get("status") == "False" else "pending"
        return PodPhase(name, scheduled.get("message") or "")
    if condition(pod, "Ready").get("status") == "True":
        return PodPhase("ready")
    return _starting(pod, gate_says)


def _starting(pod: Object, gate_says: str) -> PodPhase:
    for init in (pod.get("status") or {}).get("initContainerStatuses") or []:
        ended = (init.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode") == 0:
            continue
        if waiting(init).get("reason") in {None, ENDING_AGAIN}:
            return PodPhase("gate", _gate_detail(init, gate_says))
        return _not_running(pod, init)
    for status in main_statuses(pod):
        if "running" not in (status.get("state") or {}):
            return _not_running(pod, status)
    if not main_statuses(pod):
        return PodPhase("scheduled", _node(pod))
    return PodPhase("weights", _restarted(pod))


def _not_running(pod: Object, status: Object) -> PodPhase:
    why = waiting(status)
    reason = why.get("reason")
    if reason in IMAGE_TROUBLE:
        return PodPhase("image", why.get("message") or f"{reason}: {status.get('image', '')}")
    if reason == ENDING_AGAIN or "terminated" in (status.get("state") or {}):
        return PodPhase("failed", _ended(status))
    if reason in START_TROUBLE:
        return PodPhase("failed", f"{status['name']}: {why.get('message') or reason}")
    # The sandbox is made once the volumes are mounted; then images are pulled.
    if condition(pod, "PodReadyToStartContainers").get("status") == "True":
        return PodPhase("image", str(status.get("image") or ""))
    return PodPhase("scheduled", _node(pod))


def _node(pod: Object) -> str:
    return f"on {pod['spec']['nodeName']}"


def _gate_detail(init: Object, gate_says: str) -> str:
    """What the gate waits for: it says so in its log, and when it gives up in its last words."""
    said = parse_object(gate_says)
    if said and said.get("reason"):
        return str(said["reason"])
    ended = ending_of_status(init)
    return ended.said() if ended else ""


def _restarted(pod: Object) -> str:
    restarts = sum(status.get("restartCount", 0) for status in main_statuses(pod))
    return f"restarted {restarts} times" if restarts else ""


def _failure(pod: Object) -> str:
    status = pod["status"]
    if status.get("message") or status.get("reason"):
        return ": ".join(filter(None, (status.get("reason"), status.get("message"))))
    bad = (item for item in statuses(pod) if (ended := ending_of_status(item)) and ended.exit_code)
    return next((_ended(item) for item in bad), "")


def _ended(status: Object) -> str:
    ended = ending_of_status(status)
    return ended.sentence() if ended else f"{status['name']} ends again and again"


def timeline(pod: Object) -> tuple[tuple[str, float], ...]:
    """Seconds that each phase took which is over, in order; Kubernetes' clock has whole ones.

    `scheduled` is the wait for a node; `image` all between a node and a running container, for
    the gate's and the engine's image together; `weights` ends with the first answer.
    """
    total: dict[str, float] = {}
    for name, start, end in spans(pod):
        total[name] = total.get(name, 0.0) + end - start
    return tuple(total.items())


def spans(pod: Object) -> list[tuple[str, float, float]]:
    """Each phase that is over, its beginning and its end in seconds since 1970, in order."""
    created = _seconds(pod["metadata"].get("creationTimestamp"))
    placed = _became_true(pod, "PodScheduled")
    gates = [
        (item.get("state") or {}).get("terminated") or {}
        for item in (pod.get("status") or {}).get("initContainerStatuses") or []
    ]
    gate_from = _seconds(gates[0].get("startedAt")) if gates else None
    gate_to = _seconds(gates[-1].get("finishedAt")) if gates else None
    running = [(item.get("state") or {}).get("running") or {} for item in main_statuses(pod)]
    engine = _seconds(running[0].get("startedAt")) if running else None
    gated = [("image", placed, gate_from), ("gate", gate_from, gate_to), ("image", gate_to, engine)]
    found = [
        ("scheduled", created, placed),
        *(gated if gates else [("image", placed, engine)]),
        ("weights", engine, _became_true(pod, "Ready")),
    ]
    return [
        (name, start, max(start, end))
        for name, start, end in found
        if start is not None and end is not None
    ]


def _became_true(pod: Object, kind: str) -> float | None:
    found = condition(pod, kind)
    return _seconds(found.get("lastTransitionTime")) if found.get("status") == "True" else None


def _seconds(timestamp: Any) -> float | None:  # noqa: ANN401
    return dt.datetime.fromisoformat(timestamp).timestamp() if timestamp else None

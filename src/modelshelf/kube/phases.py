"""How far a pod is on its way to ready, and how long each phase of that took. Pure."""

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
    waiting_state,
)
from modelshelf.kube.kinds import Object

# Why a container waits: the words are the kubelet's.
IMAGE_PULL_FAILURES = frozenset(
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
ENDS_REPEATEDLY = "CrashLoopBackOff"
START_FAILURES = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


@dataclasses.dataclass(frozen=True, slots=True)
class PodPhase:
    """How far a pod is.

    Attributes:
        name: `pending` (it has no node yet), `unschedulable` (no node has room), `scheduled` (its
            node mounts its volumes), `image` (an image is pulled: once for the gate, once for the
            engine), `gate` (the init container runs), `weights` (the engine runs, and does not
            answer yet), `ready`, `done`, `failed` or `terminating`.
        detail: More about the phase, as a sentence or a part of one; may be empty.
    """

    name: str
    detail: str = ""


def pod_phase(pod: Object, gate_line: str = "") -> PodPhase:
    """How far a pod is.

    Args:
        pod: The pod.
        gate_line: The last line of the gate's log, where that is known: JSON with a `reason`.
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
    return _starting(pod, gate_line)


def _starting(pod: Object, gate_line: str) -> PodPhase:
    for init in (pod.get("status") or {}).get("initContainerStatuses") or []:
        ended = (init.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode") == 0:
            continue
        if waiting_state(init).get("reason") in {None, ENDS_REPEATEDLY}:
            return PodPhase("gate", _gate_detail(init, gate_line))
        return _not_running(pod, init)
    for status in main_statuses(pod):
        if "running" not in (status.get("state") or {}):
            return _not_running(pod, status)
    if not main_statuses(pod):
        return PodPhase("scheduled", _node(pod))
    return PodPhase("weights", _restarted(pod))


def _not_running(pod: Object, status: Object) -> PodPhase:
    state = waiting_state(status)
    reason = state.get("reason")
    if reason in IMAGE_PULL_FAILURES:
        return PodPhase("image", state.get("message") or f"{reason}: {status.get('image', '')}")
    if reason == ENDS_REPEATEDLY or "terminated" in (status.get("state") or {}):
        return PodPhase("failed", _describe_ending(status))
    if reason in START_FAILURES:
        return PodPhase("failed", f"{status['name']}: {state.get('message') or reason}")
    # Kubernetes makes the pod's sandbox when the volumes are mounted, and pulls images after that.
    if condition(pod, "PodReadyToStartContainers").get("status") == "True":
        return PodPhase("image", str(status.get("image") or ""))
    return PodPhase("scheduled", _node(pod))


def _node(pod: Object) -> str:
    return f"on {pod['spec']['nodeName']}"


def _gate_detail(init: Object, gate_line: str) -> str:
    """What the gate waits for: its log says that, and its last line if it has given up."""
    event = parse_object(gate_line)
    if event and event.get("reason"):
        return str(event["reason"])
    ending = ending_of_status(init)
    return ending.explanation() if ending else ""


def _restarted(pod: Object) -> str:
    restarts = sum(status.get("restartCount", 0) for status in main_statuses(pod))
    return f"restarted {restarts} times" if restarts else ""


def _failure(pod: Object) -> str:
    status = pod["status"]
    if status.get("message") or status.get("reason"):
        return ": ".join(filter(None, (status.get("reason"), status.get("message"))))
    endings = (ending_of_status(status) for status in statuses(pod))
    return next((each.sentence() for each in endings if each and each.exit_code), "")


def _describe_ending(status: Object) -> str:
    ending = ending_of_status(status)
    return ending.sentence() if ending else f"{status['name']} ends again and again"


def timeline(pod: Object) -> tuple[tuple[str, float], ...]:
    """How many seconds each phase took that is over, in order. Kubernetes notes whole seconds.

    `scheduled` is the wait for a node. `image` is the time between a node and a running container,
    for the images of the gate and the engine together. `weights` ends when the pod is ready.
    """
    total: dict[str, float] = {}
    for name, start, end in spans(pod):
        total[name] = total.get(name, 0.0) + end - start
    return tuple(total.items())


def spans(pod: Object) -> list[tuple[str, float, float]]:
    """The phases that are over, in order: name, beginning and end in seconds since 1970."""
    created = _parse_time(pod["metadata"].get("creationTimestamp"))
    scheduled = _time_of_condition(pod, "PodScheduled")
    gates = [
        (status.get("state") or {}).get("terminated") or {}
        for status in (pod.get("status") or {}).get("initContainerStatuses") or []
    ]
    gate_start = _parse_time(gates[0].get("startedAt")) if gates else None
    gate_end = _parse_time(gates[-1].get("finishedAt")) if gates else None
    running = [(status.get("state") or {}).get("running") or {} for status in main_statuses(pod)]
    engine_start = _parse_time(running[0].get("startedAt")) if running else None
    until_engine = [("image", scheduled, engine_start)]
    if gates:
        until_engine = [
            ("image", scheduled, gate_start),
            ("gate", gate_start, gate_end),
            ("image", gate_end, engine_start),
        ]
    candidates = [
        ("scheduled", created, scheduled),
        *until_engine,
        ("weights", engine_start, _time_of_condition(pod, "Ready")),
    ]
    return [
        (name, start, max(start, end))
        for name, start, end in candidates
        if start is not None and end is not None
    ]


def _time_of_condition(pod: Object, kind: str) -> float | None:
    """When a condition of a pod became true; None if it is not true."""
    state = condition(pod, kind)
    return _parse_time(state.get("lastTransitionTime")) if state.get("status") == "True" else None


def _parse_time(timestamp: Any) -> float | None:  # noqa: ANN401
    return dt.datetime.fromisoformat(timestamp).timestamp() if timestamp else None

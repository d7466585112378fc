"""How containers ended, and what they said last. Pure.

The fields are those of a pod's `status.containerStatuses[].state` and `.lastState`:
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#ContainerState
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from modelshelf.kube.kinds import Object

_LAST_LINES = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """A container's last end.

    Attributes:
        container: Its name.
        exit_code: What it exited with; 128 and more for a signal.
        reason: Kubernetes' word: `Completed`, `Error`, `OOMKilled`, `ContainerStatusUnknown`.
        message: The JSON object that it said last, if it was one: core's outcome.
        text: The last lines that it said, in one; empty if nothing is known.
        restarts: How often it was started again.
    """

    container: str
    exit_code: int
    reason: str
    message: dict[str, Any] | None = None
    text: str = ""
    restarts: int = 0

    def said(self) -> str:
        """What it said last, for people: its error's message, or else its last lines."""
        told = (self.message or {}).get("message") or (self.message or {}).get("reason")
        if told:
            return str(told)
        # A pod of ours that was killed told how far it was, which explains nothing.
        return "" if "event" in (self.message or {}) else self.text

    def sentence(self) -> str:
        """All of it, for people: `vllm ended with exit code 1: no such device`."""
        reason = "" if self.reason in {"", "Error", "Completed"} else f" ({self.reason})"
        again = f", {self.restarts + 1} times by now" if self.restarts else ""
        said = f": {self.said()}" if self.said() else ""
        return f"{self.container} ended with exit code {self.exit_code}{reason}{again}{said}"


def ending_of(pod: Object, container: str | None = None) -> Ending | None:
    """How a container ended last, or None if it never has.

    Args:
        pod: The pod.
        container: A container's name, or an init container's; None for the pod's first one.
    """
    for status in statuses(pod) if container else main_statuses(pod):
        if container in {None, status["name"]}:
            return ending_of_status(status)
    return None


def ending_of_status(status: Object) -> Ending | None:
    """How the container of one container status ended last, or None if it never has."""
    ended = (status.get("state") or {}).get("terminated")
    ended = ended or (status.get("lastState") or {}).get("terminated")
    if not ended:
        return None
    lines = [line for line in str(ended.get("message") or "").splitlines() if line.strip()]
    return Ending(
        container=status["name"],
        exit_code=ended.get("exitCode", 0),
        reason=ended.get("reason") or "",
        message=parse_object(lines[-1]) if lines else None,
        text=" | ".join(line.strip() for line in lines[-_LAST_LINES:]),
        restarts=status.get("restartCount", 0),
    )


def parse_object(line: str) -> dict[str, Any] | None:
    """The JSON object in a line, or None if there is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def statuses(pod: Object) -> Iterator[Object]:
    """The statuses of a pod's init containers, then of its containers."""
    yield from (pod.get("status") or {}).get("initContainerStatuses") or []
    yield from main_statuses(pod)


def main_statuses(pod: Object) -> list[Object]:
    """The statuses of a pod's containers, without init containers."""
    return (pod.get("status") or {}).get("containerStatuses") or []


def waiting(status: Object) -> Object:
    """Why a container is not running: `reason` and `message`, or nothing."""
    return (status.get("state") or {}).get("waiting") or {}


def condition(obj: Object, kind: str) -> Object:
    """An object's condition of a type; empty if it has none."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((item for item in found if item.get("type") == kind), {})

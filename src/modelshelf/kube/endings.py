"""How containers ended, and what they printed last. Pure.

The fields are those of a pod's `status.containerStatuses[].state` and `.lastState`:
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#ContainerState
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from modelshelf.kube.kinds import Object

_MAX_LINES = 3  # of what a container printed last


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """How a container ended the last time.

    Attributes:
        container: The container's name.
        exit_code: Its exit code; above 128 it was ended by a signal, of the number above 128.
        reason: Kubernetes' word: `Completed`, `Error`, `OOMKilled`, `ContainerStatusUnknown`.
        message: Its last line as a JSON object: the last event that our code printed. None if the
            line is something else.
        text: Its last lines, joined into one; empty if nothing is known.
        restarts: How often it was started again.
    """

    container: str
    exit_code: int
    reason: str
    message: dict[str, Any] | None = None
    text: str = ""
    restarts: int = 0

    def explanation(self) -> str:
        """What it printed about its end: the message of its error, or else its last lines."""
        message = self.message or {}
        if text := message.get("message") or message.get("reason"):
            return str(text)
        # The last event of a killed pod of ours is about its progress, which explains nothing.
        return "" if "event" in message else self.text

    def sentence(self) -> str:
        """The ending in words: `vllm ended with exit code 1: no such device`."""
        reason = "" if self.reason in {"", "Error", "Completed"} else f" ({self.reason})"
        again = f", {self.restarts + 1} times by now" if self.restarts else ""
        explanation = f": {self.explanation()}" if self.explanation() else ""
        return f"{self.container} ended with exit code {self.exit_code}{reason}{again}{explanation}"


def ending_of(pod: Object, container: str | None = None) -> Ending | None:
    """How a container of a pod ended last; None if it never ended.

    Args:
        pod: The pod.
        container: The name of a container or an init container; None for the pod's first container.
    """
    for status in statuses(pod) if container else main_statuses(pod):
        if container in {None, status["name"]}:
            return ending_of_status(status)
    return None


def ending_of_status(status: Object) -> Ending | None:
    """How the container of a container status ended last; None if it never ended."""
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
        text=" | ".join(line.strip() for line in lines[-_MAX_LINES:]),
        restarts=status.get("restartCount", 0),
    )


def parse_object(line: str) -> dict[str, Any] | None:
    """Read a line as a JSON object; None if it is something else."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def statuses(pod: Object) -> Iterator[Object]:
    """The statuses of a pod's init containers, then of its containers."""
    yield from (pod.get("status") or {}).get("initContainerStatuses") or []
    yield from main_statuses(pod)


def main_statuses(pod: Object) -> list[Object]:
    """The statuses of a pod's containers, without init containers."""
    return (pod.get("status") or {}).get("containerStatuses") or []


def waiting_state(status: Object) -> Object:
    """Why a container does not run: `reason` and `message`; empty if it does not wait."""
    return (status.get("state") or {}).get("waiting") or {}


def condition(obj: Object, kind: str) -> Object:
    """An object's condition of a type; empty if it has no such condition."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == kind), {})

"""How long the phases of a pod's start took: by Kubernetes' clock, and by what was logged."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from modelshelf.engines.timeline import GATE as GATE_PHASE
from modelshelf.engines.timeline import Phase, Timeline
from modelshelf.engines.timeline_reader import TimedLine, read_timeline
from modelshelf.kube import endings, phases
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render.names import Object
from modelshelf.render.pod import ENGINE, GATE
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes import pods
from modelshelf.targets.kubernetes.server_objects import labels_of_servers, pods_of_server
from modelshelf.targets.kubernetes.session import Session

_MAX_LOG_BYTES = 1 << 18  # from the beginning of a log; a start writes less


@dataclasses.dataclass(frozen=True, slots=True)
class PodTimeline:
    """The start of one pod's engine; if the engine was restarted, its last start.

    Attributes:
        server: The server's key in the file.
        pod: The pod's name.
        timeline: The phases of the start.
    """

    server: str
    pod: str
    timeline: Timeline


def timelines(session: Session) -> list[PodTimeline]:
    """The starts of all pods of the file's servers; of each server, the oldest pod first.

    Raises:
        TargetError: This user may not list pods or read their logs.
    """
    labels = labels_of_servers(session.config)
    all_pods = session.cluster.list("Pod", session.namespace, labels)
    return [
        PodTimeline(server, pod["metadata"]["name"], found)
        for server in sorted(session.config.servers)
        for pod in pods_of_server(all_pods, server)
        if not pods.is_terminating(pod) and (found := start_of(session, pod))
    ]


def start_of(session: Session, pod: Object) -> Timeline | None:
    """The start of a pod; None while the pod waits for a node.

    Raises:
        ForbiddenError: This user may not read logs.
    """
    gate = [] if _was_restarted(pod) else _log_lines(session, pod, GATE)
    return timeline_of(pod, gate, _log_lines(session, pod, ENGINE), session.clock.wall())


def timeline_of(
    pod: Object, gate: Iterable[TimedLine], engine: Iterable[TimedLine], now: float
) -> Timeline | None:
    """The start of a pod, from its status and its containers' lines. Pure.

    Args:
        pod: The pod.
        gate: The lines of its gate, each with its time.
        engine: The lines of its engine since that was started last, each with its time.
        now: Seconds since 1970.
    """
    status = next(iter(endings.main_statuses(pod)), {})
    running = ((status.get("state") or {}).get("running") or {}).get("startedAt")
    gate = list(gate)
    ready = endings.condition(pod, "Ready")
    ready_since = ready.get("lastTransitionTime") if ready.get("status") == "True" else None
    return read_timeline(
        [*gate, *engine],
        began=pods.parse_time(running) if running else None,
        ready=pods.parse_time(ready_since) if ready_since else None,
        now=now,
        earlier_phases=[] if _was_restarted(pod) else _phases_before_engine(pod, gate),
    )


def _phases_before_engine(pod: Object, gate: Sequence[TimedLine]) -> list[Phase]:
    """The phases before the engine's first line, by Kubernetes' clock, which has whole seconds.

    The gate's own lines are more exact. So its phase is left out where there are lines, and the
    phase after it (the engine's image) begins at the gate's last line.
    """
    before: list[Phase] = []
    for name, start, end in phases.spans(pod):
        if name == "image" and gate and before and before[-1].name == "image":
            start = min(max(start, gate[-1][0]), end)  # noqa: PLW2901
        if name in {"scheduled", "image"} or (name == GATE_PHASE and not gate):
            before.append(Phase(name, start, end - start))
    return before


def _was_restarted(pod: Object) -> bool:
    return any(status.get("restartCount") for status in endings.main_statuses(pod))


def _log_lines(session: Session, pod: Object, container: str) -> list[TimedLine]:
    name = pod["metadata"]["name"]
    try:
        lines = session.cluster.logs(
            name, session.namespace, container, timestamped_bytes=_MAX_LOG_BYTES
        )
        return list(parse_stamped(lines))
    except ForbiddenError:
        raise
    except TargetError:
        return []  # the container was not started yet


def parse_stamped(lines: Iterable[str]) -> Iterator[TimedLine]:
    """Split the time off lines that the Kubernetes API gives with timestamps. Pure."""
    for line in lines:
        timestamp, _, text = line.partition(" ")
        try:
            yield dt.datetime.fromisoformat(timestamp).timestamp(), text
        except ValueError:
            continue  # the last line, cut off at the limit of bytes

"""What the starts of a file's pods took: what Kubernetes says, then what gate and engine said."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from modelshelf.engines.timeline import GATE as GATED
from modelshelf.engines.timeline import Phase, Timeline
from modelshelf.engines.timeline_reader import TimedLine, read_timeline
from modelshelf.kube import endings, phases
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.render.pod import ENGINE, GATE
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes import pods, ready
from modelshelf.targets.kubernetes.site import Site

_BEGINNING = 1 << 18  # bytes of a log; a start says less


@dataclasses.dataclass(frozen=True, slots=True)
class PodTimeline:
    """The start of one pod's engine: its last, if it was restarted."""

    server: str
    pod: str
    timeline: Timeline


def timelines(site: Site) -> list[PodTimeline]:
    """The starts of all pods of the file's servers, oldest first.

    Raises:
        TargetError: This user may not list pods or read their logs.
    """
    labels = {**names.of_file(site.config), names.COMPONENT: names.SERVER}
    every = site.cluster.list("Pod", site.namespace, labels)
    return [
        PodTimeline(server, pod["metadata"]["name"], found)
        for server in sorted(site.config.servers)
        for pod in ready.of_server(every, server)
        if not pods.leaving(pod) and (found := start_of(site, pod))
    ]


def start_of(site: Site, pod: Object) -> Timeline | None:
    """The start of a pod; None while it waits for a node.

    Raises:
        ForbiddenError: This user may not read logs.
    """
    gate = [] if _restarted(pod) else _said(site, pod, GATE)
    return of_pod(pod, gate, _said(site, pod, ENGINE), site.pace.wall())


def of_pod(
    pod: Object, gate: Iterable[TimedLine], engine: Iterable[TimedLine], now: float
) -> Timeline | None:
    """The start of a pod from what it says of itself, and its containers' lines. Pure.

    Args:
        pod: The pod.
        gate: What its gate said.
        engine: What its engine has said since it was started last.
        now: Seconds since 1970.
    """
    status = next(iter(endings.main_statuses(pod)), {})
    running = ((status.get("state") or {}).get("running") or {}).get("startedAt")
    gate = list(gate)
    is_ready = endings.condition(pod, "Ready")
    answered = is_ready.get("lastTransitionTime") if is_ready.get("status") == "True" else None
    return read_timeline(
        [*gate, *engine],
        began=pods.seconds(running) if running else None,
        ready=pods.seconds(answered) if answered else None,
        now=now,
        earlier_phases=[] if _restarted(pod) else _before(pod, gate),
    )


def _before(pod: Object, gate: Sequence[TimedLine]) -> list[Phase]:
    """What was over before the engine's first line, by Kubernetes' clock of whole seconds.

    What the gate says is exact, so that is left to it; the next image begins where it ended.
    """
    found: list[Phase] = []
    for name, start, end in phases.spans(pod):
        if name == "image" and gate and found and found[-1].name == "image":
            start = min(max(start, gate[-1][0]), end)  # noqa: PLW2901
        if name in {"scheduled", "image"} or (name == GATED and not gate):
            found.append(Phase(name, start, end - start))
    return found


def _restarted(pod: Object) -> bool:
    return any(status.get("restartCount") for status in endings.main_statuses(pod))


def _said(site: Site, pod: Object, container: str) -> list[TimedLine]:
    name = pod["metadata"]["name"]
    try:
        return list(stamped(site.cluster.logs(name, site.namespace, container, stamped=_BEGINNING)))
    except ForbiddenError:
        raise
    except TargetError:
        return []  # it has not begun


def stamped(lines: Iterable[str]) -> Iterator[TimedLine]:
    """Lines behind their moments, as the Kubernetes API gives them, taken apart. Pure."""
    for line in lines:
        moment, _, text = line.partition(" ")
        try:
            yield dt.datetime.fromisoformat(moment).timestamp(), text
        except ValueError:
            continue  # cut off at the limit

"""Bringing a model up by `modelshelf up`, measured by the events that it writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.cluster_project import MODEL, SERVER

from bench.cluster_stage import Moment, Second, Stage, Start, pods_to_ready
from bench.timing import FailedError

# An event, and the seconds from the start of the command until it was written.
TimedEvent = tuple[float, Mapping[str, Any]]

# What each kind of event is called in the timeline; other kinds are left out of it.
_MOMENTS = {
    "connected": "lock written: commit and checksums asked of the hub",
    "claim-bound": "namespace, volumes and claims applied; the claims are bound",
    "pull-started": "pull Job created",
    "planned": "pull Job's program runs and knows what to fetch",
    "published": "model pulled, verified, on the shelf",
    "server-ready": "all replicas ready",
    "answered": "a question answered, through the API server",
}
_PHASE_MOMENTS = {
    (MODEL, "scheduled"): "pull Job's pod has a node",
    (SERVER, "scheduled"): "server's pod has a node",
    (SERVER, "gate"): "gate runs",
    (SERVER, "weights"): "gate passed, engine loads weights",
}
_SERVER_APPLIED = "pull Job complete; server applied"


class ByModelshelf:
    """`modelshelf up`, then `modelshelf scale`."""

    title = "`modelshelf up`"

    def start(self, stage: Stage, replicas: int) -> Start:
        """Bring the model up from nothing, until all replicas are ready and one has answered."""
        stage.project.file["servers"][SERVER]["replicas"] = replicas
        moments = tuple(timeline(_run_timed(stage, "up")))
        at = {moment.what: moment.at for moment in moments}
        return Start(
            ready=at[_MOMENTS["server-ready"]],
            answered=at[_MOMENTS["answered"]],
            applied=at[_SERVER_APPLIED],
            fetched=stage.hub.bytes_sent(),
            packages=0,
            pods=pods_to_ready(stage.pods()),
            moments=moments,
        )

    def second(self, stage: Stage) -> Second:
        """Scale from one replica to two."""
        before = stage.hub.bytes_sent()
        events = _run_timed(stage, "scale", SERVER, "2")
        (ready,) = [at for at, event in events if event["event"] == "server-ready"]
        *_, pod = pods_to_ready(stage.pods())
        return Second(ready, stage.hub.bytes_sent() - before, 0, pod)


def timeline(events: Sequence[TimedEvent]) -> Iterator[Moment]:
    """Find the timeline's moments among the events of `up`, each at its first event. Pure."""
    earlier = set()
    for at, event in events:
        name = _moment_name(event)
        if name and name not in earlier:
            earlier.add(name)
            yield Moment(name, at)


def _moment_name(event: Mapping[str, Any]) -> str | None:
    kind = event["event"]
    if kind == "pod-phased":
        return _PHASE_MOMENTS.get((event["name"], event["phase"]))
    if kind == "applied" and event["kind"] == "Deployment":
        return _SERVER_APPLIED
    return _MOMENTS.get(kind)


def _run_timed(stage: Stage, *argv: str) -> list[TimedEvent]:
    """Run a verb, and return each event with the time at which it was written."""
    start = time.monotonic()
    process = stage.project.start(*argv)
    assert process.stdout is not None
    events = [(time.monotonic() - start, json.loads(line)) for line in process.stdout]
    _, stderr = process.communicate()
    if process.returncode:
        last = json.dumps(events[-1][1]) if events else stderr
        raise FailedError(f"modelshelf {' '.join(argv)} ended with {process.returncode}: {last}")
    return events

"""Bringing a model up by `modelshelf up`, seen through the events that it writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support.cluster_project import MODEL, SERVER

from bench.cluster_stage import Moment, Second, Stage, Start, pods_to_ready
from bench.timing import FailedError

Told = tuple[float, Mapping[str, Any]]  # seconds since the command began, and an event

# Kinds of events that are a moment of the timeline, in its words.
_WORDS = {
    "connected": "lock written: commit and checksums asked of the hub",
    "claim-bound": "namespace, volumes and claims applied; the claims are bound",
    "pull-started": "pull Job created",
    "planned": "pull Job's program runs and knows what to fetch",
    "published": "model pulled, verified, on the shelf",
    "server-ready": "all replicas ready",
    "answered": "a question answered, through the API server",
}
_PHASES = {
    (MODEL, "scheduled"): "pull Job's pod has a node",
    (SERVER, "scheduled"): "server's pod has a node",
    (SERVER, "gate"): "gate runs",
    (SERVER, "weights"): "gate passed, engine loads weights",
}
_DEPLOYED = "pull Job complete; server applied"


class ByModelshelf:
    """`modelshelf up`, then `modelshelf scale`."""

    title = "`modelshelf up`"

    def start(self, stage: Stage, replicas: int) -> Start:
        """From nothing to all replicas ready and an answer."""
        stage.project.file["servers"][SERVER]["replicas"] = replicas
        moments = tuple(timeline(_told(stage, "up")))
        at = {moment.what: moment.at for moment in moments}
        return Start(
            ready=at[_WORDS["server-ready"]],
            answered=at[_WORDS["answered"]],
            applied=at[_DEPLOYED],
            fetched=stage.hub.bytes_sent(),
            packages=0,
            pods=pods_to_ready(stage.pods()),
            moments=moments,
        )

    def second(self, stage: Stage) -> Second:
        """From one replica to two."""
        before = stage.hub.bytes_sent()
        told = _told(stage, "scale", SERVER, "2")
        (ready,) = [at for at, event in told if event["event"] == "server-ready"]
        *_, pod = pods_to_ready(stage.pods())
        return Second(ready, stage.hub.bytes_sent() - before, 0, pod)


def timeline(told: Sequence[Told]) -> Iterator[Moment]:
    """The moments among the events of `up`, each when it was first told. Pure."""
    seen = set()
    for at, event in told:
        words = _words(event)
        if words and words not in seen:
            seen.add(words)
            yield Moment(words, at)


def _words(event: Mapping[str, Any]) -> str | None:
    kind = event["event"]
    if kind == "pod-phased":
        return _PHASES.get((event["name"], event["phase"]))
    if kind == "applied" and event["kind"] == "Deployment":
        return _DEPLOYED
    return _WORDS.get(kind)


def _told(stage: Stage, *argv: str) -> list[Told]:
    """Run a verb and note when it wrote each event."""
    began = time.monotonic()
    process = stage.project.start(*argv)
    assert process.stdout is not None
    told = [(time.monotonic() - began, json.loads(line)) for line in process.stdout]
    _, said = process.communicate()
    if process.returncode:
        last = json.dumps(told[-1][1]) if told else said
        raise FailedError(f"modelshelf {' '.join(argv)} ended with {process.returncode}: {last}")
    return told

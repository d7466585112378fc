"""Events of a cluster as sentences for people. Pure.

An import of this module registers the events with `event_text.sentence` and `event_text.unwrap`.
"""

from __future__ import annotations

from modelshelf.cli.event_text import sentence, unwrap
from modelshelf.cli.formats import age, count, short_id
from modelshelf.shelf.events import Event
from modelshelf.targets.kubernetes import events

_PHASES = {
    "pending": "waits for a node",
    "unschedulable": "finds no node",
    "scheduled": "mounts its volumes",
    "image": "gets its image",
    "gate": "its gate looks for the model",
    "weights": "loads the model",
    "ready": "is ready",
    "done": "is done",
    "failed": "failed",
    "terminating": "ends",
}


def _snapshot(named: str) -> str:
    repo_id, _, snapshot = named.partition("@")
    return f"{repo_id}@{short_id(snapshot)}" if snapshot else repo_id


@unwrap.register
def _(event: events.PullEvent) -> tuple[str, Event]:
    return event.model, event.event


@unwrap.register
def _(event: events.PrimeEvent) -> tuple[str, Event]:
    return event.server, event.event


@sentence.register
def _(event: events.Connected) -> str:
    return f"{event.server} (context {event.context}), namespace {event.namespace}"


@sentence.register
def _(event: events.Applied) -> str:
    return "" if event.how == "unchanged" else f"{event.kind}/{event.name} {event.how}"


@sentence.register
def _(event: events.TakenBack) -> str:
    who = ", ".join(event.managers)
    return f"{event.kind}/{event.name}: set back what {who} set: {', '.join(event.fields)}"


@sentence.register
def _(event: events.Removing) -> str:
    return f"not in modelshelf.yaml any more: {', '.join(event.objects)}"


@sentence.register
def _(event: events.Kept) -> str:
    return f"kept: {event.name}, {event.what} ({event.why})"


@sentence.register
def _(event: events.LoadChosen) -> str:
    return f"{event.server} reads its model {event.load}"


@sentence.register
def _(event: events.Awaiting) -> str:
    return f"waiting for {event.what}: {event.why}"


@sentence.register
def _(event: events.ClaimBound) -> str:
    return f"claim {event.name} has its volume {event.volume}"


@sentence.register
def _(event: events.PullStarted) -> str:
    what = {
        "created": "started",
        "replaced": "runs again, to look at the shelf",
        "attached": "runs already",
    }[event.how]
    return f"{event.model}: Job {event.job} {what}"


@sentence.register
def _(event: events.PullEvent) -> str:
    text = sentence(event.event)
    return f"{event.model}: {text}" if text else ""


@sentence.register
def _(event: events.PullTrouble) -> str:
    return f"{event.model}: {event.reason}; the Job tries again"


@sentence.register
def _(event: events.PrimeStarted) -> str:
    what = {
        "created": "started",
        "replaced": "runs again",
        "attached": "runs already",
        "present": "is complete: primed before",
    }[event.how]
    return f"{event.server}: Job {event.job} {what}"


@sentence.register
def _(event: events.PrimeEvent) -> str:
    text = sentence(event.event)
    return f"{event.server}: {text}" if text else ""


@sentence.register
def _(event: events.PrimeTrouble) -> str:
    return f"{event.server}: {event.reason}; the Job tries again"


@sentence.register
def _(event: events.PrimeSkipped) -> str:
    return f"{event.server}: not primed, since no node has room for that: {event.reason}"


@sentence.register
def _(event: events.PodPhased) -> str:
    detail = f": {event.detail}" if event.detail else ""
    phase = _PHASES.get(event.phase, event.phase)
    return f"{event.name}: pod {event.pod} {phase}{detail} ({age(event.seconds)})"


@sentence.register
def _(event: events.PodForced) -> str:
    return f"pod {event.pod} deleted by force: its node {event.node} is gone"


@sentence.register
def _(event: events.ServerReady) -> str:
    if not event.replicas:
        return f"{event.server}: no replicas, as asked"
    return f"{event.server}: {count(event.replicas, 'replica')} ready at {event.url}"


@sentence.register
def _(event: events.Answered) -> str:
    answer = " ".join(event.answer.split())
    return (
        f"{event.server} answers as {event.model} in {event.seconds:.1f} s\n"
        f"  {event.question}\n  {answer}"
    )


@sentence.register
def _(event: events.NotAsked) -> str:
    return f"{event.server} was not asked: {event.why}"


@sentence.register
def _(event: events.Scaled) -> str:
    return f"{event.server}: {event.before} → {count(event.replicas, 'replica')}"


@sentence.register
def _(event: events.RolledBack) -> str:
    return f"{event.server}: {_snapshot(event.before)} → {_snapshot(event.now)}"


@sentence.register
def _(event: events.Done) -> str:
    if event.verb == "down":
        return f"removed in {age(event.seconds)}"
    if not event.changed:
        return f"nothing changed: the cluster is as modelshelf.yaml says ({age(event.seconds)})"
    return f"{count(event.changed, 'object')} changed in {age(event.seconds)}"

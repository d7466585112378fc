"""What happens while a cluster is brought to what the file says."""

from __future__ import annotations

import dataclasses
from typing import Any

from modelshelf.shelf.events import Event


@dataclasses.dataclass(frozen=True, slots=True)
class Connected(Event):
    """Which cluster is spoken with: the API server's URL and the context's name."""

    server: str
    context: str
    namespace: str


@dataclasses.dataclass(frozen=True, slots=True)
class Applied(Event):
    """An object of the cluster is as the file says.

    Attributes:
        how: `created`, `changed`, `unchanged`, `mended` or `removed`.
    """

    kind: str
    name: str
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class TakenBack(Event):
    """Somebody changed fields of our object, and they are set again.

    Attributes:
        fields: Paths of the fields.
        managers: Who had changed them, as the API server names them.
    """

    kind: str
    name: str
    fields: tuple[str, ...]
    managers: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Removing(Event):
    """Objects that the file does not ask for any more will be removed, as `Kind/name`."""

    objects: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Kept(Event):
    """Something is not as the file says, on purpose."""

    name: str
    what: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class LoadChosen(Event):
    """How a server's engine reads its model, and why."""

    server: str
    load: str


@dataclasses.dataclass(frozen=True, slots=True)
class Awaiting(Event):
    """The cluster is not there yet; `why` is the reason that Kubernetes gives."""

    what: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimBound(Event):
    """A claim has its volume."""

    name: str
    volume: str


@dataclasses.dataclass(frozen=True, slots=True)
class PullStarted(Event):
    """A model's Job runs; `how` is `created`, `replaced` (a finished one) or `attached`."""

    model: str
    job: str
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class PullEvent(Event):
    """What a model's Job tells; in JSON the event itself, with the model beside it."""

    model: str
    event: Event

    def to_json(self) -> dict[str, Any]:
        """The event told, as one JSON object with `model`."""
        return {**self.event.to_json(), "model": self.model}


@dataclasses.dataclass(frozen=True, slots=True)
class PullTrouble(Event):
    """A pod of a model's Job ended with an error; the Job may try again."""

    model: str
    pod: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeStarted(Event):
    """A server is primed by a Job.

    Attributes:
        how: `created`, `replaced` (one that had failed, or that shall look again), `attached`, or
            `present`: it is complete, and nothing was started.
    """

    server: str
    job: str
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeEvent(Event):
    """What the Job that primes a server tells; in JSON the event itself, with the server."""

    server: str
    event: Event

    def to_json(self) -> dict[str, Any]:
        """The event told, as one JSON object with `server`."""
        return {**self.event.to_json(), "server": self.server}


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeTrouble(Event):
    """A pod of the Job that primes a server ended with an error; the Job may try again."""

    server: str
    pod: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeSkipped(Event):
    """A server that has pods is not primed: no node has room for its Job, for this reason."""

    server: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class PodPhased(Event):
    """A pod went on by a step.

    Attributes:
        name: The server's or the model's key.
        phase: Such as scheduled, image, gate, weights or ready.
        detail: The reason that Kubernetes gives, where it gives one.
        seconds: Since the pod was created.
    """

    name: str
    pod: str
    phase: str
    detail: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class PodForced(Event):
    """A pod that could not end, since its node is gone, was deleted by force."""

    pod: str
    node: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServerReady(Event):
    """All replicas of a server are ready, at this URL inside the cluster."""

    server: str
    replicas: int
    url: str


@dataclasses.dataclass(frozen=True, slots=True)
class Answered(Event):
    """A server answered a question, through the API server."""

    server: str
    model: str
    question: str
    answer: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class NotAsked(Event):
    """A server was not asked, and why."""

    server: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Done(Event):
    """All of it is as the file says; `changed` counts the objects that were not before."""

    verb: str
    changed: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Scaled(Event):
    """A server shall have another number of pods; `before` is how many there are."""

    server: str
    before: int
    replicas: int


@dataclasses.dataclass(frozen=True, slots=True)
class RolledBack(Event):
    """The lock has a server's older snapshot again; both are `repo_id@id`."""

    server: str
    model: str
    before: str
    now: str

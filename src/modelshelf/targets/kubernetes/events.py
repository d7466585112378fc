"""Events: what happens while a cluster is brought to what the file says."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from modelshelf.shelf.events import Event

ResultOfApply = Literal["created", "changed", "unchanged"]
StartOfJob = Literal["created", "replaced", "attached"]


@dataclasses.dataclass(frozen=True, slots=True)
class Connected(Event):
    """A verb begins to work on a cluster.

    Attributes:
        server: The API server's URL.
        context: The name of the kubeconfig's context.
        namespace: The namespace of the file.
    """

    server: str
    context: str
    namespace: str


@dataclasses.dataclass(frozen=True, slots=True)
class Applied(Event):
    """An object of the cluster is as the file says.

    Attributes:
        how: `created`, `changed`, `unchanged`, `removed`, or `mended`: a volume whose claim was
            deleted can be bound again.
    """

    kind: str
    name: str
    how: Literal["created", "changed", "unchanged", "mended", "removed"]


@dataclasses.dataclass(frozen=True, slots=True)
class TakenBack(Event):
    """Somebody changed fields of our object, and they are set again.

    Attributes:
        fields: Paths of the fields.
        managers: Who changed them, as the API server names them.
    """

    kind: str
    name: str
    fields: tuple[str, ...]
    managers: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Removing(Event):
    """Objects that the file does not ask for any more will be removed.

    Attributes:
        objects: Each as `Kind/name`.
    """

    objects: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Kept(Event):
    """Something differs from the file on purpose.

    Attributes:
        name: The key of a server, or the name of an object.
        what: What of it stays.
        why: The reason.
    """

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
    """Something in the cluster is waited for.

    Attributes:
        what: What is waited for.
        why: The reason that Kubernetes gives.
    """

    what: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimBound(Event):
    """A claim has its volume."""

    name: str
    volume: str


@dataclasses.dataclass(frozen=True, slots=True)
class PullStarted(Event):
    """A model's Job runs.

    Attributes:
        how: `created`, `replaced` (a finished Job), or `attached` (to a Job that runs already).
    """

    model: str
    job: str
    how: StartOfJob


@dataclasses.dataclass(frozen=True, slots=True)
class PullEvent(Event):
    """An event of the pod of a model's Job; in JSON the event itself, with the model added."""

    model: str
    event: Event

    def to_json(self) -> dict[str, Any]:
        """The pod's event as one JSON object, with `model`."""
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
        how: `created`, `replaced` (a finished Job), `attached` (to a Job that runs already), or
            `present`: the Job is complete, and nothing was started.
    """

    server: str
    job: str
    how: StartOfJob | Literal["present"]


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeEvent(Event):
    """An event of the pod that primes a server; in JSON the event itself, with the server added."""

    server: str
    event: Event

    def to_json(self) -> dict[str, Any]:
        """The pod's event as one JSON object, with `server`."""
        return {**self.event.to_json(), "server": self.server}


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeTrouble(Event):
    """A pod of the Job that primes a server ended with an error; the Job may try again."""

    server: str
    pod: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class PrimeSkipped(Event):
    """A server that has pods is not primed, because no node has room for its Job."""

    server: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class PodPhased(Event):
    """A pod has reached its next phase, or has another reason to stay in its phase.

    Attributes:
        name: The key of the server or the model that the pod works for.
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
    """A pod that could not end, because its node is gone, was deleted by force."""

    pod: str
    node: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServerReady(Event):
    """All replicas of a server are ready.

    Attributes:
        url: The server's URL inside the cluster.
    """

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
    """A server was not asked a question, and why."""

    server: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Done(Event):
    """A verb has done everything.

    Attributes:
        verb: `up`, `prime` or `down`.
        changed: How many objects were not as the file says before.
        seconds: How long it took.
    """

    verb: Literal["up", "prime", "down"]
    changed: int
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Scaled(Event):
    """A server gets another number of pods.

    Attributes:
        before: How many pods there are.
        replicas: How many there shall be.
    """

    server: str
    before: int
    replicas: int


@dataclasses.dataclass(frozen=True, slots=True)
class RolledBack(Event):
    """The lock has a server's older snapshot again.

    Attributes:
        before: The snapshot that was served, as `repo_id@id`.
        now: The snapshot in the lock, as `repo_id@id`.
    """

    server: str
    model: str
    before: str
    now: str

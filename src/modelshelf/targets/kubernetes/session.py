"""What every step of a verb needs: the file, the cluster, the listener, the timeouts, the clock."""

from __future__ import annotations

import dataclasses

from modelshelf.config.file import Config
from modelshelf.kube.client import Cluster
from modelshelf.shelf.events import Listener, ignore
from modelshelf.targets.kubernetes.clock import SYSTEM_CLOCK, Clock


@dataclasses.dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each wait may take, in seconds.

    Attributes:
        claim: For a claim to get its volume.
        deletion: For a deleted object to be gone.
        pull: For a pull Job; None for the deadline in the Job itself.
        ready: For a server that makes no progress; None for its Deployment's progress deadline.
        answer: For a server to answer one question.
    """

    claim: float = 120.0
    deletion: float = 300.0
    pull: float | None = None
    ready: float | None = None
    answer: float = 180.0

    @classmethod
    def all(cls, seconds: float) -> Timeouts:
        """The same timeout for every wait."""
        return cls(seconds, seconds, seconds, seconds, seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """One run of a verb.

    Attributes:
        config: The modelshelf.yaml.
        cluster: The cluster that the verb works on.
        tell: Gets every event.
        timeouts: How long each wait may take.
        clock: How the verb reads the time and waits.
    """

    config: Config
    cluster: Cluster
    tell: Listener = ignore
    timeouts: Timeouts = Timeouts()
    clock: Clock = SYSTEM_CLOCK

    @property
    def namespace(self) -> str:
        """The namespace of all objects except volumes."""
        return self.config.namespace

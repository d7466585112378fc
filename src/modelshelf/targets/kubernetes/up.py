"""`up`: bring a cluster to what the file and the lock say, without interrupting what serves."""

from __future__ import annotations

import dataclasses

from modelshelf.config.lock import Lock, refuse_too_large
from modelshelf.render.rendered import render
from modelshelf.shelf.events import Event, Listener
from modelshelf.targets.kubernetes import hub_token, servers, volumes
from modelshelf.targets.kubernetes.ask import ask
from modelshelf.targets.kubernetes.events import Applied, Connected, Done, TakenBack
from modelshelf.targets.kubernetes.namespace import apply_namespace
from modelshelf.targets.kubernetes.prime_jobs import plan_primes, prime_servers
from modelshelf.targets.kubernetes.prune import prune, wanted_keys
from modelshelf.targets.kubernetes.pull_jobs import pull_models
from modelshelf.targets.kubernetes.rollout import wait_until_ready
from modelshelf.targets.kubernetes.session import Session


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The options of `up`.

    Attributes:
        token: The Hub's token, for pulls.
        force_conflicts: Take over objects that are not ours.
        refresh_code: Give servers the newest code, which restarts them.
        ask: Ask each server a question at the end.
    """

    token: str | None = dataclasses.field(default=None, repr=False)
    force_conflicts: bool = False
    refresh_code: bool = False
    ask: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What `up` did.

    Attributes:
        changed: How many objects it created, changed, took back or removed.
        seconds: How long it took.
    """

    changed: int
    seconds: float


def up(session: Session, lock: Lock, options: Options) -> Report:
    """Bring a cluster to what the file and the lock say. After an interruption, run it again.

    Storage and the token come first, then the pulls of all models, then the Jobs that prime
    servers, and then the servers. A server that was changed before its model is there would hold a
    GPU while it waits.

    Args:
        session: The file, the cluster, and how long to wait.
        lock: The lock, with every model of the file.
        options: The options.

    Raises:
        UsageError: The file asks for something impossible; nothing was done.
        NoSpaceError: A model is larger than the share; nothing was done.
        TargetError: The cluster refused, or did not get ready; the message has the reason.
        Error: A Job failed. The error is the one that its pod reported.
    """
    counter = _ChangeCounter(session.tell)
    session = dataclasses.replace(session, tell=counter.tell)
    began = session.clock.now()
    lock = lock.only(session.config.models)
    refuse_too_large(session.config, lock)
    rendered = render(session.config, lock)
    session.tell(Connected(session.cluster.server, session.cluster.context, session.namespace))
    force = options.force_conflicts
    apply_namespace(session, rendered.namespace)
    hub_token.provide(session, options.token, force=force)
    volumes.apply_storage(session, rendered.storage, lock, force=force)
    servers.warn_of_missing_gpus(session, rendered.servers)
    pull_models(session, rendered, force=force)
    prime_plan = plan_primes(session, rendered.primes)
    prime_servers(session, rendered, prime_plan, force=force)
    server_plan = servers.plan_servers(session, rendered.servers, refresh=options.refresh_code)
    servers.apply_servers(session, server_plan, rendered, force=force)
    prune(session, wanted_keys(rendered, server_plan, prime_plan))
    wait_until_ready(session, server_plan.objects)
    if options.ask:
        for server in filter(server_plan.replicas, server_plan.objects):
            ask(session, server)
    seconds = round(session.clock.now() - began, 1)
    session.tell(Done("up", counter.changed, seconds))
    return Report(counter.changed, seconds)


class _ChangeCounter:
    """Counts the events of changed objects, and passes all events on.

    Attributes:
        changed: How many objects were created, changed, taken back or removed.
    """

    def __init__(self, tell: Listener) -> None:
        self.changed = 0
        self._tell = tell

    def tell(self, event: Event) -> None:
        was_applied = isinstance(event, Applied) and event.how != "unchanged"
        self.changed += was_applied or isinstance(event, TakenBack)
        self._tell(event)

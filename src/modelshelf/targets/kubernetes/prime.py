"""`prime`: run a server's engine once more, and publish its compile cache for every later start."""

from __future__ import annotations

from modelshelf.config.lock import Lock
from modelshelf.render.rendered import render
from modelshelf.shelf.errors import UsageError
from modelshelf.targets.kubernetes import hub_token, volumes
from modelshelf.targets.kubernetes.events import Connected, Done
from modelshelf.targets.kubernetes.namespace import apply_namespace
from modelshelf.targets.kubernetes.prime_jobs import plan_primes, prime_servers
from modelshelf.targets.kubernetes.pull_jobs import pull_models
from modelshelf.targets.kubernetes.server_objects import require_server
from modelshelf.targets.kubernetes.session import Session


def prime(session: Session, lock: Lock, server: str, token: str | None = None) -> None:
    """Prime a server, whether it was primed before or not; its pods go on as they are.

    Args:
        session: The file, the cluster, and how long to wait.
        lock: The lock, with every model of the file.
        server: The server's key in the file.
        token: The Hub's token, for a model that is not on the shelf yet.

    Raises:
        UsageError: The file has no such server, or its pods would not look for a compile cache.
        TargetError: The cluster refused, or the engine did not get ready.
        Error: A Job failed. The error is the one that its pod reported.
    """
    model = require_server(session.config, server).model
    began = session.clock.now()
    rendered = render(session.config, lock.only(session.config.models))
    if server not in rendered.primes:
        raise UsageError(
            f"server {server} does not say prime: true, so its pods would not look for a compile "
            "cache",
            hint=f"set servers.{server}.prime, and run modelshelf up, which primes it, too",
        )
    session.tell(Connected(session.cluster.server, session.cluster.context, session.namespace))
    apply_namespace(session, rendered.namespace)
    hub_token.provide(session, token, force=False)
    volumes.apply_storage(session, rendered.storage, lock, force=False)
    pull_models(session, rendered, [model])
    plan = plan_primes(session, {server: rendered.primes[server]}, again=[server])
    prime_servers(session, rendered, plan, required=True)
    session.tell(Done("prime", 0, round(session.clock.now() - began, 1)))

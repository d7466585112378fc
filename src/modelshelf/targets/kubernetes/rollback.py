"""`rollback`: give a server the snapshot that it had before, without the Hub and without a pull."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence

from modelshelf.config.lock import Lock, LockedModel
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.render.rendered import render
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.values import Snapshot
from modelshelf.targets.kubernetes import servers
from modelshelf.targets.kubernetes.events import Kept, RolledBack
from modelshelf.targets.kubernetes.prune import config_maps_in_use
from modelshelf.targets.kubernetes.rollout import wait_until_ready
from modelshelf.targets.kubernetes.server_objects import require_server, snapshot_of
from modelshelf.targets.kubernetes.session import Session

_REVISION = "deployment.kubernetes.io/revision"
_OTHER_WAY = "set a revision of the model in modelshelf.yaml instead"


def rollback(session: Session, lock: Lock, server: str, *, keep: Callable[[Lock], None]) -> Lock:
    """Give a server the snapshot that it had before this one.

    The shelf still has that snapshot, and the server's gate checks that it has. Other servers of
    the same model stay as they are, until the next `up` gives them what the lock says.

    Args:
        session: The file, the cluster, and how long to wait.
        lock: The lock as it is.
        server: The server's key in the file.
        keep: Writes the lock. It is called before the cluster changes, so that the next `up` does
            not return to the newer snapshot.

    Returns:
        The lock with the older snapshot.

    Raises:
        UsageError: The file has no such server.
        TargetError: The server had no other snapshot, or the cluster refused or did not get ready.
    """
    config = session.config
    model = require_server(config, server).model
    replica_set, current = _find_previous(session, server)
    snapshot = _snapshot_of_gate(session, server, replica_set)
    lock = lock.with_model(model, with_snapshot(lock, model, snapshot))
    keep(lock)
    session.tell(RolledBack(server, model, current, f"{snapshot.repo_id}@{snapshot.id}"))
    for other, entry in sorted(config.servers.items()):
        if other != server and entry.model == model:
            why = "it serves the same model; the next up gives it what the lock says now"
            session.tell(Kept(other, "its snapshot", why))
    rendered = render(config, lock)
    plan = servers.plan_servers(session, {server: rendered.servers[server]}, refresh=False)
    servers.apply_servers(session, plan, rendered, force=False)
    wait_until_ready(session, [server])
    return lock


def with_snapshot(lock: Lock, model: str, snapshot: Snapshot) -> LockedModel:
    """The lock's entry of a model, with another snapshot. Pure.

    All else stays: the lock is compared with the file by the source and the choice of files.

    Raises:
        UsageError: The lock has no such model.
    """
    locked = lock.models.get(model)
    if locked is None:
        raise UsageError(f"modelshelf.lock lacks the model {model}", hint="run modelshelf lock")
    return dataclasses.replace(locked, snapshot=snapshot)


def previous(replica_sets: Sequence[Object], current: str) -> Object | None:
    """The newest ReplicaSet with another snapshot than the current one. Pure.

    Args:
        replica_sets: The ReplicaSets of one Deployment.
        current: The snapshot that the Deployment's template names.
    """
    others = [each for each in replica_sets if snapshot_of(each) not in {"", current}]
    return max(others, key=_revision, default=None)


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _find_previous(session: Session, server: str) -> tuple[Object, str]:
    """Find the ReplicaSet to go back to, and the snapshot that is served now."""
    name = names.fitted(server)
    deployment = session.cluster.get("Deployment", name, session.namespace)
    if deployment is None:
        raise TargetError(
            f"server {server} is not in namespace {session.namespace}", hint="run modelshelf up"
        )
    uid = deployment["metadata"]["uid"]
    labels = names.selector(session.config, server)
    replica_sets = [
        each
        for each in session.cluster.list("ReplicaSet", session.namespace, labels)
        if any(ref.get("uid") == uid for ref in each["metadata"].get("ownerReferences") or ())
    ]
    current = snapshot_of(deployment)
    replica_set = previous(replica_sets, current)
    if replica_set is None:
        raise TargetError(
            f"server {server} has had no other snapshot than {current}", hint=_OTHER_WAY
        )
    return replica_set, current


def _snapshot_of_gate(session: Session, server: str, replica_set: Object) -> Snapshot:
    """Read the snapshot that a ReplicaSet's gate looks for from the gate's ConfigMap."""
    for name in sorted(config_maps_in_use([replica_set])):
        config_map = session.cluster.get("ConfigMap", name, session.namespace) or {}
        text = (config_map.get("data") or {}).get("gate.json")
        if text is None:
            continue
        try:
            return Snapshot.from_json(json.loads(text)["snapshot"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TargetError(
                f"ConfigMap {session.namespace}/{name} does not hold a snapshot: {error!r}",
                hint=_OTHER_WAY,
            ) from error
    raise TargetError(
        f"the ConfigMap with the snapshot that server {server} had before is gone",
        hint=_OTHER_WAY,
    )

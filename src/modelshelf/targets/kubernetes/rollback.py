"""`rollback`: give a server the snapshot it had before, without asking the hub or pulling."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from modelshelf.config.file import Config
from modelshelf.config.lock import Lock, LockedModel
from modelshelf.config.server_section import ServerConfig
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.render.plan import render
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.values import Snapshot
from modelshelf.targets.kubernetes import prune, ready, servers
from modelshelf.targets.kubernetes.events import Kept, RolledBack
from modelshelf.targets.kubernetes.site import Site

_REVISION = "deployment.kubernetes.io/revision"


def rollback(site: Site, lock: Lock, server: str, *, keep: Callable[[Lock], None]) -> Lock:
    """Give a server the snapshot that it had before this one.

    The shelf has that snapshot still; its gate looks. Other servers of the same model stay, until
    the next `up` gives them what the lock says.

    Args:
        site: The file, the cluster, who is told, and how long it waits.
        lock: As it is.
        server: The server's key.
        keep: Writes the lock, before anything changes: the next `up` must not roll forward.

    Returns:
        The lock, with the older snapshot.

    Raises:
        UsageError: The file has no such server.
        TargetError: There is nothing to go back to, or the cluster refused or did not get ready.
    """
    config = site.config
    model = require(config, server).model
    before, now = _previous(site, server)
    snapshot = _snapshot(site, server, before)
    lock = lock.with_model(model, with_snapshot(lock, model, snapshot))
    keep(lock)
    site.tell(RolledBack(server, model, now, f"{snapshot.repo_id}@{snapshot.id}"))
    for other, config_of in sorted(config.servers.items()):
        if other != server and config_of.model == model:
            why = "it serves the same model; the next up gives it what the lock says now"
            site.tell(Kept(other, "its snapshot", why))
    rendered = render(config, lock)
    prepared = servers.prepare(site, {server: rendered.servers[server]}, refresh=False)
    servers.apply_servers(site, prepared, rendered, force=False)
    ready.until_ready(site, [server])
    return lock


def require(config: Config, server: str) -> ServerConfig:
    """A server of the file.

    Raises:
        UsageError: The file has none of this name.
    """
    if server not in config.servers:
        known = ", ".join(sorted(config.servers)) or "none"
        raise UsageError(f"modelshelf.yaml has no server {server}", hint=f"it has {known}")
    return config.servers[server]


def with_snapshot(lock: Lock, model: str, snapshot: Snapshot) -> LockedModel:
    """What the lock has for a model, with another snapshot. Pure.

    Source and choice stay as the file has them: they are what the lock is compared with.
    """
    locked = lock.models.get(model)
    if locked is None:
        raise UsageError(f"modelshelf.lock lacks the model {model}", hint="run modelshelf lock")
    return LockedModel(locked.source, locked.choice, snapshot)


def previous(sets: Sequence[Object], current: str) -> Object | None:
    """The newest ReplicaSet of another snapshot than the current one. Pure.

    Args:
        sets: The ReplicaSets of one Deployment.
        current: The snapshot that its template names.
    """
    others = [each for each in sets if (found := snapshot_of(each)) and found != current]
    return max(others, key=_revision, default=None)


def snapshot_of(workload: Object) -> str:
    """The snapshot that a pod template names, as `repo_id@id`; empty if it names none. Pure."""
    metadata = workload["spec"]["template"].get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(names.SNAPSHOT, ""))


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))


def _previous(site: Site, server: str) -> tuple[Object, str]:
    name = names.fitted(server)
    deployment = site.cluster.get("Deployment", name, site.namespace)
    if deployment is None:
        raise TargetError(
            f"server {server} is not in namespace {site.namespace}", hint="run modelshelf up"
        )
    uid = deployment["metadata"]["uid"]
    sets = [
        each
        for each in site.cluster.list(
            "ReplicaSet", site.namespace, names.selector(site.config, server)
        )
        if any(ref.get("uid") == uid for ref in each["metadata"].get("ownerReferences") or ())
    ]
    current = snapshot_of(deployment)
    before = previous(sets, current)
    if before is None:
        raise TargetError(
            f"server {server} has had no other snapshot than {current}",
            hint="set a revision of the model in modelshelf.yaml instead",
        )
    return before, current


def _snapshot(site: Site, server: str, replica_set: Object) -> Snapshot:
    """The snapshot that a ReplicaSet's gate looks for, from the spec that it mounts."""
    for name in sorted(prune.maps_in_use([replica_set])):
        found = site.cluster.get("ConfigMap", name, site.namespace) or {}
        text = (found.get("data") or {}).get("gate.json")
        if text is None:
            continue
        try:
            return Snapshot.from_json(json.loads(text)["snapshot"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TargetError(
                f"ConfigMap {site.namespace}/{name} does not hold a snapshot: {error!r}",
                hint="set a revision of the model in modelshelf.yaml instead",
            ) from error
    raise TargetError(
        f"the ConfigMap with the snapshot that server {server} had before is gone",
        hint="set a revision of the model in modelshelf.yaml instead",
    )

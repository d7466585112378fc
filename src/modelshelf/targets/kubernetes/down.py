"""`down`: remove everything of a file from a cluster, in an order in which nothing hangs."""

from __future__ import annotations

from collections.abc import Iterable

from modelshelf.config.file import Config
from modelshelf.config.lock import Lock
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.hub_token import token_secret_name
from modelshelf.render.names import Key, Object
from modelshelf.render.shelf_jobs import purge_objects
from modelshelf.render.storage import namespace, storage
from modelshelf.shelf.errors import TimedOutError
from modelshelf.targets.kubernetes import applying, pods, prune, volumes
from modelshelf.targets.kubernetes.clock import Deadline
from modelshelf.targets.kubernetes.events import Awaiting, Done, Kept
from modelshelf.targets.kubernetes.namespace import apply_namespace
from modelshelf.targets.kubernetes.pull_jobs import run_purge
from modelshelf.targets.kubernetes.server_objects import snapshot_of
from modelshelf.targets.kubernetes.session import Session

_WORKLOADS = ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "Job")
_STORAGE = ("ConfigMap", "PersistentVolumeClaim", "PersistentVolume")
# Kinds that are looked for before our namespace is removed: others may use it as well.
_KINDS_OF_OTHERS = (
    "Pod",
    "Deployment",
    "Job",
    "Service",
    "ConfigMap",
    "Secret",
    "PersistentVolumeClaim",
)
_IN_EVERY_NAMESPACE = frozenset({"kube-root-ca.crt"})


def list_removals(session: Session) -> list[Key]:
    """List what `down` would remove from a cluster, in order."""
    secret = _token_secret(session)
    objects = (*prune.list_objects(session), *([secret] if secret else ()))
    return [names.key(obj) for obj in objects]


def repo_ids(config: Config, lock: Lock, live: Iterable[Object] = ()) -> tuple[str, ...]:
    """The models that `--purge` deletes. Pure.

    Args:
        config: The file.
        lock: Its models are deleted.
        live: Objects of the cluster: the models that its Deployments serve are deleted, too.
    """
    locked = {
        lock.models[model].snapshot.repo_id for model in config.models if model in lock.models
    }
    served = {snapshot_of(obj).partition("@")[0] for obj in live if obj["kind"] == "Deployment"}
    return tuple(sorted({*locked, *served} - {""}))


def down(session: Session, lock: Lock, *, purge: bool = False) -> None:
    """Remove everything of a file from a cluster. After an interruption, run it again.

    The files on the share stay unless they are purged. With them stays a claim whose deletion may
    delete them.

    Args:
        session: The file, the cluster, and how long to wait.
        lock: For `purge`: which models the shelf has.
        purge: Delete the models' files, too.

    Raises:
        TargetError: The cluster refused, or something is not deleted.
        Error: The purge failed. The error is the one that its pod reported.
    """
    began = session.clock.now()
    workloads = prune.list_objects(session, _WORKLOADS)
    for obj in workloads:
        applying.delete(session, names.key(obj))
    _wait_until_no_pods(session)
    if purge and (models := repo_ids(session.config, lock, workloads)):
        _purge(session, lock, models)
    kept = _remove_storage(session, purge=purge)
    _remove_namespace(session, kept)
    session.tell(Done("down", 0, round(session.clock.now() - began, 1)))


def _wait_until_no_pods(session: Session) -> None:
    """Wait until the file has no pod any more: a claim is not deleted while a pod uses it."""
    deadline = Deadline(session.clock, session.timeouts.deletion)
    last_count = 0
    while True:
        own_pods = session.cluster.list("Pod", session.namespace, names.of_file(session.config))
        if not own_pods:
            return
        if len(own_pods) != last_count:
            last_count = len(own_pods)
            session.tell(Awaiting("pods to end what they are doing", f"{last_count} left"))
        pods.force_hanging(session, own_pods)
        if deadline.passed:
            remaining = ", ".join(pod["metadata"]["name"] for pod in own_pods)
            raise TimedOutError(
                f"{remaining} did not end in {deadline.seconds:g} s",
                hint="run down again; a pod on a node that is gone is deleted by force",
            )
        session.clock.pause()


def _purge(session: Session, lock: Lock, models: tuple[str, ...]) -> None:
    apply_namespace(session, namespace(session.config))
    volumes.apply_storage(session, storage(session.config), lock.only(()), force=False)
    *config_maps, job = purge_objects(session.config, models)
    for obj in config_maps:
        applying.apply(session, obj)
    run_purge(session, job)
    applying.delete(session, names.key(job))
    _wait_until_no_pods(session)


def _remove_storage(session: Session, *, purge: bool) -> list[Object]:
    """Remove the token, ConfigMaps, claims and volumes.

    Returns:
        The claims that stay.
    """
    kept = []
    if secret := _token_secret(session):
        applying.delete(session, names.key(secret))
    for obj in prune.list_objects(session, _STORAGE):
        if prune.may_delete_files(obj) and not purge:
            why = "its volume was made for it, and deleting it may delete the files; --purge does"
            session.tell(Kept(obj["metadata"]["name"], "the claim", why))
            kept.append(obj)
            continue
        applying.delete(session, names.key(obj), wait=obj["kind"] != "ConfigMap")
    return kept


def _token_secret(session: Session) -> Object | None:
    secret = session.cluster.get("Secret", token_secret_name(session.config), session.namespace)
    return secret if secret is not None and applying.is_ours(secret, session.config) else None


def _remove_namespace(session: Session, kept: list[Object]) -> None:
    """Remove the namespace, if it is ours and nothing else is in it."""
    try:
        live = session.cluster.get("Namespace", session.namespace)
    except ForbiddenError:
        return
    if live is None or not applying.is_ours(live, session.config):
        return
    others = kept or _objects_of_others(session)
    if others:
        examples = ", ".join(str(names.key(obj)) for obj in others[:3])
        session.tell(Kept(session.namespace, "the namespace", f"it still has {examples}"))
        return
    applying.delete(session, Key("Namespace", "", session.namespace), wait=True)


def _objects_of_others(session: Session) -> list[Object]:
    """What somebody else has in our namespace."""
    return [
        obj
        for kind in _KINDS_OF_OTHERS
        for obj in session.cluster.list(kind, session.namespace)
        if not applying.is_ours(obj, session.config)
        and obj["metadata"]["name"] not in _IN_EVERY_NAMESPACE
        and not obj["metadata"].get("deletionTimestamp")
    ]

"""`down`: take everything of a file out of a cluster, in an order in which nothing hangs."""

from __future__ import annotations

from collections.abc import Iterable

from modelshelf.config.file import Config
from modelshelf.config.lock import Lock
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.hub_token import token_secret_name
from modelshelf.render.names import Key, Object
from modelshelf.render.pulling import purge_objects
from modelshelf.render.storage import namespace, storage
from modelshelf.shelf.errors import TimedOutError
from modelshelf.targets.kubernetes import applying, pods, prune, pulls, volumes
from modelshelf.targets.kubernetes.events import Awaiting, Done, Kept
from modelshelf.targets.kubernetes.rollback import snapshot_of
from modelshelf.targets.kubernetes.site import Deadline, Site
from modelshelf.targets.kubernetes.up import apply_namespace

_FIRST = ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "Job")
_THEN = ("ConfigMap", "PersistentVolumeClaim", "PersistentVolume")
# What may be somebody else's in a namespace that we made; every namespace has the root certificate.
_ELSE = ("Pod", "Deployment", "Job", "Service", "ConfigMap", "Secret", "PersistentVolumeClaim")
_OF_KUBERNETES = frozenset({"kube-root-ca.crt"})


def there(site: Site) -> list[Key]:
    """What `down` would remove of a cluster, in order."""
    secret = _secret(site)
    return [names.key(obj) for obj in (*prune.found(site), *([secret] if secret else ()))]


def repo_ids(config: Config, lock: Lock, found: Iterable[Object] = ()) -> tuple[str, ...]:
    """The models that `--purge` deletes: those of the lock, and those that servers still name."""
    locked = {
        lock.models[model].snapshot.repo_id for model in config.models if model in lock.models
    }
    served = {snapshot_of(each).partition("@")[0] for each in found if each["kind"] == "Deployment"}
    return tuple(sorted({*locked, *served} - {""}))


def down(site: Site, lock: Lock, *, purge: bool = False) -> None:
    """Take everything of a file out of a cluster; interrupted, the next run goes on.

    The files on the share stay unless they are to be purged; a claim whose volume was made for it
    stays with them.

    Args:
        site: The file, the cluster, who is told, and how long it waits.
        lock: For `purge`: which models the shelf has.
        purge: Delete the models' files, too.

    Raises:
        TargetError: The cluster refused, or something does not go.
        Error: The purge failed, of the kind that its pod told of.
    """
    began = site.pace.now()
    found = prune.found(site, _FIRST)
    for obj in found:
        applying.delete(site, names.key(obj))
    _until_no_pods(site)
    if purge and (models := repo_ids(site.config, lock, found)):
        _purge(site, lock, models)
    kept = _remove_rest(site, purge=purge)
    _remove_namespace(site, kept)
    site.tell(Done("down", 0, round(site.pace.now() - began, 1)))


def _until_no_pods(site: Site) -> None:
    """Wait until no pod of ours is left: a claim that a pod has does not go."""
    deadline = Deadline(site.pace, site.timeouts.gone)
    told = 0
    while True:
        mine = site.cluster.list("Pod", site.namespace, names.of_file(site.config))
        if not mine:
            return
        if len(mine) != told:
            told = len(mine)
            site.tell(Awaiting("pods to end what they are doing", f"{told} left"))
        pods.force_hanging(site, mine)
        if deadline.passed:
            still = ", ".join(pod["metadata"]["name"] for pod in mine)
            raise TimedOutError(
                f"{still} did not end in {deadline.seconds:g} s",
                hint="run down again; a pod on a node that is gone is deleted by force",
            )
        site.pace.sleep(site.pace.look)


def _purge(site: Site, lock: Lock, models: tuple[str, ...]) -> None:
    apply_namespace(site, namespace(site.config))
    volumes.apply_storage(site, storage(site.config), lock.only(()), force=False)
    *maps, job = purge_objects(site.config, models)
    for obj in maps:
        applying.apply(site, obj)
    pulls.run(site, {"purge": job})
    applying.delete(site, names.key(job))
    _until_no_pods(site)


def _remove_rest(site: Site, *, purge: bool) -> list[Object]:
    """Remove maps, the token, claims and volumes; the claims that stay."""
    kept = []
    if secret := _secret(site):
        applying.delete(site, names.key(secret))
    for obj in prune.found(site, _THEN):
        if prune.dynamic(obj) and not purge:
            why = "its volume was made for it, and deleting it may delete the files; --purge does"
            site.tell(Kept(obj["metadata"]["name"], "the claim", why))
            kept.append(obj)
            continue
        applying.delete(site, names.key(obj), wait=obj["kind"] != "ConfigMap")
    return kept


def _secret(site: Site) -> Object | None:
    secret = site.cluster.get("Secret", token_secret_name(site.config), site.namespace)
    return secret if secret is not None and applying.ours(secret, site.config) else None


def _remove_namespace(site: Site, kept: list[Object]) -> None:
    try:
        live = site.cluster.get("Namespace", site.namespace)
    except ForbiddenError:
        return
    if live is None or not applying.ours(live, site.config):
        return
    others = kept or _others(site)
    if others:
        some = ", ".join(str(names.key(obj)) for obj in others[:3])
        site.tell(Kept(site.namespace, "the namespace", f"it still has {some}"))
        return
    applying.delete(site, Key("Namespace", "", site.namespace), wait=True)


def _others(site: Site) -> list[Object]:
    """What somebody else has in our namespace."""
    return [
        obj
        for kind in _ELSE
        for obj in site.cluster.list(kind, site.namespace)
        if not applying.ours(obj, site.config)
        and obj["metadata"]["name"] not in _OF_KUBERNETES
        and not obj["metadata"].get("deletionTimestamp")
    ]

"""Apply one object: whose it is, what changed, and what somebody else had set."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from modelshelf.config.file import Config
from modelshelf.kube.refusals import ConflictError
from modelshelf.render import names
from modelshelf.render.keeping import code_maps_of
from modelshelf.render.names import Key, Object
from modelshelf.render.plan import Rendered
from modelshelf.shelf.errors import TargetError, TimedOutError
from modelshelf.targets.kubernetes.events import Applied, Awaiting, TakenBack
from modelshelf.targets.kubernetes.site import Deadline, Site

# What the API server and its controllers write; it says nothing about what was asked for.
_WRITTEN_BY_THE_CLUSTER = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
_REVISION = "deployment.kubernetes.io/revision"


def essence(obj: Object) -> Object:
    """An object without status and bookkeeping: two that are equal in this were asked alike."""
    kept = copy.deepcopy({part: value for part, value in obj.items() if part != "status"})
    metadata = kept.get("metadata", {})
    for field in _WRITTEN_BY_THE_CLUSTER:
        metadata.pop(field, None)
    annotations = metadata.get("annotations", {})
    annotations.pop(_REVISION, None)
    if not annotations:
        metadata.pop("annotations", None)
    return kept


def how(before: Object | None, after: Object) -> str:
    """`created`, `changed` or `unchanged`."""
    if before is None:
        return "created"
    return "unchanged" if essence(before) == essence(after) else "changed"


def has(obj: Object, wanted: Mapping[str, str]) -> bool:
    """Whether an object has all these labels."""
    found = obj.get("metadata", {}).get("labels") or {}
    return all(found.get(label) == value for label, value in wanted.items())


def ours(obj: Object, config: Config) -> bool:
    """Whether an object belongs to this file."""
    return has(obj, names.of_file(config))


def owner(obj: Object) -> str:
    """Whose an object is, in words."""
    labels = obj.get("metadata", {}).get("labels") or {}
    if labels.get(names.MANAGED_BY) == names.MANAGER:
        return f"the modelshelf file named {labels.get(names.PART_OF, '?')}"
    if manager := labels.get(names.MANAGED_BY):
        return str(manager)
    return "somebody else (it has no label of ours)"


def foreign(live: Object) -> TargetError:
    """The error for an object that somebody else has under a name that we need."""
    return TargetError(
        f"{live['kind']} {_where(live)} is there already and belongs to {owner(live)}",
        hint="choose another name or namespace, or take it over with --force-conflicts",
    )


def apply_code(
    site: Site, rendered: Rendered, workloads: Iterable[Object], *, force: bool = False
) -> None:
    """Apply the ConfigMaps with our code that Deployments or Jobs mount.

    A Deployment that keeps older ones needs nothing: they are in the cluster.
    """
    mounted = {name for each in workloads for name in code_maps_of(each).values()}
    for obj in rendered.code_named(frozenset(mounted)):
        apply(site, obj, force=force)


def apply(site: Site, obj: Object, *, force: bool = False) -> Object:
    """Apply an object, and tell how.

    Args:
        site: Where.
        obj: What.
        force: Take over an object that is not ours, with whatever others set on it.

    Returns:
        The object as it is now.

    Raises:
        TargetError: The object is not ours, or the cluster refused.
    """
    before = until_alive(site, names.key(obj))
    if before is not None and not ours(before, site.config) and not force:
        raise foreign(before)
    after = _apply(site, obj)
    site.tell(Applied(obj["kind"], obj["metadata"]["name"], how(before, after)))
    return after


def _apply(site: Site, obj: Object) -> Object:
    try:
        return site.cluster.apply(obj)
    except ConflictError as conflict:
        if not conflict.managers:
            raise
        name = obj["metadata"]["name"]
        site.tell(TakenBack(obj["kind"], name, conflict.fields, conflict.managers))
        return site.cluster.apply(obj, force=True)


def until_alive(site: Site, key: Key) -> Object | None:
    """The object as it is; one that is being deleted is waited for until it is gone.

    Raises:
        TimedOutError: It does not go.
    """
    found = site.cluster.get(key.kind, key.name, key.namespace or None)
    if found is None or not found["metadata"].get("deletionTimestamp"):
        return found
    site.tell(Awaiting(str(key), "it is being deleted"))
    until_gone(site, key)
    return site.cluster.get(key.kind, key.name, key.namespace or None)


def delete(site: Site, key: Key, *, wait: bool = False) -> None:
    """Delete an object, and tell of it."""
    site.cluster.delete(key.kind, key.name, key.namespace or None)
    if wait:
        until_gone(site, key)
    site.tell(Applied(key.kind, key.name, "removed"))


def until_gone(site: Site, key: Key) -> None:
    """Wait until an object that was deleted is gone.

    Raises:
        TimedOutError: It does not go.
    """
    uid = None
    deadline = Deadline(site.pace, site.timeouts.gone)
    while found := site.cluster.get(key.kind, key.name, key.namespace or None):
        uid = uid or found["metadata"].get("uid")
        if found["metadata"].get("uid") != uid:
            return
        if deadline.passed:
            held = ", ".join(found["metadata"].get("finalizers") or ()) or "its finalizers"
            raise TimedOutError(
                f"{key.kind} {key.name} was deleted and is not gone after {deadline.seconds:g} s",
                hint=f"something still holds it: {held}",
            )
        site.pace.sleep(site.pace.look)


def _where(obj: Object) -> str:
    namespace = obj["metadata"].get("namespace")
    name = obj["metadata"]["name"]
    return f"{namespace}/{name}" if namespace else str(name)

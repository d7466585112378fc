"""Apply and delete single objects: to whom one belongs, what changed, and what others had set."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from modelshelf.config.file import Config
from modelshelf.kube.refusals import ConflictError
from modelshelf.render import names
from modelshelf.render.carry_over import code_maps_of
from modelshelf.render.names import Key, Object
from modelshelf.render.rendered import Rendered
from modelshelf.shelf.errors import TargetError, TimedOutError
from modelshelf.targets.kubernetes.clock import Deadline
from modelshelf.targets.kubernetes.events import Applied, Awaiting, ResultOfApply, TakenBack
from modelshelf.targets.kubernetes.session import Session

# The API server and its controllers write these; nobody asks for them.
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


def without_bookkeeping(obj: Object) -> Object:
    """An object without its status and without what the cluster writes itself. Pure.

    If two states of an object are equal in this, the same was asked for in both.
    """
    rest = copy.deepcopy({part: value for part, value in obj.items() if part != "status"})
    metadata = rest.get("metadata", {})
    for field in _WRITTEN_BY_THE_CLUSTER:
        metadata.pop(field, None)
    annotations = metadata.get("annotations", {})
    annotations.pop(_REVISION, None)
    if not annotations:
        metadata.pop("annotations", None)
    return rest


def result_of_apply(before: Object | None, after: Object) -> ResultOfApply:
    """What applying did to an object. Pure.

    Args:
        before: The object before it was applied; None if it did not exist.
        after: The object afterwards.
    """
    if before is None:
        return "created"
    same = without_bookkeeping(before) == without_bookkeeping(after)
    return "unchanged" if same else "changed"


def has_labels(obj: Object, wanted: Mapping[str, str]) -> bool:
    """Whether an object has all these labels. Pure."""
    labels = obj.get("metadata", {}).get("labels") or {}
    return all(labels.get(label) == value for label, value in wanted.items())


def is_ours(obj: Object, config: Config) -> bool:
    """Whether an object belongs to this file. Pure."""
    return has_labels(obj, names.of_file(config))


def describe_owner(obj: Object) -> str:
    """To whom an object belongs, in words. Pure."""
    labels = obj.get("metadata", {}).get("labels") or {}
    if labels.get(names.MANAGED_BY) == names.MANAGER:
        return f"the modelshelf file named {labels.get(names.PART_OF, '?')}"
    if manager := labels.get(names.MANAGED_BY):
        return str(manager)
    return "somebody else (it has no label of ours)"


def foreign_object_error(live: Object) -> TargetError:
    """The error for an object of somebody else that has a name which we need."""
    namespace, name = live["metadata"].get("namespace"), live["metadata"]["name"]
    where = f"{namespace}/{name}" if namespace else name
    return TargetError(
        f"{live['kind']} {where} is there already and belongs to {describe_owner(live)}",
        hint="choose another name or namespace, or take it over with --force-conflicts",
    )


def apply_code(
    session: Session, rendered: Rendered, workloads: Iterable[Object], *, force: bool = False
) -> None:
    """Apply the ConfigMaps with our code that Deployments or Jobs mount.

    A Deployment that keeps older ConfigMaps needs nothing here: they are in the cluster.
    """
    mounted = {name for each in workloads for name in code_maps_of(each).values()}
    for obj in rendered.code_named(frozenset(mounted)):
        apply(session, obj, force=force)


def apply_all_but_jobs(
    session: Session, groups: Iterable[Iterable[Object]], *, force: bool = False
) -> None:
    """Apply what Jobs mount. The Jobs themselves are created by `job_runner`."""
    for objects in groups:
        for obj in objects:
            if obj["kind"] != "Job":
                apply(session, obj, force=force)


def apply(session: Session, obj: Object, *, force: bool = False) -> Object:
    """Apply an object, and tell what that did.

    Args:
        session: The cluster.
        obj: The object.
        force: Take over an object that is not ours, with everything that others set on it.

    Returns:
        The object as it is now.

    Raises:
        TargetError: The object is not ours, or the cluster refused.
    """
    before = get_live(session, names.key(obj))
    if before is not None and not is_ours(before, session.config) and not force:
        raise foreign_object_error(before)
    after = _apply(session, obj)
    session.tell(Applied(obj["kind"], obj["metadata"]["name"], result_of_apply(before, after)))
    return after


def _apply(session: Session, obj: Object) -> Object:
    try:
        return session.cluster.apply(obj)
    except ConflictError as conflict:
        if not conflict.managers:
            raise
        name = obj["metadata"]["name"]
        session.tell(TakenBack(obj["kind"], name, conflict.fields, conflict.managers))
        return session.cluster.apply(obj, force=True)


def get_live(session: Session, key: Key) -> Object | None:
    """Get an object. If it is being deleted, wait until it is gone, and then look again.

    Raises:
        TimedOutError: It is being deleted, and does not go.
    """
    live = session.cluster.get(key.kind, key.name, key.namespace or None)
    if live is None or not live["metadata"].get("deletionTimestamp"):
        return live
    session.tell(Awaiting(str(key), "it is being deleted"))
    wait_until_gone(session, key)
    return session.cluster.get(key.kind, key.name, key.namespace or None)


def delete(session: Session, key: Key, *, wait: bool = False) -> None:
    """Delete an object, and tell of it."""
    session.cluster.delete(key.kind, key.name, key.namespace or None)
    if wait:
        wait_until_gone(session, key)
    session.tell(Applied(key.kind, key.name, "removed"))


def wait_until_gone(session: Session, key: Key) -> None:
    """Wait until a deleted object is gone.

    Raises:
        TimedOutError: It does not go; the message names what holds it.
    """
    uid = None
    deadline = Deadline(session.clock, session.timeouts.deletion)
    while live := session.cluster.get(key.kind, key.name, key.namespace or None):
        uid = uid or live["metadata"].get("uid")
        if live["metadata"].get("uid") != uid:
            return  # another object of the same name
        if deadline.passed:
            holders = ", ".join(live["metadata"].get("finalizers") or ()) or "its finalizers"
            raise TimedOutError(
                f"{key.kind} {key.name} was deleted and is not gone after {deadline.seconds:g} s",
                hint=f"something still holds it: {holders}",
            )
        session.clock.pause()

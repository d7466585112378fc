"""`diff`: what `up` would change, as the API server itself says in a dry run."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Literal

from modelshelf.config.lock import Lock
from modelshelf.kube.refusals import ForbiddenError, MissingError
from modelshelf.render import names
from modelshelf.render.carry_over import code_maps_of
from modelshelf.render.names import Object
from modelshelf.render.rendered import Rendered, render
from modelshelf.render.yaml_text import to_yaml
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.prime_jobs import plan_primes
from modelshelf.targets.kubernetes.prune import find_stale, wanted_keys
from modelshelf.targets.kubernetes.servers import plan_servers
from modelshelf.targets.kubernetes.session import Session


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What `up` would do to one object.

    Attributes:
        kind: The object's kind.
        name: The object's name.
        how: `created`, `changed`, `removed`, or `refused`: it belongs to somebody else.
        diff: Lines of a unified diff of its YAML for a changed object; the reason for a refused
            one; else empty.
    """

    kind: str
    name: str
    how: Literal["created", "changed", "removed", "refused"]
    diff: tuple[str, ...] = ()


def diff(session: Session, lock: Lock) -> list[Change]:
    """Compare a cluster with the file and the lock; nothing is changed.

    A pull Job that runs again is no change: it is how `up` looks at the shelf.

    Args:
        session: The file and the cluster.
        lock: The lock, with every model of the file.

    Raises:
        UsageError: The file asks for something impossible.
        TargetError: The cluster refused.
    """
    rendered = render(session.config, lock.only(session.config.models))
    forbidden, namespace = _look_at_namespace(session)
    if namespace is None and not forbidden:
        # In a namespace that does not exist nothing can be tried.
        objects = _all_objects(rendered, rendered.primes, rendered.servers)
        return [_creation(obj) for obj in objects]
    server_plan = plan_servers(session, rendered.servers, refresh=False)
    prime_plan = plan_primes(session, rendered.primes)
    groups = (prime_plan.objects_to_run, server_plan.objects)
    unmounted = _unmounted_code(rendered, *groups)
    changes = []
    for obj in _all_objects(rendered, *groups):
        if obj["kind"] == "Namespace" and not _is_ours(session, namespace):
            continue
        is_unused = obj["kind"] == "ConfigMap" and obj in unmounted
        if not is_unused and (change := _change_of(session, obj)):
            changes.append(change)
    stale = find_stale(session, wanted_keys(rendered, server_plan, prime_plan))
    removals = (Change(obj["kind"], obj["metadata"]["name"], "removed") for obj in stale)
    return [*changes, *removals]


def _all_objects(rendered: Rendered, *groups: Mapping[str, list[Object]]) -> Iterator[Object]:
    """The objects that the cluster will have: those of the file, and of the groups given."""
    yield from (rendered.namespace, *rendered.storage, *rendered.code.values())
    for group in (rendered.pulls, *groups):
        for objects in group.values():
            yield from objects


def _unmounted_code(rendered: Rendered, *groups: Mapping[str, list[Object]]) -> list[Object]:
    """The ConfigMaps with our code that nothing will mount: live Deployments keep older ones."""
    workloads = (
        obj
        for group in (rendered.pulls, *groups)
        for objects in group.values()
        for obj in objects
        if obj["kind"] in ("Job", "Deployment")
    )
    mounted = {name for each in workloads for name in code_maps_of(each).values()}
    return [obj for obj in rendered.code.values() if names.key(obj).name not in mounted]


def _look_at_namespace(session: Session) -> tuple[bool, Object | None]:
    """Whether this user may not see the namespace; and the namespace, if it exists."""
    try:
        return False, session.cluster.get("Namespace", session.namespace)
    except ForbiddenError:
        return True, None


def _is_ours(session: Session, namespace: Object | None) -> bool:
    return namespace is not None and applying.is_ours(namespace, session.config)


def _creation(obj: Object) -> Change:
    return Change(obj["kind"], obj["metadata"]["name"], "created")


def _change_of(session: Session, obj: Object) -> Change | None:
    """What `up` would do to one object; None if it would not change it."""
    key = names.key(obj)
    live = session.cluster.get(key.kind, key.name, key.namespace or None)
    if live is None:
        return _creation(obj)
    if not applying.is_ours(live, session.config):
        reason = f"it belongs to {applying.describe_owner(live)}"
        return Change(key.kind, key.name, "refused", (reason,))
    if key.kind == "Job":
        return None
    try:
        after = session.cluster.apply(obj, force=True, dry_run=True)
    except MissingError:
        return _creation(obj)
    lines = unified_diff(live, after)
    return Change(key.kind, key.name, "changed", lines) if lines else None


def unified_diff(before: Object, after: Object) -> tuple[str, ...]:
    """The lines of a unified diff between two states of an object. Pure.

    There are none if both states differ only in what the cluster writes itself.
    """
    old, new = (to_yaml([_readable(obj)]).splitlines() for obj in (before, after))
    lines = difflib.unified_diff(old, new, n=2, lineterm="")
    return tuple(line for line in lines if not line.startswith(("---", "+++")))


def _readable(obj: Object) -> Object:
    shown = copy.deepcopy(applying.without_bookkeeping(obj))
    if shown.get("kind") == "Secret":
        shown["data"] = dict.fromkeys(shown.get("data") or {}, "(not shown)")
    return shown

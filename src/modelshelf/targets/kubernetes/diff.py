"""`diff`: what `up` would change, as the API server itself says in a dry run."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Iterator, Mapping

from modelshelf.config.lock import Lock
from modelshelf.kube.refusals import ForbiddenError, MissingError
from modelshelf.render import names
from modelshelf.render.documents import to_yaml
from modelshelf.render.keeping import code_maps_of
from modelshelf.render.names import Object
from modelshelf.render.plan import Rendered, render
from modelshelf.targets.kubernetes import applying, primes, prune, servers
from modelshelf.targets.kubernetes.site import Site
from modelshelf.targets.kubernetes.up import wanted_keys


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What would become of one object.

    Attributes:
        how: `created`, `changed`, `removed`, or `refused`: it belongs to somebody else.
        diff: Lines of a unified diff of its YAML; empty for what is not changed.
    """

    kind: str
    name: str
    how: str
    diff: tuple[str, ...] = ()


def diff(site: Site, lock: Lock) -> list[Change]:
    """What `up` would change; nothing is changed.

    A pull's Job that runs anew is no change: it is how `up` looks at the shelf.

    Raises:
        UsageError: The file asks for what cannot be.
        TargetError: The cluster refused.
    """
    rendered = render(site.config, lock.only(site.config.models))
    hidden, namespace = _namespace(site)
    if namespace is None and not hidden:
        return [_created(obj) for obj in _every(rendered, rendered.primes, rendered.servers)]
    prepared = servers.prepare(site, rendered.servers, refresh=False)
    settled = primes.settle(site, rendered.primes)
    unmounted = _unmounted(rendered, settled.objects, prepared.objects)
    changes = []
    for obj in _every(rendered, settled.objects, prepared.objects):
        if obj["kind"] == "Namespace" and not _is_ours(site, namespace):
            continue
        unused = obj["kind"] == "ConfigMap" and obj in unmounted
        if not unused and (change := _change(site, obj)):
            changes.append(change)
    gone = prune.left_over(site, wanted_keys(rendered, prepared, settled))
    removed = (Change(obj["kind"], obj["metadata"]["name"], "removed") for obj in gone)
    return [*changes, *removed]


def _every(rendered: Rendered, *parts: Mapping[str, list[Object]]) -> Iterator[Object]:
    """Of servers and what primes them, what will be there."""
    yield from (rendered.namespace, *rendered.storage, *rendered.code.values())
    for objects in (each for part in (rendered.pulls, *parts) for each in part.values()):
        yield from objects


def _unmounted(rendered: Rendered, *parts: Mapping[str, list[Object]]) -> list[Object]:
    """The ConfigMaps with our code that nothing will mount: what runs keeps its older ones."""
    workloads = (
        obj
        for part in (rendered.pulls, *parts)
        for objects in part.values()
        for obj in objects
        if obj["kind"] in ("Job", "Deployment")
    )
    mounted = {name for each in workloads for name in code_maps_of(each).values()}
    return [obj for obj in rendered.code.values() if names.key(obj).name not in mounted]


def _namespace(site: Site) -> tuple[bool, Object | None]:
    """Whether this user may not see the namespace; and the namespace, if it is there."""
    try:
        return False, site.cluster.get("Namespace", site.namespace)
    except ForbiddenError:
        return True, None


def _is_ours(site: Site, namespace: Object | None) -> bool:
    return namespace is not None and applying.ours(namespace, site.config)


def _created(obj: Object) -> Change:
    return Change(obj["kind"], obj["metadata"]["name"], "created")


def _change(site: Site, obj: Object) -> Change | None:
    key = names.key(obj)
    live = site.cluster.get(key.kind, key.name, key.namespace or None)
    if live is None:
        return _created(obj)
    if not applying.ours(live, site.config):
        return Change(key.kind, key.name, "refused", (f"it belongs to {applying.owner(live)}",))
    if key.kind == "Job":
        return None
    try:
        after = site.cluster.apply(obj, force=True, dry_run=True)
    except MissingError:
        return _created(obj)
    lines = unified(live, after)
    return Change(key.kind, key.name, "changed", lines) if lines else None


def unified(before: Object, after: Object) -> tuple[str, ...]:
    """The lines of a unified diff between two states of an object; none if they ask alike. Pure."""
    old, new = (to_yaml([_readable(obj)]).splitlines() for obj in (before, after))
    lines = difflib.unified_diff(old, new, n=2, lineterm="")
    return tuple(line for line in lines if not line.startswith(("---", "+++")))


def _readable(obj: Object) -> Object:
    shown = copy.deepcopy(applying.essence(obj))
    if shown.get("kind") == "Secret":
        shown["data"] = dict.fromkeys(shown.get("data") or {}, "(not shown)")
    return shown

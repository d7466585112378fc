"""What a server keeps of what is already running: its code, and its count of pods. Pure.

A new modelshelf brings a new map of code, and nothing else may change for servers: each restart of
one is minutes of loading. So the pod template is compared without that map.
"""

import copy
from collections.abc import Iterable

from modelshelf.targets.render.names import REPLICAS, TEMPLATE, Object, short_hash

CODE_VOLUME = "code"


def deployment_of(objects: Iterable[Object]) -> Object:
    """The Deployment among a server's objects."""
    return next(obj for obj in objects if obj["kind"] == "Deployment")


def code_map_of(deployment: Object) -> str | None:
    """The name of the map of our code that a server's pods mount; None if they mount none."""
    for volume in deployment["spec"]["template"]["spec"].get("volumes", []):
        if volume["name"] == CODE_VOLUME:
            name: str | None = volume.get("configMap", {}).get("name")
            return name
    return None


def with_code_map(deployment: Object, name: str) -> Object:
    """The same Deployment with another map of our code."""
    deployment = copy.deepcopy(deployment)
    for volume in deployment["spec"]["template"]["spec"]["volumes"]:
        if volume["name"] == CODE_VOLUME:
            volume["configMap"]["name"] = name
    return deployment


def template_hash(deployment: Object) -> str:
    """What tells one pod template from another, whatever our code in it."""
    return short_hash(with_code_map(deployment, "")["spec"]["template"])


def keep_code(deployment: Object, live: Object | None, *, refresh: bool = False) -> Object:
    """A rendered Deployment with the map of code that is running, if nothing else changes.

    Args:
        deployment: As rendered.
        live: As it is in the cluster, or in a folder that was rendered before; None if it is not.
        refresh: Take the new code all the same.
    """
    running = code_map_of(live) if live else None
    if refresh or live is None or running is None:
        return deployment
    # Not the hash of the live template: the API server has filled it with defaults.
    if _annotation(live, TEMPLATE) != _annotation(deployment, TEMPLATE):
        return deployment
    return with_code_map(deployment, running)


def keep_replicas(deployment: Object, live: Object | None) -> Object:
    """A rendered Deployment with the count of pods that there is, unless the file's has changed.

    A number is always sent: who leaves out a field that was theirs gives it back its default, 1.

    Args:
        deployment: As rendered.
        live: As it is in the cluster; None if it is not.
    """
    if live is None or _annotation(live, REPLICAS) != _annotation(deployment, REPLICAS):
        return deployment
    count = live["spec"].get("replicas", 1)
    return deployment | {"spec": deployment["spec"] | {"replicas": count}}


def _annotation(deployment: Object, name: str) -> str | None:
    value: str | None = (deployment["metadata"].get("annotations") or {}).get(name)
    return value

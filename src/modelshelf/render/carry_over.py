"""What a server keeps of what is already running: its code, and its count of pods. Pure.

A new modelshelf brings new ConfigMaps with our code. That alone must not restart a server, since
each restart is minutes of loading. So pod templates are compared without the names of these maps.
"""

import copy
from collections.abc import Iterable, Mapping

from modelshelf.render.code import Package, package_of_volume
from modelshelf.render.names import REPLICAS, TEMPLATE, Object, short_hash


def deployment_of(objects: Iterable[Object]) -> Object:
    """The Deployment among a server's objects."""
    return next(obj for obj in objects if obj["kind"] == "Deployment")


def code_maps_of(workload: Object) -> dict[Package, str]:
    """The ConfigMaps with our code that a Deployment's or a Job's pods mount: package → name."""
    found: dict[Package, str] = {}
    for volume in workload["spec"]["template"]["spec"].get("volumes", []):
        package = package_of_volume(volume)
        name = volume.get("configMap", {}).get("name")
        if package is not None and name is not None:
            found[package] = name
    return found


def with_code_maps(workload: Object, names: Mapping[Package, str]) -> Object:
    """The same Deployment or Job with other ConfigMaps for some packages of ours."""
    workload = copy.deepcopy(workload)
    for volume in workload["spec"]["template"]["spec"]["volumes"]:
        package = package_of_volume(volume)
        if package is not None and package in names:
            volume["configMap"]["name"] = names[package]
    return workload


def template_hash(workload: Object) -> str:
    """What tells one pod template from another, apart from our code in it."""
    nameless = dict.fromkeys(code_maps_of(workload), "")
    return short_hash(with_code_maps(workload, nameless)["spec"]["template"])


def keep_code(deployment: Object, live: Object | None, *, refresh: bool = False) -> Object:
    """A rendered Deployment with the code that is running, if nothing else changes.

    Args:
        deployment: As rendered.
        live: As it is in the cluster, or in the folder of an earlier `render`; None if it does not
            exist.
        refresh: Use the new code even so.
    """
    running = code_maps_of(live) if live else {}
    if refresh or live is None or running.keys() != code_maps_of(deployment).keys():
        return deployment
    # The annotations are compared, since the API server has added defaults to the live template.
    if _annotation(live, TEMPLATE) != _annotation(deployment, TEMPLATE):
        return deployment
    return with_code_maps(deployment, running)


def keep_replicas(deployment: Object, live: Object | None) -> Object:
    """A rendered Deployment with the live number of replicas, unless the file's number changed.

    A number is always sent. With server-side apply, a field that its manager stops sending falls
    back to its default, which is 1 here.

    Args:
        deployment: As rendered.
        live: As it is in the cluster; None if it does not exist.
    """
    if live is None or _annotation(live, REPLICAS) != _annotation(deployment, REPLICAS):
        return deployment
    count = live["spec"].get("replicas", 1)
    return deployment | {"spec": deployment["spec"] | {"replicas": count}}


def _annotation(deployment: Object, name: str) -> str | None:
    value: str | None = (deployment["metadata"].get("annotations") or {}).get(name)
    return value

"""The Jobs that run our code alone: one pull for each snapshot, and the purge. Pure.

A finished pull Job proves nothing about the shelf as it is now. So each `up` replaces it by the
same Job, which looks at every file again and fetches what is missing.
"""

import math
from collections.abc import Mapping
from typing import Literal

from modelshelf.config.file import Config
from modelshelf.config.lock import LockedModel
from modelshelf.engines.images import choose_image
from modelshelf.render import code
from modelshelf.render.hub_token import TOKEN_KEY, token_secret_name
from modelshelf.render.jobs import job, with_name
from modelshelf.render.names import (
    BYTES,
    COMMIT,
    PULL,
    SHELF,
    SNAPSHOT,
    SOURCE,
    Object,
    key,
    labels,
)
from modelshelf.render.resources import merged
from modelshelf.render.security import (
    SHELF_PATH,
    container_security,
    node_failure_tolerations,
    pod_security,
)
from modelshelf.render.storage import claims

Verb = Literal["pull", "purge"]

_RETRIES = 4
_MIN_SECONDS = 6 * 3600
_MIN_BYTES_PER_SECOND = 5_000_000  # a slower pull fails at its deadline, so that somebody looks
_CA_PATH = "/ca"
_HOME = {"name": "HOME", "value": "/tmp"}  # noqa: S108 (the container's own)
# Measured: at most 272 MB with sixteen connections. The rest of the limit is for the page cache of
# written files, which is charged to the container and given back under pressure. There is no limit
# of processor time, since hashing and TLS use as much as there is, and a limit would only slow
# them.
_RESOURCES = {
    "requests": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "128Mi"},
    "limits": {"memory": "2Gi", "ephemeral-storage": "1Gi"},
}


def pull_objects(
    config: Config, model_key: str, locked: LockedModel, code_maps: Mapping[code.Package, str]
) -> list[Object]:
    """The objects that pull a snapshot: the spec of the pull, and the Job.

    Args:
        config: The file.
        model_key: The model's key in it.
        locked: What it was resolved to.
        code_maps: Package of ours → the name of its ConfigMap.

    Raises:
        UsageError: The list of the model's files is too long for a ConfigMap.
    """
    snapshot = locked.snapshot
    spec: Object = {
        "shelf": SHELF_PATH,
        "snapshot": snapshot.to_json(),
        "endpoint": config.hub.endpoint or locked.endpoint,
    }
    if folder := config.models[model_key].from_:
        spec["from"] = f"{SHELF_PATH}/{folder}"
    spec_map = code.spec_map(config, PULL, model_key, {"pull": spec})
    pull = job(
        config,
        labels(config, PULL, model_key),
        _pod(config, "pull", code_maps, key(spec_map).name),
        config.pull.deadline or max(_MIN_SECONDS, math.ceil(snapshot.size / _MIN_BYTES_PER_SECOND)),
        _RETRIES,
    )
    annotations = {
        SNAPSHOT: f"{snapshot.repo_id}@{snapshot.id}",
        SOURCE: snapshot.source,
        COMMIT: snapshot.commit,
        BYTES: str(snapshot.size),
    }
    return [spec_map, with_name(pull, f"pull-{model_key}", annotations)]


def purge_objects(config: Config, repo_ids: tuple[str, ...]) -> list[Object]:
    """The objects that delete models from the shelf for good: our code, its spec, and the Job."""
    spec = {"shelf": SHELF_PATH, "repo_ids": sorted(repo_ids)}
    spec_map = code.spec_map(config, SHELF, config.name, {"purge": spec})
    own = labels(config, SHELF, config.name)
    package = code.code_map(config, "shelf")
    pod = _pod(config, "purge", {"shelf": key(package).name}, key(spec_map).name)
    purge = job(config, own, pod, config.pull.deadline or _MIN_SECONDS, _RETRIES)
    return [package, spec_map, with_name(purge, f"purge-{config.name}", {})]


def _pod(
    config: Config, verb: Verb, code_maps: Mapping[code.Package, str], spec_map: str
) -> Object:
    pull = config.pull
    mounted = {package: code_maps[package] for package in code.packages_for([verb])}
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Time to record how much of each file is on the share.
        "terminationGracePeriodSeconds": 60,
        "securityContext": pod_security(config.shelf.user, config.shelf.group),
        "tolerations": [*node_failure_tolerations(), *map(dict, pull.tolerations)],
        "containers": [_container(config, verb)],
        "volumes": [
            {"name": "shelf", "persistentVolumeClaim": {"claimName": claims(config).rw}},
            *code.volumes(mounted),
            {"name": code.SPEC_VOLUME, "configMap": {"name": spec_map}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    if pull.node_selector:
        spec["nodeSelector"] = dict(pull.node_selector)
    if pull.ca is not None:
        spec["volumes"].append({"name": "ca", "configMap": {"name": pull.ca.config_map}})
    return spec


def _container(config: Config, verb: Verb) -> Object:
    mounts = [
        {"name": "shelf", "mountPath": SHELF_PATH},
        *code.mounts([verb]),
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (of the container's own)
    ]
    if config.pull.ca is not None:
        mounts.append({"name": "ca", "mountPath": _CA_PATH, "readOnly": True})
    return {
        "name": verb,
        "image": choose_image(config.images, config.registry, "python", config.pull.image),
        "imagePullPolicy": "IfNotPresent",
        "command": code.command(verb),
        "env": _environment(config) if verb == "pull" else [_HOME],
        "resources": merged(_RESOURCES, config.pull.resources),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _environment(config: Config) -> list[Object]:
    values: dict[str, str] = {}
    proxy, ca, secret = config.pull.proxy, config.pull.ca, config.hub.secret
    if proxy is not None:
        named = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https, "NO_PROXY": proxy.no}
        values |= {name: value for name, value in named.items() if value}
    if ca is not None:
        values["SSL_CERT_FILE"] = f"{_CA_PATH}/{ca.key}"
    # Our own Secret may be missing, since most models need no token. A Secret that the file names
    # must exist.
    token: Object = {"name": token_secret_name(config), "key": TOKEN_KEY, "optional": True}
    if secret is not None:
        token = {"name": secret.name, "key": secret.key, "optional": False}
    variables: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
    return [_HOME, *variables, {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": token}}]

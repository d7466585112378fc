"""The Jobs of our own code alone: one pull for each snapshot, and the purge. Pure.

A Job's template cannot change, so its name hashes all of it, our code's map included. A finished
Job says nothing about the shelf: `up` replaces it by itself, which looks again.
"""

import base64
import math
from collections.abc import Mapping
from typing import Literal

from modelshelf.config.file import Config
from modelshelf.config.lock import LockedModel
from modelshelf.engines.images import image
from modelshelf.render import code
from modelshelf.render.confined import SHELF_PATH, away, identity, restricted
from modelshelf.render.names import (
    BYTES,
    COMMIT,
    PULL,
    SHELF,
    SNAPSHOT,
    SOURCE,
    Object,
    fitted,
    key,
    labels,
    short_hash,
)
from modelshelf.render.resources import merged
from modelshelf.render.storage import claims

Verb = Literal["pull", "purge"]

TOKEN_KEY = "token"  # noqa: S105 (the name of a Secret's key)
# What no second try mends: a bad spec, no right to the model, no such model, no room, no right to
# write, content that is not what it should be. Everything else is tried again.
FINAL_EXIT_CODES = (2, 10, 11, 12, 13, 14)
_RETRIES = 4
_LEAST_SECONDS = 6 * 3600
_SLOW = 5_000_000  # bytes per second: slower than this, somebody should look
_CA_PATH = "/ca"
_HOME = {"name": "HOME", "value": "/tmp"}  # noqa: S108 (the container's own)
# Measured: at most 272 MB with sixteen connections. The limit is mostly for pages of written files,
# which are charged to the container and given back when others need them. Hashing and TLS take what
# processor there is; a limit would only idle it.
_RESOURCES = {
    "requests": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "128Mi"},
    "limits": {"memory": "2Gi", "ephemeral-storage": "1Gi"},
}


def pull_objects(
    config: Config, model_key: str, locked: LockedModel, code_maps: Mapping[code.Package, str]
) -> list[Object]:
    """What pulls a snapshot: its spec, and the Job.

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
        "endpoint": config.hub.endpoint,
    }
    if folder := config.models[model_key].from_:
        spec["from"] = f"{SHELF_PATH}/{folder}"
    spec_map = code.spec_map(config, PULL, model_key, {"pull": spec})
    job = unnamed(
        config,
        labels(config, PULL, model_key),
        _pod(config, "pull", code_maps, key(spec_map).name),
        config.pull.deadline or max(_LEAST_SECONDS, math.ceil(snapshot.size / _SLOW)),
        _RETRIES,
    )
    about = {
        SNAPSHOT: f"{snapshot.repo_id}@{snapshot.id}",
        SOURCE: snapshot.source,
        COMMIT: snapshot.commit,
        BYTES: str(snapshot.size),
    }
    return [spec_map, named(job, f"pull-{model_key}", about)]


def purge_objects(config: Config, repo_ids: tuple[str, ...]) -> list[Object]:
    """What deletes models from the shelf for good: our code, its spec, and the Job."""
    spec = {"shelf": SHELF_PATH, "repo_ids": sorted(repo_ids)}
    spec_map = code.spec_map(config, SHELF, config.name, {"purge": spec})
    own = labels(config, SHELF, config.name)
    package = code.code_map(config, "shelf")
    pod = _pod(config, "purge", {"shelf": key(package).name}, key(spec_map).name)
    job = unnamed(config, own, pod, config.pull.deadline or _LEAST_SECONDS, _RETRIES)
    return [package, spec_map, named(job, f"purge-{config.name}", {})]


def token_secret(config: Config, token: str) -> Object:
    """The Secret with the Hub's token, for `up` alone: it is never written to a file."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": token_secret_name(config),
            "namespace": config.namespace,
            "labels": labels(config, PULL, "hub-token"),
        },
        "type": "Opaque",
        "data": {TOKEN_KEY: base64.b64encode(token.encode()).decode()},
    }


def token_secret_name(config: Config) -> str:
    """The name of our own Secret, whether it exists or not."""
    return fitted(config.name, "hub-token")


def named(job: Object, prefix: str, annotations: dict[str, str]) -> Object:
    """A Job whose name changes with all of it."""
    metadata = job["metadata"]
    name = fitted(prefix, short_hash(job["spec"]))
    own = {"name": name, **metadata}
    return job | {"metadata": own | ({"annotations": annotations} if annotations else {})}


def unnamed(config: Config, own: dict[str, str], pod: Object, seconds: int, retries: int) -> Object:
    """A Job for `named`.

    Args:
        config: The file.
        own: Its labels.
        pod: The spec of its pod, whose one container runs our code.
        seconds: How long it may take with all of its tries.
        retries: How often it is tried again.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": config.namespace, "labels": own},
        "spec": {
            "backoffLimit": retries,
            "activeDeadlineSeconds": seconds,
            # The only value that goes with a failure policy. No two writers at a time, either.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    # A drained node is nobody's failure.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": pod["containers"][0]["name"],
                            "operator": "In",
                            "values": list(FINAL_EXIT_CODES),
                        },
                    },
                ]
            },
            "template": {"metadata": {"labels": dict(own)}, "spec": pod},
        },
    }


def _pod(
    config: Config, verb: Verb, code_maps: Mapping[code.Package, str], spec_map: str
) -> Object:
    pull = config.pull
    mounted = {package: code_maps[package] for package in code.packages_for([verb])}
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Time to write down how far a file got.
        "terminationGracePeriodSeconds": 60,
        "securityContext": identity(config.shelf.user, config.shelf.group),
        "tolerations": [*away(), *map(dict, pull.tolerations)],
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
        "image": image(config.images, config.registry, "python", config.pull.image),
        "imagePullPolicy": "IfNotPresent",
        "command": code.command(verb),
        "env": _environment(config) if verb == "pull" else [_HOME],
        "resources": merged(_RESOURCES, config.pull.resources),
        "securityContext": restricted(),
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
    # Our own Secret may be missing, since most models need no token; one that the file names must
    # be there.
    token: Object = {"name": token_secret_name(config), "key": TOKEN_KEY, "optional": True}
    if secret is not None:
        token = {"name": secret.name, "key": secret.key, "optional": False}
    variables: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
    return [_HOME, *variables, {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": token}}]

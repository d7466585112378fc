"""The Kubernetes objects that a user writes by hand, as tutorials show them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from support.cluster_project import SERVER
from support.real_model import REPO_ID

from bench.cluster_stage import Object

JOB, FETCH = "download", "fetch"
_PYTHON = "python:3.13-slim"
_CLAIM, _TOOLS = "models", "/tools"
_MODEL = "/models/smollm2"
_VOLUME = {"name": "models", "mountPath": "/models"}
# The fields of our engine's container that say how it runs, and not where its model is.
_ENGINE_FIELDS = (
    *("name", "image", "imagePullPolicy", "command", "args", "env", "ports", "resources"),
    *("startupProbe", "readinessProbe"),
)
_DOWNLOAD = (
    "from huggingface_hub import snapshot_download;"
    f" snapshot_download('{REPO_ID}', local_dir='{_MODEL}')"
)
# `date` shows how long each part took. Debian's pip needs --break-system-packages, and the pip of
# Docker's image accepts it.
_SCRIPT = (
    "set -e; date +at=%s.%N;"
    " python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore"
    " --break-system-packages --no-index --trusted-host {host} --find-links {index}"
    " huggingface_hub;"
    f' date +at=%s.%N; python3 -c "{_DOWNLOAD}"; date +at=%s.%N'
)


def namespace(name: str) -> Object:
    """The Namespace object."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def storage(name: str, folder: str) -> list[Object]:
    """A volume for the share, and a claim for it in a namespace."""
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **spec,
            "capacity": {"storage": "1Ti"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": name, "name": _CLAIM},
            "hostPath": {"path": folder},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": _CLAIM, "namespace": name},
        "spec": {**spec, "volumeName": name, "resources": {"requests": {"storage": "1Mi"}}},
    }
    return [volume, claim]


def downloader(endpoint: str, index: str) -> Object:
    """A container that installs huggingface_hub and downloads the model."""
    env = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": _TOOLS}
    return {
        "name": FETCH,
        "image": _PYTHON,
        "command": ["sh", "-c", _SCRIPT.format(index=index, host=urlsplit(index).hostname)],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": [_VOLUME, {"name": "tools", "mountPath": _TOOLS}],
    }


def job(name: str, fetch: Object, tools: str) -> Object:
    """A Job that downloads into the claim."""
    pod = {
        "restartPolicy": "Never",
        "containers": [fetch],
        "volumes": [on_claim(), tools_in(tools)],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": JOB, "namespace": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def on_claim() -> Object:
    """A pod's volume of models that is the share."""
    return {"name": "models", "persistentVolumeClaim": {"claimName": _CLAIM}}


def server(
    name: str,
    engine: Object,
    replicas: int,
    volumes: Sequence[Object],
    inits: Sequence[Object] = (),
) -> list[Object]:
    """A Deployment and its Service.

    Args:
        name: The namespace.
        engine: The container.
        replicas: How many pods.
        volumes: The volume of models, and other volumes that init containers need.
        inits: Init containers.
    """
    labels = {"app": SERVER}
    pod = {"initContainers": list(inits), "containers": [engine], "volumes": list(volumes)}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SERVER, "namespace": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVER, "namespace": name},
        "spec": {"selector": labels, "ports": ports},
    }
    return [deployment, service]


def engine_of(deployment: Object) -> Object:
    """The engine's container of our Deployment, with the model's path that it has by hand."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    args = list(container["args"])
    index = args.index("--model") + 1
    args[index] = f"{_MODEL}/{args[index].rpartition('/')[2]}"
    fields = {key: container[key] for key in _ENGINE_FIELDS if key in container}
    return {**fields, "args": args, "volumeMounts": [_VOLUME]}


def tools_in(folder: str) -> Object:
    """A volume with pip, which Docker's image of Python has and the tests' image does not."""
    return {"name": "tools", "hostPath": {"path": folder}}

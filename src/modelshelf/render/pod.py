"""A server's pod: the gate, then the engine. Pure.

The gate is an init container. It mounts the whole shelf read-only, and ends once the model is whole
there, which lets the engine start. The engine mounts its own model alone. Both pass Pod Security
*restricted*.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from modelshelf.config.file import Config
from modelshelf.config.quantity import bytes_of, quantity_of
from modelshelf.config.server_section import ServerConfig
from modelshelf.engines.images import choose_image
from modelshelf.engines.pod_engine import Container
from modelshelf.render import code
from modelshelf.render.names import Object
from modelshelf.render.probes import probes
from modelshelf.render.resources import merged
from modelshelf.render.security import (
    SHELF_PATH,
    container_security,
    node_failure_tolerations,
    pod_security,
)
from modelshelf.render.storage import claims
from modelshelf.render.verb_specs import CACHE_PATH, model_path
from modelshelf.shelf.layout import COMPILE_CACHE, snapshot_folder
from modelshelf.shelf.values import Snapshot

GATE = "gate"  # the init container
ENGINE = "engine"  # the container
SHELF_VOLUME, _SHM = "shelf", "shm"
# Measured: 15 MB and 0.1 s of processor time. The engine's own resources would be refused here by
# clusters that forbid GPUs in init containers.
_GATE_RESOURCES = {
    "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "16Mi"},
    "limits": {"memory": "128Mi", "ephemeral-storage": "64Mi"},
}
_LOG_BYTES = 1 << 30  # for logs, and for what an engine writes outside of its volumes


@dataclass(frozen=True, slots=True)
class Parts:
    """The inputs of a server's pod.

    Attributes:
        config: The file.
        server: The server in it.
        snapshot: What it serves.
        container: What its engine needs.
        start_seconds: How long the engine may take to load.
        code_maps: Package of ours that its pods mount → the name of its ConfigMap.
        spec_map: The name of the ConfigMap that says what our code is to do.
        selector: The labels by which the pods of this server are found.
    """

    config: Config
    server: ServerConfig
    snapshot: Snapshot
    container: Container
    start_seconds: int
    code_maps: Mapping[code.Package, str]
    spec_map: str
    selector: Object


def pod_spec(parts: Parts) -> Object:
    """The spec of a server's pods."""
    server, container = parts.server, parts.container
    spec: Object = {
        # For a Service called `vllm`, Kubernetes would set VLLM_PORT, which vLLM takes for a
        # setting.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": container.drain.grace_period,
        "securityContext": _identity(parts),
        "tolerations": [*node_failure_tolerations(), *_gpu_taint(container), *server.tolerations],
        "topologySpreadConstraints": [_spread(parts.selector)],
        "initContainers": [_gate(parts)],
        "containers": [_engine(parts)],
        "volumes": _volumes(parts),
    }
    if server.node_selector:
        spec["nodeSelector"] = dict(server.node_selector)
    if server.priority_class is not None:
        spec["priorityClassName"] = server.priority_class
    return spec


def _identity(parts: Parts) -> Object:
    user, group = parts.container.user, parts.container.group
    shelf = parts.config.shelf
    return pod_security(
        shelf.user if user is None else user, shelf.group if group is None else group, shelf.group
    )


def _gpu_taint(container: Container) -> list[Object]:
    if not container.gpus:
        return []
    return [{"key": container.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}]


def _spread(selector: Object) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        # A second pod on the same node is better than a pod that waits for another node.
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
        # Counts the pods of one version alone. Otherwise a rollout would avoid the nodes of old
        # pods.
        "matchLabelKeys": ["pod-template-hash"],
    }


def _gate(parts: Parts) -> Object:
    config, container = parts.config, parts.container
    return {
        "name": GATE,
        # The engine's own image where it has Python, so that the node pulls no second image.
        "image": container.image
        if container.start is not None
        else choose_image(config.images, config.registry, "python", config.pull.image),
        "imagePullPolicy": "IfNotPresent",
        "command": code.command("gate"),
        "resources": merged(_GATE_RESOURCES, None),
        "securityContext": container_security(read_only_root=True),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": SHELF_VOLUME, "mountPath": SHELF_PATH, "readOnly": True},
            *code.mounts(["gate"]),
        ],
    }


def _engine(parts: Parts) -> Object:
    container = parts.container
    return {
        "name": ENGINE,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        **_command(container),
        "args": list(container.args),
        "env": [{"name": name, "value": value} for name, value in sorted(container.env.items())],
        "ports": [{"name": "http", "containerPort": container.port, "protocol": "TCP"}],
        **probes(container, parts.start_seconds),
        **_lifecycle(container),
        "resources": merged(_resources(container), parts.server.resources),
        "securityContext": container_security(read_only_root=container.read_only_root),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _engine_mounts(parts),
    }


def _command(container: Container) -> Object:
    command = list(container.command)
    if container.start is not None:
        command = [*code.command("start"), "--", *command]
    return {"command": command} if command else {}


def _lifecycle(container: Container) -> Object:
    """The hook that runs before SIGTERM: it waits until requests have ended."""
    drain = container.drain
    if not drain.before_sigterm:
        return {}
    if container.start is not None:
        return {"lifecycle": {"preStop": {"exec": {"command": code.command("drain")}}}}
    return {"lifecycle": {"preStop": {"sleep": {"seconds": drain.before_sigterm}}}}


def _resources(container: Container) -> dict[str, dict[str, str]]:
    writable = sum(bytes_of(size) for size in container.writable.values())
    both = {"memory": container.memory}
    if container.gpus:
        both[container.gpu_resource] = str(container.gpus)
    return {
        # No limit of processor time: it would only slow the engine down.
        "requests": {"cpu": container.cpu, "ephemeral-storage": container.disk, **both},
        "limits": {"ephemeral-storage": quantity_of(writable + _LOG_BYTES), **both},
    }


def _engine_mounts(parts: Parts) -> list[Object]:
    snapshot, container = parts.snapshot, parts.container
    mounts: list[Object] = [
        {
            "name": SHELF_VOLUME,
            "mountPath": model_path(container.model),
            "subPath": snapshot_folder(snapshot.repo_id, snapshot.id),
            "readOnly": True,
        },
        *({"name": _volume_name(path), "mountPath": path} for path in container.writable),
    ]
    if container.start is not None:
        mounts += code.mounts(["start", "drain"])
    if parts.server.prime:
        mounts.append(
            {
                "name": SHELF_VOLUME,
                "mountPath": CACHE_PATH,
                "subPath": COMPILE_CACHE,
                "readOnly": True,
            }
        )
    if container.shm is not None:
        mounts.append({"name": _SHM, "mountPath": "/dev/shm"})  # noqa: S108 (of the container's own)
    return mounts


def _volumes(parts: Parts) -> list[Object]:
    claim = {"claimName": claims(parts.config).ro, "readOnly": True}
    volumes: list[Object] = [
        {"name": SHELF_VOLUME, "persistentVolumeClaim": claim},
        *code.volumes(parts.code_maps),
        {"name": code.SPEC_VOLUME, "configMap": {"name": parts.spec_map}},
    ]
    for path, size in parts.container.writable.items():
        volumes.append({"name": _volume_name(path), "emptyDir": {"sizeLimit": size}})
    if (shm := parts.container.shm) is not None:
        volumes.append({"name": _SHM, "emptyDir": {"medium": "Memory", "sizeLimit": shm}})
    return volumes


def _volume_name(path: str) -> str:
    return path.strip("/").replace("/", "-")

"""The objects of one server: specs, Deployment, Service, disruption budget, network policy. Pure.

docs/reference/rendered-server.md gives the reason for each field.
"""

from collections.abc import Mapping

from modelshelf.config.file import Config
from modelshelf.config.lock import LockedModel
from modelshelf.config.quantity import bytes_of
from modelshelf.config.server_section import ServerConfig
from modelshelf.config.shelf_section import Kind
from modelshelf.engines import POD_ENGINES
from modelshelf.engines.budget import start_seconds
from modelshelf.engines.pod_engine import Container, PodOptions
from modelshelf.engines.weight_loading import StorageKind
from modelshelf.render import access, code
from modelshelf.render.carry_over import template_hash
from modelshelf.render.names import (
    BYTES,
    COMMIT,
    LOAD,
    REPLICAS,
    SERVER,
    SNAPSHOT,
    SOURCE,
    TEMPLATE,
    Object,
    key,
    labels,
    selector,
)
from modelshelf.render.pod import Parts, pod_spec
from modelshelf.render.verb_specs import model_path, specs
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot

# Many nodes mount a claim of the user's, so it is a network filesystem of some kind.
_STORAGE_KINDS: Mapping[Kind, StorageKind] = {
    "nfs": "nfs",
    "claim": "network",
    "storageClass": "network",
    "hostPath": "local",
}
_IMAGE_SECONDS = 1200  # to pull an image of 20 GB; six minutes were measured
_REVISION_HISTORY = 3  # versions to roll back to


def server_objects(
    config: Config, server_key: str, locked: LockedModel, code_maps: Mapping[code.Package, str]
) -> list[Object]:
    """Every object of a server.

    Args:
        config: The file.
        server_key: The server's key in it.
        locked: What its model was resolved to.
        code_maps: Package of ours → the name of its ConfigMap.

    Raises:
        UsageError: Its engine cannot serve these files, or not as it is configured.
    """
    server, snapshot = config.servers[server_key], locked.snapshot
    container, start = container_of(config, server_key, snapshot)
    verb_specs = specs(server, snapshot, container)
    spec = code.spec_map(config, SERVER, server_key, verb_specs)
    mounted = {package: code_maps[package] for package in code.packages_for(verb_specs)}
    found_by = selector(config, server_key)
    parts = Parts(config, server, snapshot, container, start, mounted, key(spec).name, found_by)
    return [
        spec,
        _deployment(_metadata(config, server_key), parts),
        access.service(_metadata(config, server_key), found_by),
        access.disruption_budget(_metadata(config, server_key), found_by),
        access.network_policy(
            _metadata(config, server_key), found_by, container.port, server.allow_from
        ),
    ]


def _metadata(config: Config, server_key: str) -> Object:
    return {
        "name": server_key,
        "namespace": config.namespace,
        "labels": labels(config, SERVER, server_key),
    }


def container_of(config: Config, server_key: str, snapshot: Snapshot) -> tuple[Container, int]:
    """The container that serves a snapshot, and the seconds that it may take to load.

    Raises:
        UsageError: The engine cannot serve these files, or not as it is configured.
    """
    server = config.servers[server_key]
    start = server.start_within or start_seconds(snapshot.size, bytes_of(config.shelf.speed))
    name = server.name or server_key
    storage = _STORAGE_KINDS[config.shelf.kind]
    options = PodOptions(model_path(name), name, start, config.images, config.registry, storage)
    try:
        return POD_ENGINES[server.engine].make_container(snapshot, server, options), start
    except UsageError as error:
        raise UsageError(f"servers.{server_key}: {error}", hint=error.hint) from error


def _deployment(metadata: Object, parts: Parts) -> Object:
    server, snapshot, container = parts.server, parts.snapshot, parts.container
    snapshot_name = f"{snapshot.repo_id}@{snapshot.id}"
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": server.replicas,
            "revisionHistoryLimit": _REVISION_HISTORY,
            "progressDeadlineSeconds": _progress_deadline(server, container, parts.start_seconds),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _rolling(server, container)},
            "selector": {"matchLabels": dict(parts.selector)},
            "template": {
                # On the template too: a ReplicaSet that is kept for a rollback says by it which
                # snapshot it needs.
                "metadata": {
                    "labels": dict(metadata["labels"]),
                    "annotations": {SNAPSHOT: snapshot_name},
                },
                "spec": pod_spec(parts),
            },
        },
    }
    annotations = {
        SNAPSHOT: snapshot_name,
        SOURCE: snapshot.source,
        COMMIT: snapshot.commit,
        BYTES: str(snapshot.size),
        **({LOAD: container.start.load} if container.start is not None else {}),
        REPLICAS: str(server.replicas),
        TEMPLATE: template_hash(deployment),
    }
    return deployment | {"metadata": metadata | {"annotations": annotations}}


def _rolling(server: ServerConfig, container: Container) -> Object:
    if container.gpus and not server.spare:
        # The old pod may hold the only GPU that the new one can get, so it ends first.
        return {"maxSurge": 0, "maxUnavailable": 1}
    return {"maxSurge": 1, "maxUnavailable": 0}


def _progress_deadline(server: ServerConfig, container: Container, start: int) -> int:
    """Seconds until a rollout counts as stuck.

    In that time an old pod frees its GPU, an image is pulled, and a model is loaded.
    """
    return server.progress_deadline or container.drain.grace_period + _IMAGE_SECONDS + start

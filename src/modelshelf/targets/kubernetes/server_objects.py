"""One server: its entry in modelshelf.yaml, its URL, its pods, and the snapshot that it serves."""

from __future__ import annotations

from collections.abc import Iterable

from modelshelf.config.file import Config
from modelshelf.config.server_section import ServerConfig
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.shelf.errors import UsageError


def require_server(config: Config, server: str) -> ServerConfig:
    """Get the entry of a server.

    Raises:
        UsageError: The file has no server of this name.
    """
    if server not in config.servers:
        known = ", ".join(sorted(config.servers)) or "none"
        raise UsageError(f"modelshelf.yaml has no server {server}", hint=f"it has {known}")
    return config.servers[server]


def server_url(server: str, namespace: str) -> str:
    """A server's base URL inside the cluster."""
    return f"http://{names.fitted(server)}.{namespace}.svc"


def labels_of_servers(config: Config) -> dict[str, str]:
    """The labels of the objects of all servers of a file."""
    return {**names.of_file(config), names.COMPONENT: names.SERVER}


def pods_of_server(pods: Iterable[Object], server: str) -> list[Object]:
    """A server's pods, oldest first.

    Args:
        pods: The pods of the file. Jobs that prime the server and Jobs that pull a model of the
            same name have pods, too: these are left out.
        server: The server's key.
    """
    wanted = {names.NAME: names.fitted(server), names.COMPONENT: names.SERVER}.items()
    own = [pod for pod in pods if wanted <= (pod["metadata"].get("labels") or {}).items()]
    return sorted(own, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def snapshot_of(workload: Object) -> str:
    """The snapshot that a pod template names, as `repo_id@id`; empty if it names none."""
    metadata = workload["spec"]["template"].get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(names.SNAPSHOT, ""))

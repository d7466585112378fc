"""Two hundred servers: how long `render` takes, and how many calls `status` makes for them."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.cluster import Cluster
from lab.control import AUDITED
from support.cluster_project import TINY, Project, add_tiny

from bench.cluster_stage import Stage
from bench.timing import clean_environment, measure
from modelshelf.kube.client import Cluster as Client

SERVERS = 200
_RENDER_ROUNDS = 3
_USER = "bench-status"
_NOWHERE = {"modelshelf.dev/bench": "nowhere"}
_SCHEDULER_SECONDS = 60.0  # until the scheduler has looked at every pod


@dataclasses.dataclass(frozen=True, slots=True)
class Render:
    """How long `modelshelf render` of all servers took.

    Attributes:
        models: How many models the servers serve.
        files: How many files it wrote.
        first: Seconds of each run into an empty folder.
        again: Seconds of each run into a folder that was up to date.
    """

    models: int
    files: int
    first: list[float]
    again: list[float]


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """The requests of `modelshelf status` of all servers to the API server.

    Attributes:
        state: The state of the servers.
        calls: Each request by verb and resource, from the API server's audit log.
        seconds: How long the whole command took.
    """

    state: str
    calls: tuple[str, ...]
    seconds: float


def renders(project: Project, models: int) -> Render:
    """Time the whole `render` command for servers of that many models.

    The models are locked before, which needs the hub; rendering needs none.
    """
    file = _file_with(project.file, models)
    for number in range(models):
        add_tiny(project.hub, f"org/tiny-{number}", size=1_000_000)
    project.file = file
    project.run("lock")
    env = clean_environment(os.fspath(project.path.parent))
    first, again = [], []
    for number in range(_RENDER_ROUNDS + 1):
        folder = project.path.parent / f"rendered-{models}-{number}"
        words = ["render", "--file", os.fspath(project.path), "-o", os.fspath(folder), "-q"]
        took = [measure([[sys.executable, "-m", "modelshelf", *words]], env) for _ in range(2)]
        # The first round is not counted: it may compile our code.
        if number:
            first.append(took[0].seconds)
            again.append(took[1].seconds)
    return Render(models, len(list(folder.rglob("*.yaml"))), first, again)


def _file_with(file: Mapping[str, Any], models: int) -> dict[str, Any]:
    sources = {f"tiny-{n}": {"source": f"hf://org/tiny-{n}"} for n in range(models)}
    servers = {
        f"server-{n}": {"model": f"tiny-{n % models}", "engine": "vllm"} for n in range(SERVERS)
    }
    return {**file, "models": sources, "servers": servers}


def statuses(stage: Stage) -> tuple[float, list[Status]]:
    """Bring up all servers without replicas, and count the calls of `status` twice.

    The second time each server has a pod that no node takes, so that `status` has to find a reason
    for each.

    Returns:
        Seconds that `up` took, and the calls of each `status`.
    """
    server = {**copy.deepcopy(TINY), "replicas": 0, "nodeSelector": _NOWHERE}
    stage.project.file["servers"] = {f"server-{n}": server for n in range(SERVERS)}
    start = time.monotonic()
    stage.project.run("up", "--no-ask")
    took = time.monotonic() - start
    idle = _status(stage, "no replicas wanted")
    _want_pods(stage)
    return took, [idle, _status(stage, "one replica wanted each, and no node for any")]


def _status(stage: Stage, state: str) -> Status:
    project, cluster = stage.project, stage.cluster
    project.kubeconfig = cluster.kubeconfig_for(_USER, ["system:masters", AUDITED])
    before = len(_status_requests(cluster))
    start = time.monotonic()
    done = project.run("status")
    seconds = time.monotonic() - start
    project.kubeconfig = cluster.kubeconfig
    (status,) = done.events
    assert len(status["servers"]) == SERVERS
    return Status(state, tuple(_status_requests(cluster)[before:]), seconds)


def _status_requests(cluster: Cluster) -> list[str]:
    assert cluster.logs is not None
    return list(requests_of(_USER, (cluster.logs / "audit.log").read_text().splitlines()))


def requests_of(user: str, lines: Sequence[str]) -> Iterator[str]:
    """Read a user's requests from an audit log, each like `list deployments`. Pure."""
    for line in lines:
        entry = json.loads(line)
        if entry["user"]["username"] == user and entry["stage"] == "ResponseComplete":
            about = entry.get("objectRef") or {}
            yield f"{entry['verb']} {about.get('resource') or entry['requestURI']}"


def _want_pods(stage: Stage) -> None:
    """Scale every server to one pod, and wait until the scheduler says that no node takes it."""
    one_replica = {"spec": {"replicas": 1}}
    # kubectl would limit itself to five of these requests a second.
    with Client.connect(os.fspath(stage.cluster.kubeconfig)) as client:
        for name in stage.project.file["servers"]:
            client.patch("Deployment", name, stage.namespace, one_replica, subresource="scale")
    end = time.monotonic() + _SCHEDULER_SECONDS
    argv = ["get", "events", "--field-selector=reason=FailedScheduling", "-o=name"]
    while len(stage.kubectl(*argv).splitlines()) < SERVERS:
        if time.monotonic() > end:
            raise TimeoutError(f"the scheduler did not look at {SERVERS} pods")
        time.sleep(1)

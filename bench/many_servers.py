"""Two hundred servers: how long they take to render, and what `status` asks a cluster for them."""

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
_ROUNDS = 3  # of renderings, which are quick
_USER = "bench-status"
_NOWHERE = {"modelshelf.dev/bench": "nowhere"}
_UNSCHEDULED = 60.0  # seconds for the scheduler to have looked at every pod


@dataclasses.dataclass(frozen=True, slots=True)
class Render:
    """What `modelshelf render` of all servers took.

    Attributes:
        models: How many models they serve.
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
    """What `modelshelf status` of all servers asked of the API server.

    Attributes:
        state: In which state the servers were.
        calls: Each request by verb and resource, from the API server's audit log.
        seconds: Of the whole command.
    """

    state: str
    calls: tuple[str, ...]
    seconds: float


def renders(project: Project, models: int) -> Render:
    """Time the whole command, with so many models for the servers.

    The hub's models are locked before, which needs the hub; rendering does not.
    """
    file = _file_with(project.file, models)
    for number in range(models):
        add_tiny(project.hub, f"org/tiny-{number}", size=1_000_000)
    project.file = file
    project.run("lock")
    env = clean_environment(os.fspath(project.path.parent))
    first, again = [], []
    for number in range(_ROUNDS + 1):
        folder = project.path.parent / f"rendered-{models}-{number}"
        words = ["render", "--file", os.fspath(project.path), "-o", os.fspath(folder), "-q"]
        took = [measure([[sys.executable, "-m", "modelshelf", *words]], env) for _ in range(2)]
        # The first round compiles our code, where nobody ran it before.
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
    """Bring up all servers, with no replica each, and count what `status` asks: twice.

    The second time every server wants a pod, and none can be scheduled, so that each needs a
    reason.

    Returns:
        Seconds that `up` took, and what `status` asked.
    """
    one = {**copy.deepcopy(TINY), "replicas": 0, "nodeSelector": _NOWHERE}
    stage.project.file["servers"] = {f"server-{n}": one for n in range(SERVERS)}
    began = time.monotonic()
    stage.project.run("up", "--no-ask")
    took = time.monotonic() - began
    idle = _status(stage, "no replicas wanted")
    _want_pods(stage)
    return took, [idle, _status(stage, "one replica wanted each, and no node for any")]


def _status(stage: Stage, state: str) -> Status:
    project, cluster = stage.project, stage.cluster
    project.kubeconfig = cluster.kubeconfig_for(_USER, ["system:masters", AUDITED])
    before = len(_asked(cluster))
    began = time.monotonic()
    done = project.run("status")
    seconds = time.monotonic() - began
    project.kubeconfig = cluster.kubeconfig
    (found,) = done.events
    assert len(found["servers"]) == SERVERS
    return Status(state, tuple(_asked(cluster)[before:]), seconds)


def _asked(cluster: Cluster) -> list[str]:
    assert cluster.logs is not None
    return list(requests_of(_USER, (cluster.logs / "audit.log").read_text().splitlines()))


def requests_of(user: str, lines: Sequence[str]) -> Iterator[str]:
    """The requests of a user in an audit log, as `list deployments`. Pure."""
    for line in lines:
        entry = json.loads(line)
        if entry["user"]["username"] == user and entry["stage"] == "ResponseComplete":
            about = entry.get("objectRef") or {}
            yield f"{entry['verb']} {about.get('resource') or entry['requestURI']}"


def _want_pods(stage: Stage) -> None:
    """Let every server want a pod, and wait until the scheduler has said that no node takes it."""
    one = {"spec": {"replicas": 1}}
    # Not kubectl, which allows itself five of these a second.
    with Client.connect(os.fspath(stage.cluster.kubeconfig)) as client:
        for name in stage.project.file["servers"]:
            client.patch("Deployment", name, stage.namespace, one, subresource="scale")
    end = time.monotonic() + _UNSCHEDULED
    argv = ["get", "events", "--field-selector=reason=FailedScheduling", "-o=name"]
    while len(stage.kubectl(*argv).splitlines()) < SERVERS:
        if time.monotonic() > end:
            raise TimeoutError(f"the scheduler did not look at {SERVERS} pods")
        time.sleep(1)

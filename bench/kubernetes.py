"""`python -m bench.kubernetes`: models brought up on a real Kubernetes, beside the ways by hand.

It runs where a cluster can start, and writes docs/benchmarks-kubernetes.md; `make
bench-kubernetes` runs it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from lab import llama
from lab.cluster import Cluster, one_node, why_not
from lab.control import KubectlError
from lab.parts import REPOSITORY, PartError
from lab.processes import StartError

from bench import by_hand_objects, machine, many_servers, wheels
from bench import kubernetes_page as pages
from bench.by_hand import DownloadIntoShare, DownloadPerPod
from bench.by_modelshelf import ByModelshelf
from bench.cluster_stage import Second, Start, Way, stage
from bench.kubernetes_page import Measured, Setting
from bench.timing import FailedError
from bench.wheels import Index

COMMAND = "make bench-kubernetes"
REPLICAS = (1, 2, 4)


def main() -> None:
    """Measure, write the page, and say which promises were not kept."""
    options = _options()
    if reason := why_not():
        sys.exit(reason)
    began = time.monotonic()
    packages = wheels.packages()
    with one_node() as cluster, wheels.served(cluster.address, packages / "wheels") as index:
        measured = _measure(cluster, index, _tools(cluster, packages / "pip"), options.rounds)
        version = cluster.kubectl("get", "nodes", "-o=jsonpath={..kubeletVersion}")
    about = {**machine.common(), "Kubernetes": version, "llama.cpp": llama.BUILD}
    date = dt.datetime.now(dt.UTC).date().isoformat()
    page = pages.page(measured, Setting(COMMAND, date, options.rounds, about))
    options.output.write_text(page, encoding="utf-8")
    for promise in pages.promises(measured):
        _say(f"{'kept  ' if promise.met else 'BROKEN'}  {promise.text}: {promise.value}")
    _say(f"written after {time.monotonic() - began:.0f} s: {options.output}")


def _measure(cluster: Cluster, index: Index, tools: str, rounds: int) -> Measured:
    with stage(cluster, index) as place:
        rendered: Any = place.project.run("render").events[0]
        (deployment,) = [obj for obj in rendered if obj["kind"] == "Deployment"]
        engine = by_hand_objects.engine_of(deployment)
        ways: list[Way] = [
            ByModelshelf(),
            DownloadIntoShare(engine, tools),
            DownloadPerPod(engine, tools),
        ]
        # The first start is not measured: it reads images and programs from the disk.
        ways[-1].start(place, 1)
    starts: dict[tuple[str, int], list[Start]] = {}
    seconds: dict[str, list[Second]] = {}
    for _ in range(rounds):
        for way in ways:
            for replicas in REPLICAS:
                with stage(cluster, index) as place:
                    starts.setdefault((way.title, replicas), []).append(way.start(place, replicas))
                    if replicas == 1:
                        seconds.setdefault(way.title, []).append(way.second(place))
                _say(f"{way.title}, {replicas}: {starts[way.title, replicas][-1].ready:.1f} s")
    _say(f"{many_servers.SERVERS} servers …")
    with stage(cluster, index) as place:
        up, statuses = many_servers.statuses(place)
        renders = [
            many_servers.renders(place.project, models) for models in (1, many_servers.SERVERS)
        ]
    return Measured(place.size, ways[0].title, starts, seconds, renders, up, statuses)


def _tools(cluster: Cluster, pip: Path) -> str:
    """Copy pip to the node, where pods also write its compiled modules; return the folder."""
    assert cluster.share is not None
    folder = cluster.share / "tools"
    shutil.copytree(pip, folder)
    return os.fspath(folder)


def _options() -> argparse.Namespace:
    page = REPOSITORY / "docs" / "benchmarks-kubernetes.md"
    parser = argparse.ArgumentParser(prog="python -m bench.kubernetes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=page, help="where the page goes")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (FailedError, PartError, StartError, KubectlError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)

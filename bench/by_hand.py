"""Two ways of bringing a model up by hand, as tutorials show them, with kubectl and pip in a pod.

In one way a Job downloads into the share, and then a plain Deployment serves from there. In the
other, each pod downloads for itself in an init container.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
import time
from collections.abc import Sequence

from lab.control import KubectlError
from support.cluster_project import SERVER
from support.real_model import QUESTION

from bench import by_hand_objects
from bench.cluster_stage import Clock, Object, Second, Stage, Start, pods_to_ready
from bench.timing import FailedError

_TIMEOUT_OPTION = "--timeout=180s"
_SPAN_NAMES = ("pip install", "snapshot_download")
# A ready pod becomes an endpoint of its Service a moment later.
_ENDPOINT_SECONDS = 15.0
_APPLIED, _READY, _ANSWERED = "server applied", "all replicas ready", "a question answered"


class DownloadIntoShare:
    """A Job that downloads into the share by pip and snapshot_download, then a Deployment.

    Args:
        engine: The container that serves.
        tools: The folder of the node that has pip.
    """

    title = "by hand: a Job downloads, pods read the share"

    def __init__(self, engine: Object, tools: str) -> None:
        self._engine = engine
        self._tools = tools

    def start(self, stage: Stage, replicas: int) -> Start:
        """Bring the model up from nothing, until all replicas are ready and one has answered."""
        clock, name = Clock(), stage.namespace
        stage.apply(
            by_hand_objects.namespace(name), *by_hand_objects.storage(name, str(stage.share))
        )
        clock.mark("namespace, volume and claim applied")
        fetch = by_hand_objects.downloader(stage.hub.url, stage.index.url)
        stage.apply(by_hand_objects.job(name, fetch, self._tools))
        _wait(stage, "wait", "--for=condition=complete", f"job/{by_hand_objects.JOB}")
        clock.mark("Job complete")
        stage.apply(
            *by_hand_objects.server(name, self._engine, replicas, [by_hand_objects.on_claim()])
        )
        log = stage.kubectl("logs", f"job/{by_hand_objects.JOB}")
        return _until_answered(stage, clock, [log])

    def second(self, stage: Stage) -> Second:
        """Scale from one replica to two."""
        return _second(stage)


class DownloadPerPod:
    """A Deployment whose pods download the model whenever they start.

    Args:
        engine: The container that serves.
        tools: The folder of the node that has pip.
    """

    title = "by hand: every pod downloads"

    def __init__(self, engine: Object, tools: str) -> None:
        self._engine = engine
        self._tools = tools

    def start(self, stage: Stage, replicas: int) -> Start:
        """Bring the model up from nothing, until all replicas are ready and one has answered."""
        clock, name = Clock(), stage.namespace
        fetch = by_hand_objects.downloader(stage.hub.url, stage.index.url)
        volumes = [{"name": "models", "emptyDir": {}}, by_hand_objects.tools_in(self._tools)]
        objects = by_hand_objects.server(name, self._engine, replicas, volumes, [fetch])
        stage.apply(by_hand_objects.namespace(name), *objects)
        return _until_answered(stage, clock, ())

    def second(self, stage: Stage) -> Second:
        """Scale from one replica to two."""
        return _second(stage)


def spans(logs: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Read from the downloaders' logs how long pip and the download took; medians. Pure."""
    durations = []
    for log in logs:
        times = [float(text) for text in re.findall(r"^at=([\d.]+)$", log, re.MULTILINE)]
        durations.append([later - earlier for earlier, later in itertools.pairwise(times)])
    return tuple(
        (name, statistics.median(seconds))
        for name, seconds in zip(_SPAN_NAMES, zip(*durations, strict=True), strict=True)
    )


def _until_answered(stage: Stage, clock: Clock, logs: Sequence[str]) -> Start:
    applied = clock.mark(_APPLIED)
    _wait(stage, "rollout", "status", f"deployment/{SERVER}")
    ready = clock.mark(_READY)
    _ask(stage)
    answered = clock.mark(_ANSWERED)
    pods = stage.pods()
    logs = list(logs) or [
        stage.kubectl("logs", pod["metadata"]["name"], "-c", by_hand_objects.FETCH) for pod in pods
    ]
    return Start(
        ready=ready,
        answered=answered,
        applied=applied,
        fetched=stage.hub.bytes_sent(),
        packages=stage.index.sent - stage.index_before,
        pods=pods_to_ready(pods),
        moments=tuple(clock.moments),
        spans=spans(logs),
    )


def _wait(stage: Stage, *argv: str) -> None:
    try:
        stage.kubectl(*argv, _TIMEOUT_OPTION)
    except KubectlError as error:
        events = stage.kubectl("get", "events", "--sort-by=.lastTimestamp")
        raise FailedError(f"{error}\n{events}") from error


def _ask(stage: Stage) -> None:
    """Ask the question that `up` asks, and like `up` through the API server."""
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 24, "temperature": 0}
    service = f"/api/v1/namespaces/{stage.namespace}/services/{SERVER}:http/proxy"
    end = time.monotonic() + _ENDPOINT_SECONDS
    while True:
        try:
            answer = stage.kubectl(
                "create",
                "-f",
                "-",
                "--raw",
                f"{service}/v1/chat/completions",
                stdin=json.dumps(body),
            )
            break
        except KubectlError:
            if time.monotonic() > end:
                raise
    assert json.loads(answer)["choices"], answer


def _second(stage: Stage) -> Second:
    fetched, packages = stage.hub.bytes_sent(), stage.index.sent
    start = time.monotonic()
    stage.kubectl("scale", f"deployment/{SERVER}", "--replicas=2")
    _wait(stage, "rollout", "status", f"deployment/{SERVER}")
    ready = time.monotonic() - start
    *_, pod = pods_to_ready(stage.pods())
    return Second(ready, stage.hub.bytes_sent() - fetched, stage.index.sent - packages, pod)

"""Timelines of pods: what Kubernetes says of them, and what their containers said."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from support.fake_cluster import FakeCluster, roll_out
from support.kube_objects import condition, pod, running, state, terminated
from support.render_inputs import config, lock

from modelshelf.cli.output import Output
from modelshelf.cli.timelines import draw
from modelshelf.config.file import Config
from modelshelf.engines.timeline import Timeline
from modelshelf.engines.timeline_reader import TimedLine
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.shelf.errors import TargetError, TimedOutError, UsageError
from modelshelf.shelf.events import GateOpen, ignore
from modelshelf.start.events import EngineReady, EngineStarting, Prefetched
from modelshelf.targets.kubernetes import Options, coldstarts, timelines, up
from modelshelf.targets.kubernetes.timelines import parse_stamped, timeline_of

CREATED = dt.datetime.fromisoformat("2026-11-24T10:00:00Z").timestamp()
OPEN = json.dumps(GateOpen("o/n@1", "/m", 0.4).to_json())
GATE = state("gate", terminated(0, at="2026-11-24T10:00:06Z", until="2026-11-24T10:00:06Z"))
PLACED = condition("PodScheduled", at="2026-11-24T10:00:02Z")
READY = condition("Ready", at="2026-11-24T10:00:19Z")
ENGINE: list[TimedLine] = [
    (CREATED + 10.0, "0.0 I srv    load_model: loading model '/m/x.gguf'"),
    (CREATED + 16.0, "6.0 I srv  llama_server: model loaded"),
]


def _phases(found: Timeline | None) -> list[tuple[str, float, float]]:
    assert found
    return [(each.name, round(each.began, 1), round(each.seconds, 1)) for each in found.phases]


def test_a_pod_is_told_from_its_creation_to_its_first_answer() -> None:
    """Phases come from Kubernetes, from the gate's lines and from the engine's lines."""
    it = pod([PLACED, READY], [running("engine", at="2026-11-24T10:00:09Z")], [GATE])
    found = timeline_of(it, [(CREATED + 6.5, OPEN)], ENGINE, CREATED + 1e6)
    assert found
    assert (found.began, found.ready) == (CREATED, 19.0)
    assert _phases(found) == [
        ("scheduled", 0.0, 2.0),
        ("image", 2.0, 4.0),
        ("gate", 6.1, 0.4),
        ("image", 6.5, 2.5),
        ("import", 9.0, 1.0),
        ("weights", 10.0, 6.0),
        ("ready", 16.0, 3.0),
    ]


def test_a_restarted_engine_is_told_from_its_last_start() -> None:
    """The phases of a restarted engine begin at its restart, not at the pod's creation."""
    again = running("engine", at="2026-11-24T10:00:09Z", restarts=2)
    found = timeline_of(pod([PLACED], [again], [GATE]), [], ENGINE, CREATED + 20.0)
    assert found
    assert found.ready is None
    assert _phases(found) == [("import", 0.0, 1.0), ("weights", 1.0, 6.0), ("ready", 7.0, 4.0)]


def test_a_pod_without_a_node_has_none() -> None:
    """A pod without a node has no timeline."""
    assert timeline_of(pod(node=None), [], [], CREATED) is None


def test_lines_come_behind_their_moments() -> None:
    """A line that was cut off at the limit, or has no time, is left out."""
    lines = ["2026-11-24T10:00:00.123456789Z a b", "2026-11-24T10:00:01Z ", "2026-11-2"]
    assert [(round(at - CREATED, 3), text) for at, text in parse_stamped(lines)] == [
        (0.123, "a b"),
        (1.0, ""),
    ]


def _served() -> tuple[FakeCluster, Config]:
    """A cluster with one server."""
    cluster = FakeCluster()
    models = "tiny: {source: hf://acme/tiny, engine: vllm}"
    file = config("hostPath: {path: /d}", models=models, servers="front: {model: tiny}")
    up(cluster.session(file, ignore), lock(file), Options())
    return cluster, file


def test_gate_and_engine_of_each_pod_are_read_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of gate and engine make one timeline, and each phase is drawn as one line."""
    cluster, file = _served()
    [pod_name] = (at.name for at in cluster.objects if at.kind == "Pod" and "front" in at.name)
    starting = EngineStarting(("vllm",), "stock", "vLLM 0.29 was not tried").to_json()
    prefetched = Prefetched(600_000_000, 2.0, "").to_json()
    cluster.logs[f"{pod_name}/gate"] = [f"2027-01-15T07:59:59.5Z {OPEN}"]
    cluster.logs[f"{pod_name}/engine"] = [
        f"2027-01-15T08:00:00.5Z {json.dumps(starting)}",
        f"2027-01-15T08:00:03.5Z {json.dumps(prefetched)}",
        f"2027-01-15T08:00:06.5Z {json.dumps(EngineReady(6.0).to_json())}",
    ]
    [found] = timelines(cluster.session(file, ignore))
    assert (found.server, found.pod) == ("front", pod_name)
    capsys.readouterr()
    draw(Output(color=False), "front", found.timeline)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "front: ready after 7.4 s (stock: vLLM 0.29 was not tried)"
    assert [line.split()[0] for line in lines[1:]] == ["gate", "import", "prefetch"]
    assert lines[3].split("▄")[-1].split() == ["2.0", "s", "600.0", "MB", "at", "300", "MB/s"]
    assert lines[2].index("█") < lines[3].index("▄") < lines[2].rindex("█")


def test_who_may_not_read_logs_is_told_so() -> None:
    """The timelines of a user who may not read logs are an error, not half a timeline."""
    cluster, file = _served()
    cluster.forbidden.add("Log")
    with pytest.raises(ForbiddenError):
        timelines(cluster.session(file, ignore))


def test_pods_are_started_again_one_at_a_time() -> None:
    """Each start deletes the oldest ready pod, and returns the start of the new pod."""
    cluster, file = _served()
    found = list(coldstarts(cluster.session(file, ignore), "front", 2))
    assert [call[:2] for call in cluster.writes()[-2:]] == [("delete", "Pod")] * 2
    assert [each.server for each in found] == ["front", "front"]
    assert [phase.name for each in found for phase in each.timeline.phases] == ["import"] * 2


def test_a_server_without_a_ready_pod_is_not_made_worse() -> None:
    """Nothing is deleted if no pod is ready; a server that the file lacks is a usage error."""
    cluster, file = _served()
    for deployment in cluster.of("Deployment"):
        cluster.controllers.clear()
        roll_out(cluster, deployment, ready=False)
    cluster.calls.clear()
    with pytest.raises(TargetError, match="no pod that is ready"):
        list(coldstarts(cluster.session(file, ignore), "front", 1))
    with pytest.raises(UsageError, match="no server nobody"):
        list(coldstarts(cluster.session(file, ignore), "nobody", 1))
    assert cluster.writes() == []


def test_a_pod_that_is_not_replaced_is_not_waited_for_for_ever() -> None:
    """The wait for a new pod ends if none appears."""
    cluster, file = _served()
    cluster.controllers.clear()
    with pytest.raises(TimedOutError, match="no pod came in place"):
        list(coldstarts(cluster.session(file, ignore), "front", 1))

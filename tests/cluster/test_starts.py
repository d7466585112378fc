"""How pods of a server come, go and wait on a real Kubernetes, without the hub."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import images
from support.cluster_project import MODEL, SERVER, Done, Project
from support.real_model import FILE, smollm2

pytestmark = pytest.mark.timeout(300)
_SLOW, _OVERDUE = "slow", "overdue"
_SLEEP = 22  # seconds: more than a deadline of 2, what may come late, and a look at the other
_WAY = ("pending", "scheduled", "image", "gate", "image", "weights", "ready")


@pytest.fixture
def one(kept: Project) -> Project:
    """The module's project with one replica, and its hub, whose counters begin anew."""
    kept.run("scale", SERVER, "1")
    kept.hub.requests.clear()
    return kept


def _ready(project: Project) -> set[str]:
    """The names of a server's pods that requests are led to."""
    label = f"kubernetes.io/service-name={SERVER}"
    slices = project.get("endpointslices", None, "-l", label)["items"]
    return {
        endpoint["targetRef"]["name"]
        for each in slices
        for endpoint in each["endpoints"] or ()
        if endpoint["conditions"]["ready"]
    }


def _until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Wait until something is so, and return what it is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)
    return found


def _in_order(shown: list[str]) -> bool:
    """Whether phases are some of those of a pod's way, in their order."""
    way = iter(_WAY)
    return all(phase in way for phase in shown)


def test_each_pods_phases_are_shown_in_order(one: Project) -> None:
    """`scale` shows how a new pod comes from its node to its first answer, and how long each took.

    What is over within one look is not seen while it lasts, but counted at the end.
    """
    shown = one.run("scale", SERVER, "2").of("pod-phased", name=SERVER)
    assert len({event["pod"] for event in shown}) == 1
    assert _in_order([event["phase"] for event in shown]), shown
    assert [event["phase"] for event in shown[-2:]] == ["weights", "ready"]
    spans = [span.split()[0] for span in shown[-1]["detail"].split(", ")]
    assert spans == ["scheduled", "image", "gate", "weights"]


def test_a_killed_pod_comes_back_from_the_shelf(one: Project) -> None:
    """In the place of a pod deleted by force a new one gets ready, which asks no hub."""
    before = _ready(one)
    (killed,) = one.pods()
    one.kubectl("delete", "pod", killed["metadata"]["name"], "--grace-period=0", "--force")
    _until(lambda: _ready(one) - before, "another pod is ready")
    assert len(one.pods()) == 1
    assert not one.hub.requests


def test_a_server_whose_model_is_gone_waits_with_that_reason(one: Project) -> None:
    """On an emptied share a new pod waits in the gate and says why; the next `up` pulls again."""
    share = Path(one.file["shelf"]["hostPath"]["path"])
    shutil.rmtree(share / "models")
    (old,) = one.pods()
    one.kubectl("delete", "pod", old["metadata"]["name"], "--grace-period=0", "--force")
    done = one.run("scale", SERVER, "1", "--timeout=8", code=20)
    (error,) = done.of("error")
    assert "the gate" in error["message"]
    assert "is not on the shelf" in error["message"]
    (waiting,) = one.pods()
    assert not one.hub.requests
    assert one.run("up").of("published")
    (pod,) = one.pods()
    assert pod["metadata"]["name"] == waiting["metadata"]["name"]
    assert one.hub.bytes_sent(FILE) == smollm2().stat().st_size


def test_a_new_number_in_the_file_wins_over_the_live_one(one: Project) -> None:
    """`up` keeps what `scale` set only as long as the file's number is the same."""
    one.file["servers"][SERVER]["replicas"] = 0
    assert one.run("up").of("server-ready", server=SERVER, replicas=0)
    assert not one.pods()
    assert not one.hub.requests


def _slow(**budget: int) -> dict[str, Any]:
    """A server that begins to load long after it was started."""
    serve = "exec /app/llama-server --host 0.0.0.0 --port {port} --alias {name} --model {model}"
    return {
        "model": MODEL,
        "engine": "custom",
        "image": images.LLAMA,
        "command": ["sh", "-c", f"sleep {_SLEEP}; {serve}/{FILE} --ctx-size 2048"],
        "drain": 1,
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}},
        **budget,
    }


@pytest.fixture(scope="module")
def late(kept: Project) -> Done:
    """How `up` ended with a load past the progress deadline, and another past its own budget."""
    kept.file["models"][MODEL]["engine"] = "llamacpp"
    kept.file["servers"] = {
        _SLOW: _slow(startWithin=90, progressDeadline=2),
        _OVERDUE: _slow(startWithin=5),
    }
    return kept.run("up", code=20)


def _state(project: Project) -> tuple[str, int, str]:
    """The uid of the slow server's pod, its restarts, and how its rollout goes."""
    (pod,) = project.pods(_SLOW)
    conditions = project.get("deployment", _SLOW)["status"]["conditions"]
    (progress,) = [each["reason"] for each in conditions if each["type"] == "Progressing"]
    restarts = pod["status"]["containerStatuses"][0]["restartCount"]
    return pod["metadata"]["uid"], restarts, progress


def test_a_load_past_its_budget_is_ended_and_told(kept: Project, late: Done) -> None:
    """A load longer than `startWithin` is ended by the cluster, and `status` says why."""
    (said,) = kept.run("status").events
    (reason,) = [each["reason"] for each in said["servers"] if each["name"] == _OVERDUE]
    assert "tartup probe failed" in reason


def test_a_load_past_the_progress_deadline_is_told_and_goes_on(kept: Project, late: Done) -> None:
    """Past a deadline shorter than the load `up` says why; the pod lives, and `up` can go on.

    By default the deadline is longer than what the load may take, and the pod is not started again
    within that.
    """
    (error,) = late.of("error")
    assert f"server {_SLOW}: 0 of 1 replicas are ready" in error["message"]
    assert "runs, but does not answer" in error["message"]
    uid, _, progress = _state(kept)
    assert progress == "ProgressDeadlineExceeded"

    kept.file["servers"] = {_SLOW: _slow(startWithin=90)}
    assert "Paris" in kept.run("up").answer
    assert _state(kept) == (uid, 0, "NewReplicaSetAvailable")
    deadline = kept.get("deployment", _SLOW)["spec"]["progressDeadlineSeconds"]
    assert deadline == 1 + 15 + 1200 + 90

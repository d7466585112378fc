"""How a server's pods start, stop and wait on a real Kubernetes, without the hub."""

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
def one_replica(running_project: Project) -> Project:
    """The module's project with one replica, and a hub whose counters begin at zero."""
    running_project.run("scale", SERVER, "1")
    running_project.hub.requests.clear()
    return running_project


def _pods_with_requests(project: Project) -> set[str]:
    """The names of the server's pods to which requests are sent."""
    label = f"kubernetes.io/service-name={SERVER}"
    slices = project.get("endpointslices", None, "-l", label)["items"]
    return {
        endpoint["targetRef"]["name"]
        for each in slices
        for endpoint in each["endpoints"] or ()
        if endpoint["conditions"]["ready"]
    }


def _wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Wait until a function returns something, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)
    return found


def _is_in_order(shown: list[str]) -> bool:
    """Whether phases are some of the phases of a pod's start, in their order."""
    way = iter(_WAY)
    return all(phase in way for phase in shown)


def test_each_pods_phases_are_shown_in_order(one_replica: Project) -> None:
    """`scale` shows each phase of a new pod up to its first answer, and how long it took.

    What is over within one look is not seen while it lasts, but counted at the end.
    """
    shown = one_replica.run("scale", SERVER, "2").of("pod-phased", name=SERVER)
    assert len({event["pod"] for event in shown}) == 1
    assert _is_in_order([event["phase"] for event in shown]), shown
    assert [event["phase"] for event in shown[-2:]] == ["weights", "ready"]
    spans = [span.split()[0] for span in shown[-1]["detail"].split(", ")]
    assert spans == ["scheduled", "image", "gate", "weights"]


def test_a_killed_pod_is_replaced_from_the_shelf(one_replica: Project) -> None:
    """A new pod replaces one that was deleted by force, and asks no hub."""
    before = _pods_with_requests(one_replica)
    (killed,) = one_replica.pods()
    one_replica.kubectl("delete", "pod", killed["metadata"]["name"], "--grace-period=0", "--force")
    _wait_for(lambda: _pods_with_requests(one_replica) - before, "another pod is ready")
    assert len(one_replica.pods()) == 1
    assert not one_replica.hub.requests


def test_a_server_without_its_model_waits_and_says_why(one_replica: Project) -> None:
    """A new pod waits in the gate when the share is empty; the next `up` pulls again."""
    share = Path(one_replica.file["shelf"]["hostPath"]["path"])
    shutil.rmtree(share / "models")
    (old,) = one_replica.pods()
    one_replica.kubectl("delete", "pod", old["metadata"]["name"], "--grace-period=0", "--force")
    done = one_replica.run("scale", SERVER, "1", "--timeout=8", code=20)
    (error,) = done.of("error")
    assert "the gate" in error["message"]
    assert "is not on the shelf" in error["message"]
    (waiting,) = one_replica.pods()
    assert not one_replica.hub.requests
    assert one_replica.run("up").of("published")
    (pod,) = one_replica.pods()
    assert pod["metadata"]["name"] == waiting["metadata"]["name"]
    assert one_replica.hub.bytes_sent(FILE) == smollm2().stat().st_size


def test_a_new_count_in_the_file_replaces_the_live_one(one_replica: Project) -> None:
    """`up` keeps the count of `scale` only while the count in the file is unchanged."""
    one_replica.file["servers"][SERVER]["replicas"] = 0
    assert one_replica.run("up").of("server-ready", server=SERVER, replicas=0)
    assert not one_replica.pods()
    assert not one_replica.hub.requests


def _slow_server(**budget: int) -> dict[str, Any]:
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
def late_loads(running_project: Project) -> Done:
    """The ends of two `up`: a load past the progress deadline, and one past its own budget."""
    running_project.file["models"][MODEL]["engine"] = "llamacpp"
    running_project.file["servers"] = {
        _SLOW: _slow_server(startWithin=90, progressDeadline=2),
        _OVERDUE: _slow_server(startWithin=5),
    }
    return running_project.run("up", code=20)


def _slow_servers_state(project: Project) -> tuple[str, int, str]:
    """The uid of the slow server's pod, its restarts, and the state of its rollout."""
    (pod,) = project.pods(_SLOW)
    conditions = project.get("deployment", _SLOW)["status"]["conditions"]
    (progress,) = [each["reason"] for each in conditions if each["type"] == "Progressing"]
    restarts = pod["status"]["containerStatuses"][0]["restartCount"]
    return pod["metadata"]["uid"], restarts, progress


def test_a_load_past_its_budget_is_ended(running_project: Project, late_loads: Done) -> None:
    """The cluster ends a load that takes longer than `startWithin`, and `status` says why."""
    (status,) = running_project.run("status").events
    (reason,) = [each["reason"] for each in status["servers"] if each["name"] == _OVERDUE]
    assert "tartup probe failed" in reason


def test_a_load_past_the_progress_deadline_continues(
    running_project: Project, late_loads: Done
) -> None:
    """`up` says why the progress deadline passed; the pod lives, and the next `up` continues.

    By default the deadline is longer than what the load may take, and the pod is not started again
    within that.
    """
    (error,) = late_loads.of("error")
    assert f"server {_SLOW}: 0 of 1 replicas are ready" in error["message"]
    assert "runs, but does not answer" in error["message"]
    uid, _, progress = _slow_servers_state(running_project)
    assert progress == "ProgressDeadlineExceeded"

    running_project.file["servers"] = {_SLOW: _slow_server(startWithin=90)}
    assert "Paris" in running_project.run("up").answer
    assert _slow_servers_state(running_project) == (uid, 0, "NewReplicaSetAvailable")
    deadline = running_project.get("deployment", _SLOW)["spec"]["progressDeadlineSeconds"]
    assert deadline == 1 + 15 + 1200 + 90

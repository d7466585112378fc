"""Each verb of a user's day with a server, on a real Kubernetes, with a hub that counts."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from support.cluster_project import MODEL, SERVER, Done, Project, smollm2_files
from support.real_model import FILE, REPO_ID

from modelshelf.config.file import load
from modelshelf.kube.client import Cluster
from modelshelf.targets.kubernetes import Session, status

pytestmark = pytest.mark.timeout(400)

_KINDS = (
    "deployments,services,poddisruptionbudgets,networkpolicies,configmaps,persistentvolumeclaims"
)
_CALLS = 5


def _resource_versions(project: Project) -> dict[str, str]:
    """The resource versions of all objects but Jobs and pods."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in project.get(_KINDS)["items"]
    }


def _second_commit(project: Project) -> None:
    project.hub.add(REPO_ID, smollm2_files(b"2"), lfs={FILE})
    project.run("lock", "--upgrade", MODEL)


def _served_snapshot(project: Project) -> str:
    """The snapshot that the live Deployment names."""
    annotations = project.get("deployment", SERVER)["metadata"]["annotations"]
    return str(annotations["modelshelf.dev/snapshot"])


def _bytes_of(done: Done) -> int:
    (published,) = done.of("published")
    return int(published["bytes"])


def test_up_brings_an_answer_and_a_second_up_changes_nothing(project: Project) -> None:
    """The hub sends each byte once; the second `up` reads the shelf and changes no object."""
    first = project.run("up")
    assert "Paris" in first.answer
    assert project.hub.bytes_sent(FILE) == _bytes_of(first) - project.hub.bytes_sent("README.md")
    before, requests = _resource_versions(project), len(project.hub.requests)
    second = project.run("up")
    assert second.changed == []
    assert second.of("done", changed=0)
    assert [event["how"] for event in second.of("published")] == ["present"]
    assert _resource_versions(project) == before
    assert len(project.hub.requests) == requests


def test_scaling_downloads_nothing(project: Project) -> None:
    """Scaling 1 → 2 → 0 → 1 waits for ready pods, and the next `up` keeps the live count."""
    project.run("up")
    requests = len(project.hub.requests)
    for wanted in (2, 0, 1, 2):
        done = project.run("scale", SERVER, str(wanted))
        assert [event["replicas"] for event in done.of("server-ready")] == [wanted]
        assert project.get("deployment", SERVER)["status"].get("readyReplicas", 0) == wanted
    again = project.run("up")
    assert [event["what"] for event in again.of("kept")] == ["2 replicas"]
    assert again.changed == []
    assert len(project.pods()) == 2
    assert len(project.hub.requests) == requests


def test_a_rollback_needs_no_hub_and_the_next_up_keeps_it(project: Project) -> None:
    """A rollback from a second commit works while the hub refuses every request."""
    project.run("up")
    first = _served_snapshot(project)
    _second_commit(project)
    project.run("up")
    second = _served_snapshot(project)
    assert second != first
    sent = project.hub.bytes_sent(FILE)
    project.hub.misbehave("refuse")
    back = project.run("rollback", SERVER)
    assert _served_snapshot(project) == first
    assert [(event["before"], event["now"]) for event in back.of("rolled-back")] == [
        (second, first)
    ]
    again = project.run("up", "--locked")
    assert "Paris" in again.answer
    assert _served_snapshot(project) == first
    assert "Deployment" not in [event["kind"] for event in again.changed]
    project.kubectl("rollout", "undo", f"deployment/{SERVER}")
    project.kubectl("rollout", "status", f"deployment/{SERVER}", "--timeout=120s")
    template = project.get("deployment", SERVER)["spec"]["template"]
    assert template["metadata"]["annotations"]["modelshelf.dev/snapshot"] == second
    assert project.hub.bytes_sent(FILE) == sent


def test_status_takes_five_calls(project: Project) -> None:
    """Five calls give URL, replicas, model, commit, bytes, and why a pod is not ready."""
    project.run("up")
    found = _status(project)
    (server,), (model,) = found["servers"], found["models"]
    assert server["url"] == f"http://{SERVER}.{project.namespace}.svc"
    assert (server["ready"], server["wanted"], server["reason"]) == (1, 1, "")
    assert f"{REPO_ID}@{server['commit']}-" in server["snapshot"]
    assert server["bytes"] == model["bytes"] > 90_000_000
    assert (model["look"], model["snapshot"]) == ("whole", server["snapshot"])
    project.file["servers"][SERVER]["image"] = "localhost/nothing:1"
    project.run("up", "--timeout=30", code=20)
    (server,) = _status(project)["servers"]
    assert "localhost/nothing:1" in server["reason"]
    assert [pod["phase"] for pod in server["pods"]] == ["image"]


def test_status_shows_the_phases_of_each_start(project: Project) -> None:
    """`status` shows the start of the running pod, and of the pod that replaces a deleted one."""
    project.run("up", "--no-ask")
    ((first,),) = (event["timelines"] for event in project.run("status", "--timeline").events)
    assert first["pod"] == project.pods()[0]["metadata"]["name"]
    refused = project.run("bench", "coldstart", f"--server={SERVER}", code=2)
    assert refused.events[-1]["hint"] == "agree beforehand with --yes"
    done = project.run("bench", "coldstart", f"--server={SERVER}", "--starts=1", "--yes")
    (again,) = [event for event in done.events if "start" in event]
    (pod,) = (pod for pod in project.pods() if "deletionTimestamp" not in pod["metadata"])
    assert first["pod"] != pod["metadata"]["name"] == f"{SERVER}-{again['start']}"
    for start in (first, again):
        names = {phase["name"] for phase in start["phases"]}
        assert {"image", "gate", "import", "weights", "ready"} <= names
        assert 0 < start["ready"] < 60


def _status(project: Project) -> dict[str, Any]:
    """Run `status --json`, check how many calls it made, and return its output."""
    (document,) = project.run("status").events
    with Cluster.connect(str(project.kubeconfig)) as cluster:
        status(Session(load(project.path), cluster))
        assert 0 < cluster.calls <= _CALLS
    return document


def test_logs_are_those_of_servers_and_of_pulls(project: Project) -> None:
    """A server's lines have their pod's name; a pull's lines are its own JSON."""
    project.run("up")
    lines = project.run("logs", SERVER, "--tail=5").events
    (pod,) = project.pods()
    assert {line["pod"] for line in lines} == {pod["metadata"]["name"]}
    assert len(lines) == 5
    (pull, *_) = project.run("logs", MODEL).events
    assert json.loads(pull["line"])["event"] in {"planned", "published"}
    refused = project.run("logs", "nobody", code=2)
    assert "no server and no model nobody" in refused.events[0]["message"]


def test_diff_predicts_up_and_changes_nothing(project: Project) -> None:
    """`diff` shows what `up` would create, change and delete, and does none of it."""
    other = copy.deepcopy(project.file["servers"][SERVER])
    project.file["servers"]["other"] = {**other, "replicas": 0}
    changes = _run_diff(project)
    assert {change["how"] for change in changes} == {"created"}
    assert project.run("up", "--locked", code=2).of("error")
    project.run("up")
    assert _run_diff(project) == []
    before = _resource_versions(project)
    project.file["servers"][SERVER]["args"] = ["--no-perf"]
    del project.file["servers"]["other"]
    changes = _run_diff(project)
    (changed,) = [change for change in changes if change["how"] == "changed"]
    assert (changed["kind"], changed["name"]) == ("Deployment", SERVER)
    assert [line for line in changed["diff"] if line.startswith("+") and "--no-perf" in line]
    removed = {f"{each['kind']}/{each['name']}" for each in changes if each["how"] == "removed"}
    assert _resource_versions(project) == before
    done = project.run("up")
    gone = {f"{event['kind']}/{event['name']}" for event in done.of("applied", how="removed")}
    assert gone == removed
    assert {"Deployment/other", "Service/other"} < gone
    assert [set(event["objects"]) for event in done.of("removing")] == [gone]
    assert not [name for name in _resource_versions(project) if "other" in name]


def _run_diff(project: Project) -> list[dict[str, Any]]:
    (changes,) = project.run("diff").events
    assert isinstance(changes, list)
    return changes


def test_down_leaves_the_files_and_up_finds_them(project: Project, share: Path) -> None:
    """`down` leaves no object of ours; the next `up` binds the volumes and downloads nothing."""
    project.run("up")
    files = sorted(path.name for path in share.glob("models/*/*/*/*"))
    refused = project.run("down", code=2)
    assert refused.events[-1]["hint"] == "agree beforehand with --yes"
    project.run("down", "--yes")
    assert (
        project.cluster.kubectl("get", "namespaces", project.namespace, "--ignore-not-found") == ""
    )
    volumes = json.loads(project.cluster.kubectl("get", "persistentvolumes", "-o=json"))["items"]
    claims = [volume["spec"]["claimRef"]["namespace"] for volume in volumes]
    assert project.namespace not in claims
    assert files == sorted(path.name for path in share.glob("models/*/*/*/*"))
    requests = len(project.hub.requests)
    again = project.run("up")
    assert "Paris" in again.answer
    assert [event["how"] for event in again.of("published")] == ["present"]
    assert len(project.hub.requests) == requests
    purged = project.run("down", "--yes", "--purge")
    assert [event["repo_id"] for event in purged.of("purged")] == [REPO_ID]
    assert list(share.glob("models/*/*/*")) == []
    assert project.run("down", "--yes", "--purge").of("done")


def test_changes_of_others_are_shown_and_set_back(project: Project) -> None:
    """Fields that kubectl set are set back; a foreign Service is refused until it is forced."""
    project.run("up", "--no-ask")
    name = "app.kubernetes.io/name"
    label = json.dumps({"metadata": {"labels": {name: "mine"}}})
    project.kubectl("patch", "service", SERVER, "--field-manager=kubectl-edit", f"--patch={label}")
    done = project.run("up", "--no-ask")
    (taken,) = done.of("taken-back")
    assert (taken["kind"], taken["name"]) == ("Service", SERVER)
    assert taken["managers"] == ["kubectl-edit"]
    assert name in taken["fields"][0]
    assert project.get("service", SERVER)["metadata"]["labels"][name] == SERVER
    project.kubectl("delete", "service", SERVER)
    project.kubectl("create", "service", "clusterip", SERVER, "--tcp=1234:1234")
    refused = project.run("up", "--no-ask", code=20)
    assert f"Service {project.namespace}/{SERVER} is there already" in refused.events[-1]["message"]
    assert project.get("service", SERVER)["spec"]["ports"][0]["port"] == 1234
    forced = project.run("up", "--force-conflicts")
    assert "Paris" in forced.answer

"""Whose an object is, on a real cluster: what is refused, taken back, removed and left alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hub import Hub
from lab.control import KubectlError
from support.cluster_project import TINY_ID, TINY_MODEL, Project, add_tiny

KINDS = "deployments,services,poddisruptionbudgets,networkpolicies,configmaps,pvc"
# Nothing is started: whose an object is does not depend on pods.
ASLEEP = {"model": TINY_MODEL, "engine": "vllm", "gpus": 0, "replicas": 0}
ONE, TWO = "one", "two"


@pytest.fixture
def asleep(unserved: Project) -> Project:
    """A model with one server that has no pods."""
    unserved.file["servers"] = {ONE: dict(ASLEEP)}
    return unserved


def versions(project: Project) -> dict[str, str]:
    """What the API server changes whenever somebody changes anything."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in project.get(KINDS)["items"]
    }


def foreign(project: Project, kind: str, name: str) -> Any:
    """Somebody else's object under a name of ours, as the live one but for who made it."""
    made = project.get(kind, name)
    project.kubectl("delete", kind, name)
    labels = {"app": "theirs"}
    theirs = {
        "apiVersion": made["apiVersion"],
        "kind": made["kind"],
        "metadata": {"name": name, "labels": labels},
    }
    if kind == "configmap":
        theirs["data"] = {"theirs": "1"}
    else:
        theirs["spec"] = copy.deepcopy(made["spec"])
        theirs["spec"].pop("clusterIP", None)
        theirs["spec"].pop("clusterIPs", None)
    project.cluster.kubectl(
        "--namespace", project.namespace, "create", "-f", "-", stdin=json.dumps(theirs)
    )
    return project.get(kind, name)


def named(project: Project, kind: str) -> str:
    """The name of the server's object of a kind."""
    label = f"app.kubernetes.io/component=server,app.kubernetes.io/name={ONE}"
    (found,) = project.get(kind, None, "-l", label)["items"]
    return str(found["metadata"]["name"])


@pytest.mark.parametrize("kind", ["deployment", "configmap", "networkpolicy"])
def test_what_is_somebody_elses_is_refused_until_it_is_forced(asleep: Project, kind: str) -> None:
    """Exit 20 names the object and leaves it as it is; --force-conflicts makes it ours."""
    asleep.run("up")
    name = named(asleep, kind)
    theirs = foreign(asleep, kind, name)
    refused = asleep.run("up", code=20)
    (error,) = refused.of("error")
    assert f"{theirs['kind']} {asleep.namespace}/{name}" in error["message"]
    assert "--force-conflicts" in error["hint"]
    after = asleep.get(kind, name)
    assert after["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]

    asleep.run("up", "--force-conflicts")
    taken = asleep.get(kind, name)["metadata"]
    assert taken["labels"]["app.kubernetes.io/managed-by"] == "modelshelf"


def test_down_leaves_what_is_somebody_elses(asleep: Project) -> None:
    """A foreign object under our name, and the namespace with it, survive `down`."""
    asleep.run("up")
    foreign(asleep, "service", named(asleep, "service"))
    down = asleep.run("down", "--yes")
    assert asleep.get("service", ONE)["metadata"]["labels"] == {"app": "theirs"}
    (kept,) = down.of("kept", name=asleep.namespace)
    assert f"Service/{ONE}" in kept["why"]
    assert asleep.get("deployments")["items"] == []


def test_an_image_that_kubectl_set_is_shown_and_set_back(asleep: Project) -> None:
    """`kubectl set image` is taken back, with who did it; the up after that changes nothing."""
    asleep.run("up")
    image = asleep.get("deployment", ONE)["spec"]["template"]["spec"]["containers"][0]["image"]
    asleep.kubectl("set", "image", f"deployment/{ONE}", "engine=example.org/other:1")
    done = asleep.run("up")
    (taken,) = done.of("taken-back")
    assert any("image" in field for field in taken["fields"])
    assert any("kubectl" in manager for manager in taken["managers"])
    live = asleep.get("deployment", ONE)
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert asleep.run("up").of("done", changed=0)


def test_two_files_in_a_namespace_do_not_touch_each_other(
    asleep: Project, hub: Hub, tmp_path: Path
) -> None:
    """Neither `up` nor `down` of one changes what is the other's."""
    folder = tmp_path / "second"
    folder.mkdir()
    second = Project(folder, asleep.cluster, asleep.namespace, hub, asleep.file["shelf"])
    second.file |= {
        "name": "second",
        "models": asleep.file["models"],
        "servers": {TWO: dict(ASLEEP)},
    }
    asleep.run("up")
    before = versions(asleep)
    done = second.run("up")
    assert done.of("published", how="present", fetched=0)
    assert before.items() <= versions(asleep).items()

    both = versions(asleep)
    assert asleep.run("up").of("done", changed=0)
    assert versions(asleep) == both

    second.run("down", "--yes")
    assert versions(asleep) == before


def test_what_leaves_the_file_leaves_the_cluster_after_it_is_shown(
    asleep: Project, hub: Hub
) -> None:
    """A server and a model go with all that was theirs, and nothing else does."""
    add_tiny(hub, "org/other", seed=2)
    asleep.file["models"]["other"] = {"source": "hf://org/other"}
    asleep.file["servers"][TWO] = dict(ASLEEP, model="other")
    asleep.run("up")
    # Like ours, but of another file; and one with no label at all.
    part_of = "app.kubernetes.io/part-of=another,app.kubernetes.io/managed-by=modelshelf"
    asleep.kubectl("create", "configmap", "anothers")
    asleep.kubectl("label", "configmap", "anothers", *part_of.split(","))
    asleep.kubectl("create", "configmap", "nobodys")
    before = versions(asleep)

    del asleep.file["models"]["other"], asleep.file["servers"][TWO]
    done = asleep.run("up")
    (removing,) = done.of("removing")
    shown = set(removing["objects"])
    kinds = {"Deployment", "Service", "NetworkPolicy"}
    assert {f"{kind}/{TWO}" for kind in kinds} <= shown
    assert any(each.startswith("Job/pull-other") for each in shown)
    after = versions(asleep)
    gone = set(before.keys() - after.keys())
    assert gone == {each for each in shown if not each.startswith("Job/")}
    assert not any(ONE in each or TINY_MODEL in each for each in gone)
    assert all(after[each] == before[each] for each in after)
    assert asleep.run("up").of("done", changed=0)


def test_maps_that_a_kept_replica_set_names_stay(asleep: Project, hub: Hub) -> None:
    """After an update the older pod template still finds its gate's spec: a rollback needs it."""
    asleep.run("up")
    old = mounted(asleep.get("deployment", ONE))
    add_tiny(hub, seed=2)
    asleep.run("lock", "--upgrade")
    done = asleep.run("up")
    assert done.of("published", how="pulled")
    new = mounted(asleep.get("deployment", ONE))
    assert old != new
    maps = {each["metadata"]["name"] for each in asleep.get("configmaps")["items"]}
    assert old | new <= maps
    sets = asleep.get("replicasets")["items"]
    assert {name for each in sets for name in mounted(each)} == old | new


def mounted(owner: dict[str, Any]) -> set[str]:
    """The maps that an object's pod template mounts."""
    volumes = owner["spec"]["template"]["spec"]["volumes"]
    return {each["configMap"]["name"] for each in volumes if "configMap" in each}


def test_a_namespace_that_up_makes_enforces_pod_security(unserved: Project) -> None:
    """The pull ran where a pod of no security context is refused."""
    assert unserved.run("up").of("published", how="pulled")
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        unserved.kubectl("run", "careless", "--image=python:3.13-slim", "--restart=Never")
    (pod,) = unserved.get("pods")["items"]
    assert pod["status"]["phase"] == "Succeeded"
    assert TINY_ID in json.dumps(unserved.get("jobs"))

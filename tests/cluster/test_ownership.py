"""Which objects on a real cluster are refused, taken back, removed and left alone."""

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
def idle_project(unserved_project: Project) -> Project:
    """A project with a model and a server without pods."""
    unserved_project.file["servers"] = {ONE: dict(ASLEEP)}
    return unserved_project


def resource_versions(project: Project) -> dict[str, str]:
    """The resource versions of objects, which change with every change to them."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in project.get(KINDS)["items"]
    }


def make_foreign(project: Project, kind: str, name: str) -> Any:
    """Make the live object of one of our names look like somebody else's."""
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


def what_users_set(obj: Any) -> dict[str, Any]:
    """An object without what controllers write, at any time, such as a new Deployment's status.

    Its uid and its generation stay: the latter counts every change of its spec.
    """
    metadata = obj["metadata"]
    annotations = dict(metadata.get("annotations", {}))
    annotations.pop("deployment.kubernetes.io/revision", None)
    kept = {key: metadata.get(key) for key in ("name", "uid", "generation", "labels")}
    others = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    return {"metadata": kept, "annotations": annotations, **others}


def object_name(project: Project, kind: str) -> str:
    """The name of the server's object of a kind."""
    label = f"app.kubernetes.io/component=server,app.kubernetes.io/name={ONE}"
    (found,) = project.get(kind, None, "-l", label)["items"]
    return str(found["metadata"]["name"])


@pytest.mark.parametrize("kind", ["deployment", "configmap", "networkpolicy"])
def test_a_foreign_object_is_refused_until_it_is_forced(idle_project: Project, kind: str) -> None:
    """A foreign object is exit 20 and is not touched; --force-conflicts makes it ours."""
    idle_project.run("up")
    name = object_name(idle_project, kind)
    theirs = make_foreign(idle_project, kind, name)
    refused = idle_project.run("up", code=20)
    (error,) = refused.of("error")
    assert f"{theirs['kind']} {idle_project.namespace}/{name}" in error["message"]
    assert "--force-conflicts" in error["hint"]
    assert what_users_set(idle_project.get(kind, name)) == what_users_set(theirs)

    idle_project.run("up", "--force-conflicts")
    taken = idle_project.get(kind, name)["metadata"]
    assert taken["labels"]["app.kubernetes.io/managed-by"] == "modelshelf"


def test_down_leaves_foreign_objects(idle_project: Project) -> None:
    """`down` leaves a foreign object under one of our names, and its namespace."""
    idle_project.run("up")
    make_foreign(idle_project, "service", object_name(idle_project, "service"))
    down = idle_project.run("down", "--yes")
    assert idle_project.get("service", ONE)["metadata"]["labels"] == {"app": "theirs"}
    (kept,) = down.of("kept", name=idle_project.namespace)
    assert f"Service/{ONE}" in kept["why"]
    assert idle_project.get("deployments")["items"] == []


def test_an_image_that_kubectl_set_is_shown_and_set_back(idle_project: Project) -> None:
    """`up` sets back an image that kubectl set and names kubectl; the next `up` changes nothing."""
    idle_project.run("up")
    image = idle_project.get("deployment", ONE)["spec"]["template"]["spec"]["containers"][0][
        "image"
    ]
    idle_project.kubectl("set", "image", f"deployment/{ONE}", "engine=example.org/other:1")
    done = idle_project.run("up")
    (taken,) = done.of("taken-back")
    assert any("image" in field for field in taken["fields"])
    assert any("kubectl" in manager for manager in taken["managers"])
    live = idle_project.get("deployment", ONE)
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert idle_project.run("up").of("done", changed=0)


def test_two_files_in_a_namespace_do_not_touch_each_other(
    idle_project: Project, hub: Hub, tmp_path: Path
) -> None:
    """`up` and `down` of one file change nothing that belongs to another file."""
    folder = tmp_path / "second"
    folder.mkdir()
    second = Project(
        folder, idle_project.cluster, idle_project.namespace, hub, idle_project.file["shelf"]
    )
    second.file |= {
        "name": "second",
        "models": idle_project.file["models"],
        "servers": {TWO: dict(ASLEEP)},
    }
    idle_project.run("up")
    before = resource_versions(idle_project)
    done = second.run("up")
    assert done.of("published", how="present", fetched=0)
    assert before.items() <= resource_versions(idle_project).items()

    both = resource_versions(idle_project)
    assert idle_project.run("up").of("done", changed=0)
    assert resource_versions(idle_project) == both

    second.run("down", "--yes")
    assert resource_versions(idle_project) == before


def test_objects_of_removed_entries_are_shown_and_deleted(idle_project: Project, hub: Hub) -> None:
    """A server and a model that left the file are shown, then deleted with their objects alone."""
    add_tiny(hub, "org/other", seed=2)
    idle_project.file["models"]["other"] = {"source": "hf://org/other"}
    idle_project.file["servers"][TWO] = dict(ASLEEP, model="other")
    idle_project.run("up")
    # Like ours, but of another file; and one with no label at all.
    part_of = "app.kubernetes.io/part-of=another,app.kubernetes.io/managed-by=modelshelf"
    idle_project.kubectl("create", "configmap", "anothers")
    idle_project.kubectl("label", "configmap", "anothers", *part_of.split(","))
    idle_project.kubectl("create", "configmap", "nobodys")
    before = resource_versions(idle_project)

    del idle_project.file["models"]["other"], idle_project.file["servers"][TWO]
    done = idle_project.run("up")
    (removing,) = done.of("removing")
    shown = set(removing["objects"])
    kinds = {"Deployment", "Service", "NetworkPolicy"}
    assert {f"{kind}/{TWO}" for kind in kinds} <= shown
    assert any(each.startswith("Job/pull-other") for each in shown)
    after = resource_versions(idle_project)
    gone = set(before.keys() - after.keys())
    assert gone == {each for each in shown if not each.startswith("Job/")}
    assert not any(ONE in each or TINY_MODEL in each for each in gone)
    assert all(after[each] == before[each] for each in after)
    assert idle_project.run("up").of("done", changed=0)


def test_config_maps_of_kept_replica_sets_stay(idle_project: Project, hub: Hub) -> None:
    """The gate's spec of the older pod template stays after an update, for a rollback."""
    idle_project.run("up")
    old = mounted_maps(idle_project.get("deployment", ONE))
    add_tiny(hub, seed=2)
    idle_project.run("lock", "--upgrade")
    done = idle_project.run("up")
    assert done.of("published", how="pulled")
    new = mounted_maps(idle_project.get("deployment", ONE))
    assert old != new
    maps = {each["metadata"]["name"] for each in idle_project.get("configmaps")["items"]}
    assert old | new <= maps
    sets = idle_project.get("replicasets")["items"]
    assert {name for each in sets for name in mounted_maps(each)} == old | new


def mounted_maps(owner: dict[str, Any]) -> set[str]:
    """The ConfigMaps that an object's pod template mounts."""
    volumes = owner["spec"]["template"]["spec"]["volumes"]
    return {each["configMap"]["name"] for each in volumes if "configMap" in each}


def test_a_namespace_that_up_makes_enforces_pod_security(unserved_project: Project) -> None:
    """The namespace that `up` creates refuses pods without a security context."""
    assert unserved_project.run("up").of("published", how="pulled")
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        unserved_project.kubectl("run", "careless", "--image=python:3.13-slim", "--restart=Never")
    (pod,) = unserved_project.get("pods")["items"]
    assert pod["status"]["phase"] == "Succeeded"
    assert TINY_ID in json.dumps(unserved_project.get("jobs"))

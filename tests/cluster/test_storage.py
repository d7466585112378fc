"""Where the shelf is on a real cluster: claims, classes and volumes, and when files are kept."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub import Hub
from lab.cluster import Cluster
from support.cluster_project import TINY_ID, WEIGHTS, Project

CLAIM = "mine"
RWX = "ReadWriteMany"


def make_volume(share: Path, name: str, mode: str = RWX, size: str = "1Gi", kind: str = "") -> Any:
    """Somebody's own volume on the share."""
    spec = {
        "capacity": {"storage": size},
        "accessModes": [mode],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": kind,
        "hostPath": {"path": str(share)},
    }
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def make_claim(name: str, mode: str = RWX, size: str = "1Mi") -> Any:
    """Somebody's own claim on the volume of that name."""
    spec = {
        "accessModes": [mode],
        "storageClassName": "",
        "volumeName": name,
        "resources": {"requests": {"storage": size}},
    }
    metadata = {"name": CLAIM}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def create_foreign(project: Project, *objects: Any) -> None:
    """Create objects that belong to somebody else."""
    text = "\n---\n".join(json.dumps(obj) for obj in objects)
    project.cluster.kubectl("--namespace", project.namespace, "create", "-f", "-", stdin=text)


def volumes_of(project: Project) -> list[dict[str, Any]]:
    """The volumes that are or were bound to claims of the namespace."""
    found = json.loads(project.cluster.kubectl("get", "persistentvolumes", "-o=json"))["items"]
    return [
        each
        for each in found
        if each["spec"].get("claimRef", {}).get("namespace") == project.namespace
    ]


def namespace_exists(project: Project) -> bool:
    """Whether the namespace exists."""
    get = ["get", "namespace", project.namespace, "--ignore-not-found", "-o=name"]
    return project.cluster.kubectl(*get) != ""


def shelved_weights(share: Path) -> list[Path]:
    """The weight files on the share that belong to a snapshot."""
    return sorted(share.glob(f"models/{TINY_ID}/*/{WEIGHTS}"))


def test_an_existing_claim_and_namespace_are_used_and_left(
    unserved_project: Project, restricted: str, share: Path
) -> None:
    """`shelf.claim` is used for pulls; `down` deletes neither it nor a namespace that existed."""
    create_foreign(unserved_project, make_volume(share, restricted), make_claim(restricted))
    unserved_project.file["shelf"] = {"claim": CLAIM}
    done = unserved_project.run("up")
    assert done.of("published", how="pulled")
    assert not [event for event in done.changed if event["kind"].startswith("Persistent")]
    assert len(shelved_weights(share)) == 1
    unserved_project.run("down", "--yes")
    assert namespace_exists(unserved_project)
    assert unserved_project.get("pvc", CLAIM)["status"]["phase"] == "Bound"
    assert unserved_project.get("jobs")["items"] == []
    assert len(shelved_weights(share)) == 1


def test_a_missing_claim_is_named(unserved_project: Project, restricted: str) -> None:
    """A missing claim is exit 20, and no Job is created."""
    unserved_project.file["shelf"] = {"claim": CLAIM}
    (error,) = unserved_project.run("up", code=20).of("error")
    assert f"no claim {CLAIM} in namespace {restricted}" in error["message"]
    assert unserved_project.get("jobs")["items"] == []


@pytest.mark.usefixtures("restricted")
@pytest.mark.parametrize(
    ("mode", "size", "says"),
    [("ReadWriteOnce", "1Gi", "ReadWriteOnce"), (RWX, "1Mi", "1Mi")],
    ids=["one node only", "too small"],
)
def test_a_claim_that_cannot_be_a_shelf_is_refused(
    unserved_project: Project, share: Path, mode: str, size: str, says: str
) -> None:
    """A claim that nodes cannot share or that is too small is exit 20, without a Job."""
    name = unserved_project.namespace
    create_foreign(unserved_project, make_volume(share, name, mode, size), make_claim(name, mode))
    unserved_project.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{CLAIM}")
    unserved_project.file["shelf"] = {"claim": CLAIM}
    (error,) = unserved_project.run("up", code=20).of("error")
    assert f"{name}/{CLAIM}" in error["message"]
    assert says in error["message"]
    assert unserved_project.get("jobs")["items"] == []


@pytest.mark.usefixtures("restricted")
@pytest.mark.parametrize(
    ("mode", "asked", "says"),
    [("ReadWriteOnce", "1Mi", "accessModes"), (RWX, "2Gi", "capacity of 1Gi")],
    ids=["accessModes", "capacity"],
)
def test_a_pending_claims_wrong_field_is_named(
    unserved_project: Project, share: Path, mode: str, asked: str, says: str
) -> None:
    """The error names the field of the claim that does not fit its volume."""
    name = unserved_project.namespace
    create_foreign(unserved_project, make_volume(share, name, mode), make_claim(name, RWX, asked))
    unserved_project.file["shelf"] = {"claim": CLAIM}
    (error,) = unserved_project.run("up", "--timeout", "2", code=20).of("error")
    assert f"{name}/{CLAIM}" in error["message"]
    assert says in error["message"]
    # Nothing was ever bound to it, so that no fixture knows whose it is.
    unserved_project.cluster.kubectl("delete", "persistentvolume", name, "--wait=false")


@pytest.fixture
def storage_class(cluster: Cluster, namespace: str) -> Iterator[str]:
    """A storage class for which nobody makes volumes."""
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": namespace},
        "provisioner": "kubernetes.io/no-provisioner",
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(made))
    yield namespace
    cluster.kubectl("delete", "storageclass", namespace)


def test_a_claim_by_storage_class_stays_at_down_and_goes_at_purge(
    unserved_project: Project, share: Path, storage_class: str
) -> None:
    """Only --purge deletes such a claim, since its deletion may delete its files."""
    create_volume = json.dumps(make_volume(share, f"{storage_class}-made", kind=storage_class))
    unserved_project.cluster.kubectl("create", "-f", "-", stdin=create_volume)
    unserved_project.file["shelf"] = {"storageClass": {"name": storage_class, "size": "100Mi"}}
    assert unserved_project.run("up").of("published", how="pulled")
    (made,) = unserved_project.get("pvc")["items"]
    assert made["status"]["phase"] == "Bound"

    down = unserved_project.run("down", "--yes")
    assert made["metadata"]["name"] in {event["name"] for event in down.of("kept")}
    assert [each["metadata"]["uid"] for each in unserved_project.get("pvc")["items"]] == [
        made["metadata"]["uid"]
    ]
    assert unserved_project.run("up").of("published", how="present", fetched=0)

    unserved_project.run("down", "--yes", "--purge")
    assert shelved_weights(share) == []
    assert not namespace_exists(unserved_project)


@pytest.mark.parametrize(
    ("suffix", "says"),
    [("", "no-provisioner"), ("-none", "not found")],
    ids=["nobody provides", "no such class"],
)
def test_a_class_without_volumes_is_reported_with_kubernetes_reason(
    unserved_project: Project, storage_class: str, suffix: str, says: str
) -> None:
    """A claim that stays Pending is reported with the reason of Kubernetes' controller."""
    unserved_project.file["shelf"] = {
        "storageClass": {"name": f"{storage_class}{suffix}", "size": "100Mi"}
    }
    (error,) = unserved_project.run("up", "--timeout", "4", code=20).of("error")
    assert says in error["message"]


@pytest.fixture
def csi_driver(cluster: Cluster) -> Iterator[str]:
    """A CSI driver that the cluster knows as its own installation would say, and no node has."""
    name = "nfs.csi.k8s.io"
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": name},
        "spec": {"attachRequired": False},
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(made))
    yield name
    cluster.kubectl("delete", "csidriver", name)


def test_a_csi_driver_that_no_node_has_is_named(
    unserved_project: Project, cluster: Cluster, csi_driver: str
) -> None:
    """The claims are bound, and the pod's error names the driver that its node does not have."""
    nfs = {"server": cluster.address, "path": "/models", "driver": csi_driver}
    unserved_project.file["shelf"] = {"nfs": nfs}
    (error,) = unserved_project.run("up", "--timeout", "5", code=20).of("error")
    assert csi_driver in error["message"]
    handles = {each["spec"]["csi"]["volumeHandle"] for each in volumes_of(unserved_project)}
    assert len(handles) == 2
    assert {each["status"]["phase"] for each in unserved_project.get("pvc")["items"]} == {"Bound"}


def test_a_model_larger_than_the_share_is_refused_before_anything_is_created(
    unserved_project: Project, hub: Hub
) -> None:
    """A model too large for the share is exit 12, known from the sizes in the lock."""
    unserved_project.file["shelf"]["hostPath"]["size"] = "1Mi"
    (error,) = unserved_project.run("up", code=12).of("error")
    assert "shelf.hostPath.size" in error["message"]
    assert not namespace_exists(unserved_project)
    assert hub.bytes_sent(WEIGHTS) == 0


def test_a_missing_folder_is_not_an_empty_shelf(unserved_project: Project, share: Path) -> None:
    """A hostPath that does not exist is named in the error and is not created."""
    wrong = share / "typo"
    unserved_project.file["shelf"]["hostPath"]["path"] = str(wrong)
    (error,) = unserved_project.run("up", "--timeout", "5", code=20).of("error")
    assert str(wrong) in error["message"]
    assert not wrong.exists()


def test_a_released_volume_is_bound_again(unserved_project: Project, share: Path) -> None:
    """`up` binds the volumes again after their claims were deleted, and downloads nothing."""
    unserved_project.run("up")
    before = {each["metadata"]["uid"] for each in volumes_of(unserved_project)}
    unserved_project.kubectl("delete", "jobs", "--all")
    unserved_project.kubectl("delete", "pvc", "--all", "--timeout=60s")
    wait = "--for=jsonpath={.status.phase}=Released"
    for each in volumes_of(unserved_project):
        unserved_project.cluster.kubectl("wait", wait, f"pv/{each['metadata']['name']}")
    done = unserved_project.run("up")
    assert len(done.of("applied", how="mended")) == 2
    assert done.of("published", how="present", fetched=0)
    assert {each["metadata"]["uid"] for each in volumes_of(unserved_project)} == before
    assert len(shelved_weights(share)) == 1


def type_on_terminal(project: Project, *argv: str, text: str) -> tuple[int, str]:
    """Run a command on a terminal, type text, and return its exit code and its output."""
    command = [part for part in project.command(*argv) if part != "--json"]
    ours, theirs = pty.openpty()
    with contextlib.closing(os.fdopen(ours, "r+b", buffering=0)) as terminal:
        process = subprocess.Popen(
            command,
            env=project.environment(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        terminal.write(f"{text}\n".encode())
        shown = b""
        with contextlib.suppress(OSError):  # how Linux tells that the other side closed it
            while block := terminal.read(4096):
                shown += block
        process.communicate(timeout=120)
    return process.returncode, shown.decode()


def test_purging_asks_for_the_name_and_deletes_the_files(
    unserved_project: Project, share: Path
) -> None:
    """A wrong name removes nothing; the right name removes the objects and the files."""
    unserved_project.run("up")
    code, shown = type_on_terminal(unserved_project, "down", "--purge", text="y")
    assert code == 1
    assert "Type models to remove" in shown
    assert TINY_ID in shown
    assert len(unserved_project.get("pvc")["items"]) == 2
    assert len(shelved_weights(share)) == 1

    code, shown = type_on_terminal(unserved_project, "down", "--purge", text="models")
    assert code == 0, shown
    assert not namespace_exists(unserved_project)
    assert volumes_of(unserved_project) == []
    assert list(share.glob("models/*/*/*")) == []
    assert (share / "shelf.json").exists()

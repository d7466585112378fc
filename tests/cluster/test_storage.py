"""Where the shelf lies, on a real cluster: claims, classes, volumes, and what becomes of files."""

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


def volume(share: Path, name: str, mode: str = RWX, size: str = "1Gi", kind: str = "") -> Any:
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


def claim(name: str, mode: str = RWX, size: str = "1Mi") -> Any:
    """Somebody's own claim on the volume of that name."""
    spec = {
        "accessModes": [mode],
        "storageClassName": "",
        "volumeName": name,
        "resources": {"requests": {"storage": size}},
    }
    metadata = {"name": CLAIM}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def create(project: Project, *objects: Any) -> None:
    """Create somebody else's objects."""
    text = "\n---\n".join(json.dumps(obj) for obj in objects)
    project.cluster.kubectl("--namespace", project.namespace, "create", "-f", "-", stdin=text)


def volumes_of(project: Project) -> list[dict[str, Any]]:
    """The volumes that claims of the namespace have or had."""
    found = json.loads(project.cluster.kubectl("get", "persistentvolumes", "-o=json"))["items"]
    return [
        each
        for each in found
        if each["spec"].get("claimRef", {}).get("namespace") == project.namespace
    ]


def exists(project: Project) -> bool:
    """Whether the namespace does."""
    get = ["get", "namespace", project.namespace, "--ignore-not-found", "-o=name"]
    return project.cluster.kubectl(*get) != ""


def shelved(share: Path) -> list[Path]:
    """The weights on the share that belong to a snapshot."""
    return sorted(share.glob(f"models/{TINY_ID}/*/{WEIGHTS}"))


def test_an_existing_claim_and_namespace_are_used_and_left(
    unserved: Project, restricted: str, share: Path
) -> None:
    """`shelf.claim` is pulled to; neither it nor a namespace that was there goes with `down`."""
    create(unserved, volume(share, restricted), claim(restricted))
    unserved.file["shelf"] = {"claim": CLAIM}
    done = unserved.run("up")
    assert done.of("published", how="pulled")
    assert not [event for event in done.changed if event["kind"].startswith("Persistent")]
    assert len(shelved(share)) == 1
    unserved.run("down", "--yes")
    assert exists(unserved)
    assert unserved.get("pvc", CLAIM)["status"]["phase"] == "Bound"
    assert unserved.get("jobs")["items"] == []
    assert len(shelved(share)) == 1


def test_a_claim_that_is_not_there_is_named(unserved: Project, restricted: str) -> None:
    """Exit 20, and no Job was made."""
    unserved.file["shelf"] = {"claim": CLAIM}
    (error,) = unserved.run("up", code=20).of("error")
    assert f"no claim {CLAIM} in namespace {restricted}" in error["message"]
    assert unserved.get("jobs")["items"] == []


@pytest.mark.usefixtures("restricted")
@pytest.mark.parametrize(
    ("mode", "size", "says"),
    [("ReadWriteOnce", "1Gi", "ReadWriteOnce"), (RWX, "1Mi", "1Mi")],
    ids=["one node only", "too small"],
)
def test_a_claim_that_cannot_be_a_shelf_is_refused(
    unserved: Project, share: Path, mode: str, size: str, says: str
) -> None:
    """What pods on many nodes cannot mount, or models do not fit on, is exit 20 before a Job."""
    name = unserved.namespace
    create(unserved, volume(share, name, mode, size), claim(name, mode))
    unserved.kubectl("wait", "--for=jsonpath={.status.phase}=Bound", f"pvc/{CLAIM}")
    unserved.file["shelf"] = {"claim": CLAIM}
    (error,) = unserved.run("up", code=20).of("error")
    assert f"{name}/{CLAIM}" in error["message"]
    assert says in error["message"]
    assert unserved.get("jobs")["items"] == []


@pytest.mark.usefixtures("restricted")
@pytest.mark.parametrize(
    ("mode", "asked", "says"),
    [("ReadWriteOnce", "1Mi", "accessModes"), (RWX, "2Gi", "capacity of 1Gi")],
    ids=["accessModes", "capacity"],
)
def test_a_claim_that_stays_pending_is_told_by_the_field(
    unserved: Project, share: Path, mode: str, asked: str, says: str
) -> None:
    """Which of the claim's fields does not fit its volume is in the error."""
    name = unserved.namespace
    create(unserved, volume(share, name, mode), claim(name, RWX, asked))
    unserved.file["shelf"] = {"claim": CLAIM}
    (error,) = unserved.run("up", "--timeout", "2", code=20).of("error")
    assert f"{name}/{CLAIM}" in error["message"]
    assert says in error["message"]
    # Nothing was ever bound to it, so that no fixture knows whose it is.
    unserved.cluster.kubectl("delete", "persistentvolume", name, "--wait=false")


@pytest.fixture
def kind(cluster: Cluster, namespace: str) -> Iterator[str]:
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
    unserved: Project, share: Path, kind: str
) -> None:
    """Deleting such a claim may delete its files, so that only --purge does."""
    create_volume = json.dumps(volume(share, f"{kind}-made", kind=kind))
    unserved.cluster.kubectl("create", "-f", "-", stdin=create_volume)
    unserved.file["shelf"] = {"storageClass": {"name": kind, "size": "100Mi"}}
    assert unserved.run("up").of("published", how="pulled")
    (made,) = unserved.get("pvc")["items"]
    assert made["status"]["phase"] == "Bound"

    down = unserved.run("down", "--yes")
    assert made["metadata"]["name"] in {event["name"] for event in down.of("kept")}
    assert [each["metadata"]["uid"] for each in unserved.get("pvc")["items"]] == [
        made["metadata"]["uid"]
    ]
    assert unserved.run("up").of("published", how="present", fetched=0)

    unserved.run("down", "--yes", "--purge")
    assert shelved(share) == []
    assert not exists(unserved)


@pytest.mark.parametrize(
    ("suffix", "says"),
    [("", "no-provisioner"), ("-none", "not found")],
    ids=["nobody provides", "no such class"],
)
def test_a_class_that_provides_nothing_is_told_with_kubernetes_reason(
    unserved: Project, kind: str, suffix: str, says: str
) -> None:
    """A claim by storage class that stays Pending says what the controller says."""
    unserved.file["shelf"] = {"storageClass": {"name": f"{kind}{suffix}", "size": "100Mi"}}
    (error,) = unserved.run("up", "--timeout", "4", code=20).of("error")
    assert says in error["message"]


@pytest.fixture
def driver(cluster: Cluster) -> Iterator[str]:
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
    unserved: Project, cluster: Cluster, driver: str
) -> None:
    """The API server takes the volumes, the claims bind, and the pod says which driver lacks."""
    nfs = {"server": cluster.address, "path": "/models", "driver": driver}
    unserved.file["shelf"] = {"nfs": nfs}
    (error,) = unserved.run("up", "--timeout", "5", code=20).of("error")
    assert driver in error["message"]
    handles = {each["spec"]["csi"]["volumeHandle"] for each in volumes_of(unserved)}
    assert len(handles) == 2
    assert {each["status"]["phase"] for each in unserved.get("pvc")["items"]} == {"Bound"}


def test_a_model_larger_than_the_share_is_refused_before_anything_is_created(
    unserved: Project, hub: Hub
) -> None:
    """Exit 12 from the lock's sizes alone."""
    unserved.file["shelf"]["hostPath"]["size"] = "1Mi"
    (error,) = unserved.run("up", code=12).of("error")
    assert "shelf.hostPath.size" in error["message"]
    assert not exists(unserved)
    assert hub.bytes_sent(WEIGHTS) == 0


def test_a_folder_that_is_not_there_is_no_empty_shelf(unserved: Project, share: Path) -> None:
    """A hostPath that was mistyped is told by name, and not made."""
    wrong = share / "typo"
    unserved.file["shelf"]["hostPath"]["path"] = str(wrong)
    (error,) = unserved.run("up", "--timeout", "5", code=20).of("error")
    assert str(wrong) in error["message"]
    assert not wrong.exists()


def test_a_volume_left_released_is_mended(unserved: Project, share: Path) -> None:
    """Somebody deleted the claims: the next up binds the same volumes, and downloads nothing."""
    unserved.run("up")
    before = {each["metadata"]["uid"] for each in volumes_of(unserved)}
    unserved.kubectl("delete", "jobs", "--all")
    unserved.kubectl("delete", "pvc", "--all", "--timeout=60s")
    wait = "--for=jsonpath={.status.phase}=Released"
    for each in volumes_of(unserved):
        unserved.cluster.kubectl("wait", wait, f"pv/{each['metadata']['name']}")
    done = unserved.run("up")
    assert len(done.of("applied", how="mended")) == 2
    assert done.of("published", how="present", fetched=0)
    assert {each["metadata"]["uid"] for each in volumes_of(unserved)} == before
    assert len(shelved(share)) == 1


def type_at(project: Project, *argv: str, text: str) -> tuple[int, str]:
    """Run a command on a terminal, type something, and return how it ended and what it showed."""
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


def test_purging_asks_for_the_name_and_deletes_the_files(unserved: Project, share: Path) -> None:
    """A wrong name removes nothing; the right one removes objects and files."""
    unserved.run("up")
    code, shown = type_at(unserved, "down", "--purge", text="y")
    assert code == 1
    assert "Type models to remove" in shown
    assert TINY_ID in shown
    assert len(unserved.get("pvc")["items"]) == 2
    assert len(shelved(share)) == 1

    code, shown = type_at(unserved, "down", "--purge", text="models")
    assert code == 0, shown
    assert not exists(unserved)
    assert volumes_of(unserved) == []
    assert list(share.glob("models/*/*/*")) == []
    assert (share / "shelf.json").exists()

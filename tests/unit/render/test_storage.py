"""The volumes and claims by which pods mount the shelf."""

from __future__ import annotations

from typing import Any

from support.render_inputs import config

from modelshelf.render.names import key
from modelshelf.render.storage import Claims, claims, namespace, storage

_OWN = {
    "app.kubernetes.io/name": "models",
    "app.kubernetes.io/component": "shelf",
    "app.kubernetes.io/part-of": "models",
    "app.kubernetes.io/managed-by": "modelshelf",
}
_OPTIONS = [
    "nfsvers=4.1",
    "hard",
    "timeo=600",
    "retrans=2",
    "nconnect=8",
    "rsize=1048576",
    "wsize=1048576",
    "noatime",
]
_CSI = "nfs: {server: nas, path: /export, driver: nfs.csi.k8s.io}"


def _specs(shelf: str, more: str = "") -> list[dict[str, Any]]:
    return [obj["spec"] for obj in storage(config(shelf, more=more))]


def test_a_share_is_two_volumes_bound_to_two_claims() -> None:
    """The pull's volume is read-write, and the servers' volume is mounted read-only."""
    names = claims(config())
    rw, ro, rw_claim, ro_claim = storage(config())
    hashed = names.rw.removeprefix("shelf-").removesuffix("-rw")

    assert names == Claims(f"shelf-{hashed}-rw", f"shelf-{hashed}-ro")
    assert rw == {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"modelshelf-llm-{hashed}-rw",
            "labels": _OWN,
            "annotations": {"modelshelf.dev/source": "10.0.0.2:/export/models"},
        },
        "spec": {
            "capacity": {"storage": "1Ti"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": "llm",
                "name": names.rw,
            },
            "mountOptions": _OPTIONS,
            "nfs": {"server": "10.0.0.2", "path": "/export/models"},
        },
    }
    assert ro["spec"]["mountOptions"] == [*_OPTIONS, "ro"]
    assert ro["spec"]["nfs"] == {
        "server": "10.0.0.2",
        "path": "/export/models",
        "readOnly": True,
    }
    assert rw_claim == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": names.rw, "namespace": "llm", "labels": _OWN},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": f"modelshelf-llm-{hashed}-rw",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    assert ro_claim["spec"]["accessModes"] == ro["spec"]["accessModes"] == ["ReadOnlyMany"]
    assert ro_claim["spec"]["volumeName"] == ro["metadata"]["name"]


def test_no_two_volumes_of_a_csi_driver_share_a_handle() -> None:
    """Each mode and each file has a volume handle of its own, since mounts of one handle hang."""
    handles = [
        spec["csi"]["volumeHandle"]
        for shelf in (_CSI, _CSI.replace("/export", "/other"))
        for more in ("", "name: others")
        for spec in _specs(shelf, more)[:2]
    ]
    _, ro = _specs(_CSI)[:2]

    assert len(set(handles)) == len(handles) == 8
    assert "nfs" not in ro
    assert ro["csi"] == {
        "driver": "nfs.csi.k8s.io",
        "volumeHandle": key(storage(config(_CSI))[1]).name,
        "volumeAttributes": {"server": "nas", "share": "/export"},
        "readOnly": True,
    }


def test_mount_options_of_the_file_replace_ours() -> None:
    """The file's mount options replace ours, and the servers' volume stays read-only."""
    shelf = "nfs: {server: nas, path: /export, mountOptions: [nfsvers=3, nolock]}"
    rw, ro = _specs(shelf)[:2]

    assert rw["mountOptions"] == ["nfsvers=3", "nolock"]
    assert ro["mountOptions"] == ["nfsvers=3", "nolock", "ro"]


def test_another_share_is_other_objects() -> None:
    """Another share gives volumes with other names, since a volume's source cannot change."""
    shelves = (
        "nfs: {server: nas, path: /a}",
        "nfs: {server: nas, path: /b}",
        "nfs: {server: nas2, path: /a}",
        "nfs: {server: nas, path: /a, driver: nfs.csi.k8s.io}",
        "nfs: {server: nas, path: /a, mountOptions: [nfsvers=4.2]}",
        "hostPath: {path: /a}",
    )
    names = [key(obj) for shelf in shelves for obj in storage(config(shelf))]

    assert len(set(names)) == len(names) == 4 * len(shelves)


def test_a_size_changes_no_name() -> None:
    """Another size of the share changes no name, and so restarts no server."""
    small = storage(config("nfs: {server: nas, path: /a, size: 10Gi}"))
    large = storage(config("nfs: {server: nas, path: /a, size: 20Gi}"))

    assert [key(obj) for obj in small] == [key(obj) for obj in large]
    assert [obj["spec"]["capacity"]["storage"] for obj in (*small[:2], *large[:2])] == [
        "10Gi",
        "10Gi",
        "20Gi",
        "20Gi",
    ]
    assert small[2:] == large[2:]


def test_two_files_in_one_namespace_share_no_object() -> None:
    """Two files in one namespace have no object in common."""
    mine = {key(obj) for obj in storage(config())}
    theirs = {key(obj) for obj in storage(config(more="name: others"))}

    assert not mine & theirs


def test_a_folder_of_the_node_is_a_volume_too() -> None:
    """A hostPath becomes a volume of a folder that must exist, without a preferred node."""
    rw, ro, *_ = _specs("hostPath: {path: /srv/models, size: 50Gi}")

    assert rw["hostPath"] == ro["hostPath"] == {"path": "/srv/models", "type": "Directory"}
    assert (rw["accessModes"], ro["accessModes"]) == (["ReadWriteMany"], ["ReadOnlyMany"])
    assert rw["capacity"] == {"storage": "50Gi"}
    assert "nodeAffinity" not in rw
    assert "mountOptions" not in rw


def test_an_existing_claim_is_left_alone() -> None:
    """An existing claim is used by pulls and servers, and nothing is rendered for it."""
    file = config("claim: shared")

    assert storage(file) == []
    assert claims(file) == Claims("shared", "shared")


def test_a_storage_class_is_asked_for_one_claim() -> None:
    """A storage class gets one claim; another size changes the same claim."""
    file = config("storageClass: {name: efs, size: 100Gi}")
    (claim,) = storage(file)

    assert claim["metadata"]["name"] == claims(file).rw == claims(file).ro
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "efs",
        "resources": {"requests": {"storage": "100Gi"}},
    }
    (larger,) = storage(config("storageClass: {name: efs, size: 200Gi}"))
    assert key(larger) == key(claim)


def test_the_namespace_enforces_restricted() -> None:
    """The namespace enforces Pod Security `restricted`."""
    made = namespace(config())

    assert made["metadata"]["name"] == "llm"
    assert {
        name: value
        for name, value in made["metadata"]["labels"].items()
        if name.startswith("pod-security")
    } == {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
    }

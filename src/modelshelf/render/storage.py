"""The namespace, and the volumes that bring the shelf into pods. Pure.

A share becomes two volumes: a read-write one for pulls, and one for servers that the kernel mounts
read-only. Volume and claim name each other, so that no other claim can take the volume and no other
volume can be bound to the claim. A volume's name hashes what cannot change later: another share, or
other mount options, are new objects. The size is not hashed. It is advisory for a share, and pods
must not restart because of it.
"""

from dataclasses import dataclass
from typing import Literal

from modelshelf.config.file import Config
from modelshelf.config.shelf_section import Nfs, StorageClass
from modelshelf.render.names import (
    MANAGER,
    SHELF,
    SOURCE,
    Object,
    fitted,
    labels,
    short_hash,
)

Mode = Literal["rw", "ro"]

DEFAULT_SIZE = "1Ti"  # of a share whose size the file does not give; Kubernetes requires a number
# A claim can never ask for more or less than it did when it was created. So ours ask for a size
# that every share has.
_CLAIM_SIZE = "1Mi"
# NFS 4.1 over eight connections with the largest blocks. `noatime` avoids a write for each read.
# `hard` lets a process wait while the server is away, instead of failing its reads.
MOUNT_OPTIONS = (
    "nfsvers=4.1",
    "hard",
    "timeo=600",
    "retrans=2",
    "nconnect=8",
    "rsize=1048576",
    "wsize=1048576",
    "noatime",
)
_ACCESS: dict[Mode, str] = {"rw": "ReadWriteMany", "ro": "ReadOnlyMany"}


@dataclass(frozen=True, slots=True)
class Claims:
    """The names of the claims on a share.

    Attributes:
        rw: The claim through which pulls write.
        ro: The claim through which servers read; the same one where there is only one.
    """

    rw: str
    ro: str


def claims(config: Config) -> Claims:
    """The names of the claims: ours, or the user's own."""
    shelf = config.shelf
    if shelf.claim is not None:
        return Claims(shelf.claim, shelf.claim)
    name = f"shelf-{_hash(config)}"
    if shelf.storage_class is not None:
        return Claims(name, name)
    return Claims(f"{name}-rw", f"{name}-ro")


def namespace(config: Config) -> Object:
    """The namespace, in which the API server enforces Pod Security *restricted*."""
    modes = ("enforce", "warn", "audit")
    security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": config.namespace,
            "labels": {**labels(config, SHELF, config.namespace), **security},
        },
    }


def storage(config: Config) -> list[Object]:
    """The volumes and their claims; an empty list where the user has a claim already."""
    shelf = config.shelf
    if shelf.storage_class is not None:
        return [_dynamic_claim(config, shelf.storage_class)]
    volumes: list[Object] = []
    if shelf.nfs is not None:
        volumes = [_nfs_volume(config, shelf.nfs, mode) for mode in _ACCESS]
    elif shelf.host_path is not None:
        volumes = [_path_volume(config, shelf.host_path.path, mode) for mode in _ACCESS]
    return [*volumes, *(_bound_claim(volume) for volume in volumes)]


def _hash(config: Config) -> str:
    """A hash that differs between shares, and between two files or namespaces with one share."""
    shelf = config.shelf
    source: object = None
    if shelf.nfs is not None:
        nfs = shelf.nfs
        source = [nfs.server, nfs.path, nfs.driver, nfs.mount_options]
    elif shelf.storage_class is not None:
        source = shelf.storage_class.name
    elif shelf.host_path is not None:
        source = shelf.host_path.path
    return short_hash([config.namespace, config.name, shelf.kind, source])


def _volume_name(config: Config, mode: Mode) -> str:
    return fitted(MANAGER, config.namespace, f"{_hash(config)}-{mode}")


def _path_volume(config: Config, path: str, mode: Mode) -> Object:
    # Type Directory: where the folder does not exist, the pod must fail, not see an empty shelf.
    return _volume(config, mode, path, {"hostPath": {"path": path, "type": "Directory"}})


def _nfs_volume(config: Config, nfs: Nfs, mode: Mode) -> Object:
    options = list(MOUNT_OPTIONS if nfs.mount_options is None else nfs.mount_options)
    read_only = {}
    if mode == "ro":
        read_only = {"readOnly": True}
        options += [] if "ro" in options else ["ro"]
    source: Object = {"nfs": {"server": nfs.server, "path": nfs.path, **read_only}}
    if nfs.driver is not None:
        source = {
            "csi": {
                "driver": nfs.driver,
                # A kubelet takes two volumes with one handle for the same volume, and hangs.
                "volumeHandle": _volume_name(config, mode),
                "volumeAttributes": {"server": nfs.server, "share": nfs.path},
                **read_only,
            }
        }
    return _volume(config, mode, f"{nfs.server}:{nfs.path}", {"mountOptions": options, **source})


def _volume(config: Config, mode: Mode, share: str, source: Object) -> Object:
    names = claims(config)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": _volume_name(config, mode),
            "labels": labels(config, SHELF, config.name),
            "annotations": {SOURCE: share},
        },
        "spec": {
            "capacity": {"storage": config.shelf.size or DEFAULT_SIZE},
            "accessModes": [_ACCESS[mode]],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": config.namespace,
                "name": names.rw if mode == "rw" else names.ro,
            },
            **source,
        },
    }


def _bound_claim(volume: Object) -> Object:
    """The claim that one of our volumes names."""
    metadata, spec = volume["metadata"], volume["spec"]
    reference = spec["claimRef"]
    wanted = {
        "accessModes": list(spec["accessModes"]),
        # Empty, as our volumes have no class. Without the field a claim gets the default class.
        "storageClassName": "",
        "volumeName": metadata["name"],
        "resources": {"requests": {"storage": _CLAIM_SIZE}},
    }
    return _claim(reference["namespace"], reference["name"], dict(metadata["labels"]), wanted)


def _dynamic_claim(config: Config, storage_class: StorageClass) -> Object:
    wanted = {
        "accessModes": [_ACCESS["rw"]],
        "storageClassName": storage_class.name,
        "resources": {"requests": {"storage": storage_class.size}},
    }
    own = labels(config, SHELF, config.name)
    return _claim(config.namespace, claims(config).rw, own, wanted)


def _claim(namespace: str, name: str, own: dict[str, str], spec: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": own},
        "spec": spec,
    }

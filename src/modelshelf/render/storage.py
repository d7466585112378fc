"""The namespace, and the volumes that bring the shelf into pods. Pure.

A share is a pair of volumes: a read-write one for pulls, and one for servers that the kernel itself
mounts read-only. Each is bound to its claim from both sides: a selector could pick another's volume
between the two. Names hash what a volume cannot change later, so another share, or other options
for mounting it, are new objects. Its size is left out: it is advisory for a share, and pods should
not restart for it.
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

SIZE = "1Ti"  # of a share whose size the file does not say; Kubernetes wants some number
# What a claim of ours asks for. A claim on a made volume can never ask for more or less than it did
# at first, so that it asks for what every share has.
_ASKED = "1Mi"
# NFS 4.1 with eight connections, the largest blocks, no write for each read, and no error to the
# application while the server is away: it waits.
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
    """The claims' names.

    Attributes:
        rw: The one that pulls write through.
        ro: The one that servers read through; the same where there is only one.
    """

    rw: str
    ro: str


def claims(config: Config) -> Claims:
    """The names of the claims, whether they are ours or the user's."""
    shelf = config.shelf
    if shelf.claim is not None:
        return Claims(shelf.claim, shelf.claim)
    name = f"shelf-{_hash(config)}"
    if shelf.storage_class is not None:
        return Claims(name, name)
    return Claims(f"{name}-rw", f"{name}-ro")


def namespace(config: Config) -> Object:
    """The namespace; in it the API server holds every pod to Pod Security *restricted*."""
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
    """The volumes and their claims; none for an existing claim."""
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
    """Tells one source from another, and the same source for two files or two namespaces."""
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
    # Of type Directory: a folder that is not there is a mistake, not an empty shelf.
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
                # Two volumes with one handle hang: the kubelet takes them for one.
                "volumeHandle": _volume_name(config, mode),
                "volumeAttributes": {"server": nfs.server, "share": nfs.path},
                **read_only,
            }
        }
    return _volume(config, mode, f"{nfs.server}:{nfs.path}", {"mountOptions": options, **source})


def _volume(config: Config, mode: Mode, about: str, source: Object) -> Object:
    names = claims(config)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": _volume_name(config, mode),
            "labels": labels(config, SHELF, config.name),
            "annotations": {SOURCE: about},
        },
        "spec": {
            "capacity": {"storage": config.shelf.size or SIZE},
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
    """The claim that a volume of ours is for."""
    metadata, spec = volume["metadata"], volume["spec"]
    reference = spec["claimRef"]
    wish = {
        "accessModes": list(spec["accessModes"]),
        # No class, as the volume has none: left out, a claim gets the cluster's default.
        "storageClassName": "",
        "volumeName": metadata["name"],
        "resources": {"requests": {"storage": _ASKED}},
    }
    return _claim(reference["namespace"], reference["name"], dict(metadata["labels"]), wish)


def _dynamic_claim(config: Config, storage_class: StorageClass) -> Object:
    wish = {
        "accessModes": [_ACCESS["rw"]],
        "storageClassName": storage_class.name,
        "resources": {"requests": {"storage": storage_class.size}},
    }
    own = labels(config, SHELF, config.name)
    return _claim(config.namespace, claims(config).rw, own, wish)


def _claim(namespace: str, name: str, own: dict[str, str], spec: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": own},
        "spec": spec,
    }

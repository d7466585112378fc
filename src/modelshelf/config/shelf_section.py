"""`shelf:` of modelshelf.yaml: where the models are stored."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from modelshelf.config.section import Section
from modelshelf.config.value_types import Host, MountOption, ObjectName, Path, Rate, Size, Uid

Kind = Literal["nfs", "claim", "storageClass", "hostPath"]


class Nfs(Section):
    """An NFS share, given by the two parts of its Mount Source `server:/path`."""

    server: Host = Field(description="The name or address of the NFS server.")
    path: Path = Field(description="The path that the server exports. It begins with /.")
    size: Size | None = Field(
        None,
        description="The size of the share. If it is given, a model that is larger is refused "
        "before it is pulled. Kubernetes requires a size for every volume and does not enforce it "
        "for NFS; without this key the volume gets 1Ti.",
    )
    driver: ObjectName | None = Field(
        None,
        description="A CSI driver that mounts the share, such as nfs.csi.k8s.io. By default the "
        "kubelet mounts it. That requires the NFS client programs on the nodes, and nothing in the "
        "cluster.",
    )
    mount_options: tuple[MountOption, ...] | None = Field(
        None,
        description="Mount options that replace the default ones. The defaults are NFS 4.1, hard "
        "mounts, long timeouts, large blocks and no access times.",
    )


class StorageClass(Section):
    """A storage class that provisions the share."""

    name: ObjectName = Field(
        description="The name of the class. It must provision volumes that many nodes can mount "
        "(ReadWriteMany)."
    )
    size: Size = Field(description="The size of the volume to request.")


class HostPath(Section):
    """A folder of the node, for development clusters that have one node."""

    path: Path = Field(description="The folder on the node.")
    size: Size | None = Field(
        None,
        description="The size of the disk. If it is given, a model that is larger is refused "
        "before it is pulled.",
    )


class ShelfConfig(Section):
    """Where the models are stored: exactly one of nfs, claim, storageClass and hostPath."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind]} for kind in get_args(Kind)]}
    )

    nfs: Nfs | None = Field(None, description="An NFS share, given by server and path.")
    claim: ObjectName | None = Field(
        None,
        description="An existing PersistentVolumeClaim in the namespace. Many nodes must be able "
        "to mount it (ReadWriteMany).",
    )
    storage_class: StorageClass | None = Field(
        None, description="A storage class that provisions the volume."
    )
    host_path: HostPath | None = Field(
        None, description="A folder of the node, for development clusters that have one node."
    )
    user: Uid = Field(
        1000,
        description="The uid that pods run as. It owns the files. It cannot be 0, because NFS "
        "servers usually map root to nobody and Pod Security forbids root.",
    )
    group: Uid = Field(1000, description="The gid that pods run as. It owns the files.")
    speed: Rate = Field(
        "200MB",
        description="The number of bytes per second that one pod can read from the share in the "
        "worst case. The time that a server may take to start is computed from it and from the "
        "size of the model.",
    )

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> Self:
        kinds = self._kinds_given()
        if len(kinds) != 1:
            given = f"has {' and '.join(kinds)}" if kinds else "has none of them"
            raise ValueError(
                "exactly one of nfs, claim, storageClass and hostPath says where files lie; "
                f"it {given}"
            )
        return self

    def _kinds_given(self) -> list[Kind]:
        kinds: dict[Kind, object] = {
            "nfs": self.nfs,
            "claim": self.claim,
            "storageClass": self.storage_class,
            "hostPath": self.host_path,
        }
        return [kind for kind, value in kinds.items() if value is not None]

    @property
    def kind(self) -> Kind:
        """The one of the four keys that is given."""
        return self._kinds_given()[0]

    @property
    def size(self) -> str | None:
        """The size of the share as a Kubernetes quantity; None if the file does not state it."""
        volume = self.nfs or self.storage_class or self.host_path
        return None if volume is None else volume.size

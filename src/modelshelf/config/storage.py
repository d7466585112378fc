"""`shelf:` of modelshelf.yaml: where the files lie."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from modelshelf.config.values import Host, MountOption, ObjectName, Path, Rate, Section, Size, Uid

Kind = Literal["nfs", "claim", "storageClass", "hostPath"]


class Nfs(Section):
    """An NFS share, by the two halves of its Mount Source `server:/path`."""

    server: Host = Field(description="The share's host: a name or an address.")
    path: Path = Field(description="The path that the host exports, from / on.")
    size: Size | None = Field(
        None,
        description="How large the share is. Kubernetes wants some number for a volume and does "
        "not enforce it for NFS (1Ti without this key); given, a model that is "
        "larger than this is refused before it is pulled.",
    )
    driver: ObjectName | None = Field(
        None,
        description="A CSI driver, such as nfs.csi.k8s.io, that mounts the share. By default the "
        "kubelet does so itself, which needs nothing installed in the cluster, but the NFS "
        "programs on the nodes.",
    )
    mount_options: tuple[MountOption, ...] | None = Field(
        None,
        description="Options for mounting, instead of NFS 4.1, hard, long timeouts, large blocks "
        "and no access times.",
    )


class StorageClass(Section):
    """A class of storage that makes the share when it is asked for."""

    name: ObjectName = Field(
        description="Its name; it must provide volumes that many nodes may mount."
    )
    size: Size = Field(description="How large a volume to ask for.")


class HostPath(Section):
    """A folder of the node, for development clusters of one node."""

    path: Path = Field(description="The folder on the node.")
    size: Size | None = Field(
        None, description="How large the disk is; given, a larger model is refused before a pull."
    )


class ShelfConfig(Section):
    """Where the files lie: exactly one of nfs, claim, storageClass and hostPath."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [kind]} for kind in ("nfs", "claim", "storageClass", "hostPath")]
        }
    )

    nfs: Nfs | None = Field(None, description="An NFS share, by host and path.")
    claim: ObjectName | None = Field(
        None,
        description="An existing PersistentVolumeClaim in the namespace that many nodes may mount "
        "(ReadWriteMany).",
    )
    storage_class: StorageClass | None = Field(
        None, description="A storage class that makes the volume."
    )
    host_path: HostPath | None = Field(
        None, description="A folder of the node, for development clusters of one node."
    )
    user: Uid = Field(
        1000,
        description="The uid that pods run as and files belong to. Not 0: shares squash root, and "
        "Pod Security forbids it.",
    )
    group: Uid = Field(1000, description="The gid that goes with it.")
    speed: Rate = Field(
        "200MB",
        description="Bytes a second that one pod reads from the share, at worst: how long a "
        "server may take to start is computed from it and from the model's size.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = self._given()
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "has none of them"
            raise ValueError(
                "exactly one of nfs, claim, storageClass and hostPath says where files lie; "
                f"it {what}"
            )
        return self

    def _given(self) -> list[Kind]:
        kinds: dict[Kind, object] = {
            "nfs": self.nfs,
            "claim": self.claim,
            "storageClass": self.storage_class,
            "hostPath": self.host_path,
        }
        return [kind for kind, value in kinds.items() if value is not None]

    @property
    def kind(self) -> Kind:
        """Which of the four it is."""
        return self._given()[0]

    @property
    def size(self) -> str | None:
        """How large it is, as a Kubernetes quantity; None where the file does not say."""
        part = self.nfs or self.storage_class or self.host_path
        return None if part is None else part.size

"""The kind of storage that a folder of this machine lies on."""

from __future__ import annotations

import os
import re

from modelshelf.engines.weight_loading import StorageKind

_NFS_TYPES = re.compile(r"nfs\d*")
_NETWORK_TYPES = re.compile(
    r"fuse\..*|fuse|ceph|lustre|virtiofs|9p|cifs|smb\d*|glusterfs|beegfs|gpfs|afs|ocfs2|gfs2"
)
_OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


def storage_kind(path: str, mounts: str = "/proc/mounts") -> StorageKind:
    """The kind of storage that a folder lies on: NFS, another shared filesystem, or a local disk.

    Args:
        path: The folder.
        mounts: The system's list of mounts. Without one, the storage counts as a local disk.
    """
    path = os.path.realpath(path)
    mount_point, filesystem = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _, escaped, line_filesystem, *_ = line.split(" ")
                candidate = _OCTAL_ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), escaped)
                is_above = f"{path}/".startswith(candidate.rstrip("/") + "/")
                # The later one of two mounts at the same place hides the earlier one.
                if is_above and len(candidate) >= len(mount_point):
                    mount_point, filesystem = candidate, line_filesystem
    except OSError:
        return "local"
    if _NFS_TYPES.fullmatch(filesystem):
        return "nfs"
    return "network" if _NETWORK_TYPES.fullmatch(filesystem) else "local"

"""What a folder of this machine lies on."""

from __future__ import annotations

import os
import re

from modelshelf.engines.loading import Where

_NFS = re.compile(r"nfs\d*")
_NETWORK = re.compile(
    r"fuse\..*|fuse|ceph|lustre|virtiofs|9p|cifs|smb\d*|glusterfs|beegfs|gpfs|afs|ocfs2|gfs2"
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def place(path: str, mounts: str = "/proc/mounts") -> Where:
    """Whether a folder lies on NFS, on something else that many mount, or on a disk here.

    A system that does not say has a disk.
    """
    path = os.path.realpath(path)
    found = ("", "")
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _, where, kind, *_ = line.split(" ")
                where = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), where)
                # Of two at the same place the later one is seen.
                if len(where) >= len(found[0]) and f"{path}/".startswith(where.rstrip("/") + "/"):
                    found = (where, kind)
    except OSError:
        return "local"
    if _NFS.fullmatch(found[1]):
        return "nfs"
    return "network" if _NETWORK.fullmatch(found[1]) else "local"

"""The kind of storage that a folder lies on."""

from __future__ import annotations

import pathlib

from modelshelf.targets.local.mounts import storage_kind


def test_the_storage_of_a_folder_is_read_from_the_mounts(tmp_path: pathlib.Path) -> None:
    """The longest mount point above the folder counts; its name may have an escaped space."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\n"
        "host:/x /srv/models nfs4 rw 0 0\n"
        "bucket /srv/models/a\\040bucket fuse.s3 rw 0 0\n"
        "/dev/sdb /srv/models/disk xfs rw 0 0\n"
    )
    paths = ["/srv/modelsX", "/srv/models/a", "/srv/models/a bucket/b", "/srv/models/disk/x"]
    kinds = [storage_kind(path, str(mounts)) for path in paths]
    assert kinds == ["local", "nfs", "network", "local"]
    assert storage_kind("/", str(tmp_path / "none")) == "local"

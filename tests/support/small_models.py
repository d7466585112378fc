"""Models for tests: put files on a real shelf, with the checksums that a source would state."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Literal

from modelshelf.shelf import layout
from modelshelf.shelf.files import make_folders
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import File, Snapshot

COMMIT = "c0ffee" + "0" * 34
LFS = ("*.safetensors", "*.gguf", "*.bin")

Origin = Literal["hub", "local"]


def put(
    shelf: Shelf,
    repo_id: str,
    files: Mapping[str, bytes],
    *,
    commit: str = COMMIT,
    revision: str = "main",
    lfs: Sequence[str] = LFS,
    origin: Origin = "hub",
    created: float | None = None,
) -> Snapshot:
    """Publish a snapshot.

    Args:
        shelf: Where.
        repo_id: `org/name`.
        files: Path → content.
        commit: 40 hex digits.
        revision: The name that it is said to have been pulled by.
        lfs: Patterns of the paths that the source keeps in Git LFS; of others it states the git
            blob id.
        origin: `local` for files of which nothing but our own sha256 is known.
        created: Seconds since 1970; None for now.
    """
    described = tuple(
        describe(path, content, lfs=lfs, origin=origin) for path, content in sorted(files.items())
    )
    snapshot = Snapshot(
        source=f"hf://{repo_id}@{revision}",
        repo_id=repo_id,
        revision=revision,
        commit=commit,
        files=described,
        created=time.time() if created is None else created,
        tool="modelshelf-tests",
    )
    staged = make_folders(shelf.path, layout.staging_folder(repo_id, snapshot.id, uuid.uuid4().hex))
    for path, content in files.items():
        _write(staged, path, content)
    _seal(staged)
    return shelf.publish(staged, snapshot)


def describe(
    path: str, content: bytes, *, lfs: Sequence[str] = LFS, origin: Origin = "hub"
) -> File:
    """What a snapshot records of one file."""
    sha256 = hashlib.sha256(content).hexdigest()
    if origin == "local":
        return File(path, len(content), sha256=sha256)
    if any(fnmatch.fnmatchcase(path, pattern) for pattern in lfs):
        return File(path, len(content), lfs_sha256=sha256, sha256=sha256)
    return File(path, len(content), git_sha1=git_blob_id(content), sha256=sha256)


def git_blob_id(content: bytes) -> str:
    """The id that `git hash-object` prints."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _write(staged: str, path: str, content: bytes) -> None:
    target = os.path.join(staged, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o444)


def _seal(staged: str) -> None:
    """Make the folders below a staged one read-only, as a pull does before it publishes."""
    for folder, _, _ in os.walk(staged, topdown=False):
        if folder != staged:
            os.chmod(folder, 0o555)

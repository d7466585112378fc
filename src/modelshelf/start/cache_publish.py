"""Publishing compiled caches: written in staging, synced, and renamed to their place once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid

from modelshelf.shelf import layout
from modelshelf.shelf.errors import IntegrityError, ShelfError
from modelshelf.shelf.files import (
    delete_tree,
    explained,
    make_folders,
    names,
    now_at,
    read_json,
    sync,
    write_json,
)
from modelshelf.shelf.process_identity import ProcessIdentity
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import File
from modelshelf.shelf.version import TOOL
from modelshelf.start import cache_store
from modelshelf.start.cache_archive import pack
from modelshelf.start.cache_key import CacheKey
from modelshelf.start.cache_store import CacheRecord

_FORGOTTEN = 3600.0  # seconds after which nobody packs any more
_READ_ONLY = 0o555


def present(shelf: Shelf, made: CacheKey) -> int | None:
    """Bytes of what is published for exactly this; None if there is none, or it is damaged."""
    folder = os.path.join(shelf.path, layout.COMPILE_CACHE)
    with explained(folder):
        found = cache_store.find(folder, made)
        if found is None:
            return None
        with contextlib.suppress(IntegrityError, FileNotFoundError):
            for _ in cache_store.proven(os.path.join(folder, made.key), found.archive):
                pass
            return found.archive.size
    return None


def publish(shelf: Shelf, made: CacheKey, into: str) -> tuple[int, str]:
    """Pack a folder and rename the archive to its place, unless another was there first.

    Returns:
        The archive's size, and how it came: `made`, or `present`.

    Raises:
        ShelfError: The filesystem refused.
    """
    parent = layout.staging_parent(made.snapshot.partition("@")[0])
    mine = os.path.join(parent, f"compile-cache-{os.path.basename(made.key)}")
    with explained(shelf.path):
        _sweep(shelf, mine)
        staged = make_folders(shelf.path, f"{mine}.{uuid.uuid4().hex[:12]}")
        try:
            writer = os.path.join(staged, layout.WRITER_FILE)
            write_json(writer, ProcessIdentity.of_this_process().to_json())
            archive = _write_archive(staged, into)
            record = CacheRecord(made.to_json(), archive, round(time.time(), 3), TOOL)
            write_json(os.path.join(staged, layout.CACHE_RECORD_FILE), record.to_json(), mode=0o444)
            os.unlink(writer)
            sync(staged)
            return archive.size, _place(shelf, made, staged)
        except BaseException:
            delete_tree(staged)
            raise


def _write_archive(staged: str, into: str) -> File:
    path = os.path.join(staged, layout.ARCHIVE)
    with open(path, "wb+") as file:
        pack(into, file)
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")
        return File(layout.ARCHIVE, file.tell(), sha256=digest.hexdigest())


def _place(shelf: Shelf, made: CacheKey, staged: str) -> str:
    """Rename a finished folder to its place; whoever does so first has made it."""
    target = os.path.join(shelf.path, layout.COMPILE_CACHE, made.key)
    make_folders(shelf.path, os.path.join(layout.COMPILE_CACHE, os.path.dirname(made.key)))
    for last in (False, True):
        try:
            os.rename(staged, target)
            break
        except OSError:
            # Also a rename that an NFS server carried out and answered twice ends here.
            if present(shelf, made) is not None:
                how = "present" if os.path.exists(staged) else "made"
                delete_tree(staged)
                return how
            if last:
                raise
            shelf.discard(target)
    with contextlib.suppress(PermissionError):
        os.chmod(target, _READ_ONLY)
    sync(os.path.dirname(target))
    return "made"


def _sweep(shelf: Shelf, mine: str) -> None:
    """Throw away what primes of this key that died have left."""
    above, stem = os.path.split(os.path.join(shelf.path, mine))
    with contextlib.suppress(OSError, ShelfError):
        for name in names(above):
            path = os.path.join(above, name)
            if name.startswith(f"{stem}.") and _gone(path):
                shelf.discard(path)


def _gone(path: str) -> bool:
    record = read_json(os.path.join(path, layout.WRITER_FILE)) or {}
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if ProcessIdentity.from_json(record).provably_gone():
            return True
    return now_at(os.path.dirname(path)) - os.stat(path).st_mtime > _FORGOTTEN

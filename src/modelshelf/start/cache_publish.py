"""Publishing a compile cache: it is written to staging, synced, and renamed to its place once.

A shelf may be on a network filesystem, where several primes of one key can run at the same time on
hosts that know nothing of each other. Locks are not reliable there, so none is used. Each prime has
a folder of its own in staging, and rename(2) moves it to its place as a whole. The first rename
wins. A later one fails, since its target is a folder that is not empty, and that prime throws its
own away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid

from modelshelf.shelf import layout
from modelshelf.shelf.errors import IntegrityError, ShelfError
from modelshelf.shelf.files import (
    READ_ONLY_FOLDER_MODE,
    delete_tree,
    explain_os_errors,
    filesystem_time,
    list_names,
    make_folders,
    read_json,
    set_mode,
    sync_to_disk,
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
from modelshelf.start.events import CacheOrigin

_MAX_PACKING_SECONDS = 3600.0  # what is older in staging was left by a prime that has died


def verify_published(shelf: Shelf, key: CacheKey) -> int | None:
    """Verify the cache that is published for a key, whole.

    Returns:
        The bytes of its archive; None if there is none, or if it is damaged.

    Raises:
        ShelfError: The filesystem refused.
    """
    folder = os.path.join(shelf.path, layout.COMPILE_CACHE)
    with explain_os_errors(folder):
        record = cache_store.find_record(folder, key)
        if record is None:
            return None
        with contextlib.suppress(IntegrityError, FileNotFoundError):
            for _ in cache_store.read_verified(os.path.join(folder, key.folder), record.archive):
                pass
            return record.archive.size
    return None


def publish(shelf: Shelf, key: CacheKey, folder: str) -> tuple[int, CacheOrigin]:
    """Publish what an engine wrote, unless another prime has published its own before.

    Args:
        shelf: The shelf.
        key: What it fits.
        folder: The folder that the engine filled.

    Returns:
        The bytes of the archive, and `made`, or `present` if another's is there.

    Raises:
        ShelfError: The filesystem refused.
    """
    parent = layout.staging_parent(key.snapshot.partition("@")[0])
    prefix = os.path.join(parent, f"compile-cache-{os.path.basename(key.folder)}")
    with explain_os_errors(shelf.path):
        _discard_leftovers(shelf, prefix)
        staged = make_folders(shelf.path, f"{prefix}.{uuid.uuid4().hex[:12]}")
        try:
            writer = os.path.join(staged, layout.WRITER_FILE)
            write_json(writer, ProcessIdentity.of_this_process().to_json())
            archive = _write_archive(staged, folder)
            record = CacheRecord(key.to_json(), archive, round(time.time(), 3), TOOL)
            write_json(os.path.join(staged, layout.CACHE_RECORD_FILE), record.to_json(), mode=0o444)
            os.unlink(writer)
            sync_to_disk(staged)
            return archive.size, _rename_into_place(shelf, key, staged)
        except BaseException:
            delete_tree(staged)
            raise


def _write_archive(staged: str, folder: str) -> File:
    path = os.path.join(staged, layout.ARCHIVE)
    with open(path, "wb+") as file:
        pack(folder, file)
        file.flush()
        set_mode(file.fileno(), 0o444)
        os.fsync(file.fileno())
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")
        return File(layout.ARCHIVE, file.tell(), sha256=digest.hexdigest())


def _rename_into_place(shelf: Shelf, key: CacheKey, staged: str) -> CacheOrigin:
    """Rename a finished folder to its place; a damaged cache that lies there is thrown away."""
    target = os.path.join(shelf.path, layout.COMPILE_CACHE, key.folder)
    make_folders(shelf.path, os.path.join(layout.COMPILE_CACHE, os.path.dirname(key.folder)))
    for is_last_try in (False, True):
        try:
            os.rename(staged, target)
            break
        except OSError:
            # An NFS client that gets no reply sends a rename again. If the server had carried out
            # the first one, the second fails. Then our own folder is in its place, and no longer in
            # staging.
            if verify_published(shelf, key) is not None:
                origin: CacheOrigin = "present" if os.path.exists(staged) else "made"
                delete_tree(staged)
                return origin
            if is_last_try:
                raise
            shelf.move_to_trash(target)
    set_mode(target, READ_ONLY_FOLDER_MODE)
    # Without this the new name may be lost when the host dies, though the files are on the disk.
    sync_to_disk(os.path.dirname(target))
    return "made"


def _discard_leftovers(shelf: Shelf, prefix: str) -> None:
    """Throw away what primes of the same key left in staging when they died."""
    parent, prefix_name = os.path.split(os.path.join(shelf.path, prefix))
    with contextlib.suppress(OSError, ShelfError):
        for name in list_names(parent):
            path = os.path.join(parent, name)
            if name.startswith(f"{prefix_name}.") and _is_leftover(path):
                shelf.move_to_trash(path)


def _is_leftover(path: str) -> bool:
    """Whether the writer of a folder in staging has died, or must have."""
    writer = read_json(os.path.join(path, layout.WRITER_FILE)) or {}
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if ProcessIdentity.from_json(writer).provably_gone():
            return True
    return filesystem_time(os.path.dirname(path)) - os.stat(path).st_mtime > _MAX_PACKING_SECONDS

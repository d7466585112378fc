"""Unpacking a compile cache into a start's own folder, after its bytes were verified."""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from modelshelf.shelf.errors import Error, UsageError
from modelshelf.shelf.files import delete_tree
from modelshelf.shelf.values import File
from modelshelf.start import cache_store
from modelshelf.start.cache_archive import extract
from modelshelf.start.cache_key import compute_key
from modelshelf.start.events import CacheMissing, CacheUnpacked
from modelshelf.start.interpreter import probe_interpreter

# The Cache Directory Tagging Specification: programs that make backups leave a folder with this
# file out. It also tells us that a folder is one of ours.
_TAG = "CACHEDIR.TAG"
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"


def unpack(
    folder: str, snapshot: str, into: str, argv: Sequence[str], env: Mapping[str, str]
) -> CacheUnpacked | CacheMissing:
    """Unpack the compile cache that fits a start exactly. If anything fails, the start goes on.

    Args:
        folder: The shelf's folder `compile-cache`.
        snapshot: `org/name@id` of the model.
        into: The start's own folder. It is best the same path as in the prime, since some cached
            files hold it. What an earlier start left there stays, unless there is something to
            unpack.
        argv: The engine's command line.
        env: The engine's environment.

    Returns:
        What was unpacked, or why nothing was.
    """
    began = time.monotonic()
    key_folder = ""
    try:
        if not os.path.isdir(into):
            replace_folder(into)
        key = compute_key(snapshot, argv, env, probe_interpreter(argv, env).versions)
        key_folder = key.folder
        record = cache_store.find_record(folder, key)
        if record is None:
            return CacheMissing(key_folder, cache_store.explain_miss(folder, key))
        size = _restore(os.path.join(folder, key_folder), record.archive, into)
    except (Error, OSError, tarfile.TarError) as error:
        return CacheMissing(key_folder, str(error))
    return CacheUnpacked(key_folder, size, round(time.monotonic() - began, 3))


def replace_folder(path: str, fill: Callable[[str], int] = lambda _folder: 0) -> int:
    """Replace a start's own folder by a new one, and throw away what an earlier start left in it.

    The new folder is filled beside the old one and then renamed, so a start that is killed leaves
    no half of a cache under the name.

    Args:
        path: The folder. The names `<path>.new` and `<path>.old` are used meanwhile.
        fill: Fills the new folder; it gets the folder's path at that time.

    Returns:
        What `fill` returned.

    Raises:
        UsageError: The path is not absolute, or the folder holds something that is not ours.
        OSError: The folder cannot be made.
    """
    new, old = f"{path}.new", f"{path}.old"
    if not os.path.isabs(path):
        raise UsageError(f"{path!r} is no absolute path")
    if os.path.isdir(path) and os.listdir(path) and not os.path.exists(os.path.join(path, _TAG)):
        raise UsageError(f"{path} holds other things than caches", hint="name an empty folder")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for leftover in (new, old):
        delete_tree(leftover)
    os.mkdir(new, 0o700)
    try:
        result = fill(new)
        with open(os.path.join(new, _TAG), "wb") as file:
            file.write(_SIGNATURE)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
        os.rename(new, path)
    finally:
        for leftover in (new, old):
            delete_tree(leftover)
    return result


def _restore(folder: str, archive: File, into: str) -> int:
    """Extract an archive, from a copy: nobody can change its bytes after they were verified."""
    with tempfile.TemporaryFile(dir=os.path.dirname(into)) as copy:
        copy.writelines(cache_store.read_verified(folder, archive))
        copy.seek(0)
        return replace_folder(into, lambda new: extract(copy, new))

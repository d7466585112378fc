"""Unpacking compiled caches into a start's own folder, once their bytes are proven."""

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
from modelshelf.start.cache_key import describe, installed
from modelshelf.start.events import CacheMissing, CacheUnpacked

_TAG = "CACHEDIR.TAG"  # of the Cache Directory Tagging Specification
_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"


def unpack(
    folder: str, snapshot: str, into: str, argv: Sequence[str], env: Mapping[str, str]
) -> CacheUnpacked | CacheMissing:
    """Give a start the caches that were made for exactly it; whatever fails, it may start without.

    Args:
        folder: The shelf's folder `compile-cache`.
        snapshot: `org/name@id` of the model.
        into: Where they belong: the start's own folder, at best the one they were made in, whose
            path is in some of them. What an earlier start left there stays
            unless there is something to unpack.
        argv: The engine's command line.
        env: The engine's environment.
    """
    began = time.monotonic()
    key = ""
    try:
        if not os.path.isdir(into):
            fresh(into)
        made = describe(snapshot, argv, env, installed(argv, env).versions)
        key = made.key
        found = cache_store.find(folder, made)
        if found is None:
            return CacheMissing(key, cache_store.missing(folder, made))
        size = _restore(os.path.join(folder, key), found.archive, into)
    except (Error, OSError, tarfile.TarError) as error:
        return CacheMissing(key, str(error))
    return CacheUnpacked(key, size, round(time.monotonic() - began, 3))


def fresh(into: str, fill: Callable[[str], int] = lambda _folder: 0) -> int:
    """Make a start's own folder anew; what an earlier start left there is thrown away.

    Args:
        into: The folder. Its neighbours `.new` and `.old` are used on the way.
        fill: What to do with it before it gets its name.

    Returns:
        What `fill` did.

    Raises:
        UsageError: It holds something that no start of ours made.
        OSError: It cannot be made.
    """
    new, old = f"{into}.new", f"{into}.old"
    if not os.path.isabs(into):
        raise UsageError(f"{into!r} is no absolute path")
    if os.path.isdir(into) and os.listdir(into) and not os.path.exists(os.path.join(into, _TAG)):
        raise UsageError(f"{into} holds other things than caches", hint="name an empty folder")
    os.makedirs(os.path.dirname(into), exist_ok=True)
    for path in (new, old):
        delete_tree(path)
    os.mkdir(new, 0o700)
    try:
        done = fill(new)
        with open(os.path.join(new, _TAG), "wb") as file:
            file.write(_SIGNATURE)
        with contextlib.suppress(FileNotFoundError):
            os.rename(into, old)
        os.rename(new, into)
    finally:
        for path in (new, old):
            delete_tree(path)
    return done


def _restore(folder: str, archive: File, into: str) -> int:
    """Prove the bytes in a copy that nobody else can change, then write what they hold."""
    with tempfile.TemporaryFile(dir=os.path.dirname(into)) as copy:
        copy.writelines(cache_store.proven(folder, archive))
        copy.seek(0)
        return fresh(into, lambda new: extract(copy, new))

"""Folders for unpacked compile caches. They have the same few paths again and again.

On a CPU, vLLM finds a part of its compiled code only at the path at which it was compiled. So the
folders are numbered, and a prime and a server both use the first one that is free: as a rule it is
the same one. All replicas of a server share one folder, just as all vLLM processes of one user
share vLLM's own cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator

from modelshelf.shelf.files import delete_tree, explain_os_errors


@contextlib.contextmanager
def reserve_slot(parent: str) -> Iterator[str]:
    """Reserve the first numbered folder that no process uses, and delete it in the end.

    A lock file beside the folder reserves it. The kernel frees the lock of a process that ends,
    even if it is killed. The folder itself is not made here, and it may hold files of a process
    that was killed.

    Args:
        parent: The folder that holds the numbered folders.

    Yields:
        The path of the folder.

    Raises:
        ShelfError, NotWritableError: The parent folder cannot be written.
    """
    with explain_os_errors(parent):
        os.makedirs(parent, mode=0o700, exist_ok=True)
        for number in itertools.count():
            path = os.path.join(parent, str(number))
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                os.close(lock)
            except BaseException:
                os.close(lock)
                raise
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            delete_tree(path)
        os.close(lock)


def slots_folder() -> str:
    """The parent folder of this user's slots."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(os.path.abspath(cache), "modelshelf", "starts")

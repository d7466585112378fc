"""Folders for compiled caches, used by one server at a time, at the same paths again and again.

On a CPU part of what was compiled is found only at the path at which it was made. So priming and
serving take the first of these folders that is free, which is the same one as a rule. The replicas
of a server share theirs, as all vLLMs of one user share vLLM's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator

from modelshelf.shelf.files import delete_tree, explain_os_errors


@contextlib.contextmanager
def slot(parent: str) -> Iterator[str]:
    """The first folder below another that nobody uses; it is deleted in the end.

    It is not made, and what a process that was killed has left in it is still there.

    Raises:
        ShelfError, NotWritableError: Nothing can be written there.
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
        # Closing it, even by the kernel after SIGKILL, lets go of the lock.
        os.close(lock)


def slots_folder() -> str:
    """Where this user's lie."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(os.path.abspath(cache), "modelshelf", "starts")

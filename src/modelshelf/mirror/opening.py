"""Opening a published file, and nothing else that may lie in its place."""

from __future__ import annotations

import errno
import os
import stat

from modelshelf.mirror.tree import Entry


def open_entry(entry: Entry) -> int:
    """Open a file for reading without following a symbolic link below its snapshot's folder.

    Returns:
        A descriptor; the caller closes it.

    Raises:
        FileNotFoundError: It is gone.
        OSError: No regular file of the recorded size lies there, or it may not be read.
    """
    fd = os.open(entry.folder, os.O_RDONLY | os.O_DIRECTORY)
    for part in entry.path.split("/"):
        parent = fd
        try:
            # O_NONBLOCK: nothing but a file may lie there, and opening a pipe would wait.
            fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        finally:
            os.close(parent)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
        os.close(fd)
        raise OSError(errno.EIO, "not the file that was published", entry.path)
    return fd

"""Opening a published file safely, whatever may have taken its place."""

from __future__ import annotations

import errno
import os
import stat

from modelshelf.mirror.tree import FileEntry


def open_published_file(entry: FileEntry) -> int:
    """Open a published file for reading.

    Somebody with write access to the share could replace a file or a folder of a snapshot by a
    symbolic link, and the mirror would then serve any file of this machine. So each part of the
    path is opened relative to its parent, and no symbolic link is followed.

    Returns:
        A descriptor, which the caller must close.

    Raises:
        FileNotFoundError: The file no longer exists.
        OSError: The path is not a regular file of the recorded size, or it may not be read.
    """
    fd = os.open(entry.folder, os.O_RDONLY | os.O_DIRECTORY)
    for part in entry.path.split("/"):
        parent = fd
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its writer.
            fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        finally:
            os.close(parent)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
        os.close(fd)
        raise OSError(errno.EIO, "not the file that was published", entry.path)
    return fd

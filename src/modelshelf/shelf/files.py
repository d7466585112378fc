"""Small durable writes, and deletions, on filesystems that several hosts share.

A file is replaced in four steps: write another file in the same folder, fsync it, rename it over
the old one, and fsync the folder. Each step guards against something:

- Writing into the old file would show a reader half of the new content, and a crash would leave
  it like that. rename(2) is atomic: a reader opens the old file or the new one, also on NFS, where
  the server does the renaming.
- The kernel may write a rename to the disk before the content. After a crash the name would lead
  to an empty file. So the content is synced first.
- The name itself is content of the folder. Until the folder is synced, a crash may bring the old
  file back, and a caller that was told "done" would have been told wrong.

O_TMPFILE with linkat(2) would leave nothing behind after a crash, but it cannot replace a file, and
NFS does not have it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from typing import Any

from modelshelf.shelf.errors import Error, NoSpaceError, NotWritableError, ShelfError
from modelshelf.shelf.values import canonical_json

FOLDER_MODE = 0o755
READ_ONLY_FOLDER_MODE = 0o555  # of the folders of what is published
_SHARED_BITS = stat.S_ISGID | stat.S_IWGRP  # of a folder whose group works together
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)
_CANNOT_SET_MODE = (*_DENIED, *_CANNOT_SYNC)


@contextlib.contextmanager
def explain_os_errors(path: str) -> Iterator[None]:
    """Turn an OSError about a shelf's file into an error that says what to do.

    Args:
        path: What the error is about, if the OSError names no file itself.

    Raises:
        NoSpaceError: The disk or a quota is full.
        NotWritableError: This user may not write there.
        ShelfError: The system refused for another reason.
    """
    try:
        yield
    except OSError as error:
        raise to_shelf_error(error, path) from error


def to_shelf_error(error: OSError, path: str) -> Error:
    """The error that `explain_os_errors` raises for an OSError."""
    where = error.filename if isinstance(error.filename, str) else path
    if error.errno in _FULL:
        return NoSpaceError(
            f"no space left on the filesystem of {path}",
            hint="free some (modelshelf rm) or grow it, then run the same command again: "
            "what was verified is kept",
        )
    if error.errno in _DENIED:
        return NotWritableError(
            f"user {os.geteuid()} may not write {where}",
            hint=f"give uid {os.geteuid()} write permission there, or use another --shelf",
        )
    return ShelfError(f"{where}: {os.strerror(error.errno) if error.errno else error}")


@contextlib.contextmanager
def explain_read_errors(path: str) -> Iterator[None]:
    """Turn an OSError while a shelf is read into an error that says what to do.

    Args:
        path: The shelf's folder.

    Raises:
        NotWritableError: This user may not read it.
        ShelfError: The system refused for another reason.
    """
    try:
        yield
    except PermissionError as error:
        raise NotWritableError(
            f"user {os.geteuid()} may not read the shelf {path}: {error.filename}",
            hint="ask its owner for read permission, or use another --shelf",
        ) from error
    except OSError as error:
        raise to_shelf_error(error, path) from error


def set_mode(path: str | int, mode: int) -> None:
    """Set the permissions of a file or folder of ours, where its filesystem has permissions.

    Some filesystems have an owner and a mode for all files together (SMB, GCS FUSE, vfat), and
    refuse to change them. What is published there is protected by less, and is whole all the same.

    Args:
        path: A path, or an open file.
        mode: The permissions.

    Raises:
        OSError: It is not there, or cannot be changed for another reason.
    """
    try:
        if isinstance(path, int):
            os.fchmod(path, mode)
        else:
            os.chmod(path, mode)
    except OSError as error:
        if error.errno not in _CANNOT_SET_MODE:
            raise


def make_folders(base: str, relative: str) -> str:
    """Make a folder below `base` and the folders between, with mode 0755 whatever the umask.

    Folders that exist already keep their modes. Where the folder above gives its group to what is
    made in it (setgid), the new one does so, too, and is writable for the group as that one is. So
    a group can share a shelf.

    Args:
        base: A folder that exists.
        relative: The path below it.

    Returns:
        The whole path.
    """
    path = base
    for part in relative.split(os.sep):
        path = os.path.join(path, part)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            set_mode(path, FOLDER_MODE | _shared_bits(os.path.dirname(path)))
    return path


def _shared_bits(folder: str) -> int:
    """The bits of a folder's mode by which a group shares it; 0 if none does."""
    mode = os.stat(folder).st_mode
    return mode & _SHARED_BITS if mode & stat.S_ISGID else 0


def sync_to_disk(path: str) -> None:
    """Flush a file or a folder to the disk (fsync).

    Some filesystems cannot sync a folder and say so. They write it by themselves, so that is no
    error.

    Raises:
        OSError: It could not be written.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(fd)


def write_json(path: str, value: object, *, mode: int = 0o644) -> None:
    """Replace a file by the canonical JSON of a value, durably; see `write_bytes`."""
    write_bytes(path, canonical_json(value), mode=mode)


def write_bytes(path: str, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file durably: after a crash it holds the old content or the new, never half.

    Args:
        path: The file.
        data: Its new content.
        mode: Its permissions, whatever the umask.

    Raises:
        OSError: It could not be written; the old file is as it was.
    """
    # The temporary name does not contain the file's, which may be as long as names can be.
    temporary = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            set_mode(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_to_disk(os.path.dirname(path))


def read_json(path: str) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file is missing or holds no object.

    Raises:
        OSError: The file is there and cannot be read.
    """
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def list_names(path: str) -> list[str]:
    """List the names in a folder, sorted; a folder that is not there has none.

    Raises:
        OSError: The folder is there and cannot be read.
    """
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def filesystem_time(folder: str) -> float:
    """The present time by the clock that stamps files in a folder, in seconds since 1970.

    The clocks of hosts differ, and files on NFS carry the server's time. Only this clock can be
    compared with a file's mtime. It is read from a file that is made for it and deleted.

    Raises:
        OSError: No file can be made there.
    """
    probe = os.path.join(folder, f".now.{uuid.uuid4().hex}")
    with open(probe, "wb") as file:
        try:
            return os.fstat(file.fileno()).st_mtime
        finally:
            os.unlink(probe)


def free_bytes(path: str) -> int | None:
    """Bytes that this user may still write on the filesystem of a path.

    Returns:
        None if the filesystem does not say. Some of those in user space and in object stores have
        no size, and state that all their numbers are 0.
    """
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize if status.f_blocks else None


def delete_tree(path: str) -> None:
    """Delete a folder and all that is in it, read-only folders too.

    Other hosts may delete in it at the same time, so a missing file is no error. When a file that
    this host has open is deleted, an NFS client renames it to `.nfs…` until it is closed. Such a
    file cannot be deleted now, and its folder stays until somebody deletes it again.
    """
    for folder, folders, _ in os.walk(path):
        for name in folders:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(folder, name), FOLDER_MODE)
    with contextlib.suppress(OSError):
        os.chmod(path, FOLDER_MODE)
    shutil.rmtree(path, ignore_errors=True)

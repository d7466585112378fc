"""Small durable writes: what a rename needs around it to survive a crash and strange modes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

from modelshelf.shelf.errors import Error, NoSpaceError, NotWritableError, ShelfError
from modelshelf.shelf.values import canonical_json

FOLDER_MODE = 0o755
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def explain_os_errors(path: str) -> Iterator[None]:
    """Turn what the operating system says of a shelf's file into an error that says what to do.

    Raises:
        NoSpaceError: The disk or a quota is full.
        NotWritableError: This user may not write there.
        ShelfError: Anything else the system refused.
    """
    try:
        yield
    except OSError as error:
        raise to_shelf_error(error, path) from error


def to_shelf_error(error: OSError, path: str) -> Error:
    """The error that `explain_os_errors` raises for one of the operating system's."""
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


def make_folders(base: str, relative: str) -> str:
    """Make a folder below `base` and those above it, mode 0755 whatever the umask.

    Returns:
        The whole path.
    """
    path = base
    for part in relative.split(os.sep):
        path = os.path.join(path, part)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            os.chmod(path, FOLDER_MODE)
    return path


def sync_to_disk(path: str) -> None:
    """Flush a file or folder to the disk; folders that cannot be synced are left to the system."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def write_json(path: str, value: object, *, mode: int = 0o644) -> None:
    """Replace a file by the canonical JSON of a value, whole or not at all, and sync it."""
    write_bytes(path, canonical_json(value), mode=mode)


def write_bytes(path: str, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file, whole or not at all, and sync it."""
    # Not named after the file, whose name may be as long as names can be.
    temporary = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_to_disk(os.path.dirname(path))


def read_json(path: str) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file is missing or holds none.

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
    """The sorted names in a folder; none if it is not there."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def filesystem_time(folder: str) -> float:
    """What the clock of a folder's filesystem says, in seconds since 1970: hosts' clocks differ.

    Raises:
        OSError: Nothing may be written there.
    """
    probe = os.path.join(folder, f".now.{uuid.uuid4().hex}")
    with open(probe, "wb") as file:
        try:
            return os.fstat(file.fileno()).st_mtime
        finally:
            os.unlink(probe)


def free_bytes(path: str) -> int:
    """Bytes that this user may still write on the filesystem of a path."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def delete_tree(path: str) -> None:
    """Delete a folder whose folders may be read-only; what vanishes meanwhile is fine.

    NFS keeps a file that this host has open as `.nfs…`, which blocks its folder: it is left for
    the next time.
    """
    for folder, folders, _ in os.walk(path):
        for name in folders:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(folder, name), FOLDER_MODE)
    with contextlib.suppress(OSError):
        os.chmod(path, FOLDER_MODE)
    shutil.rmtree(path, ignore_errors=True)

"""A compile cache as one tar file, and back. The same files make the same bytes.

A user who may write to a shelf could put a hostile archive there. So `extract` writes nothing but
plain files and folders below one folder.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from typing import IO

from modelshelf.shelf.errors import RefusedError

_BLOCK_BYTES = 1 << 20
_MAX_MEMBERS = 200_000
_MAX_NAME_BYTES = 4_096
_SPECIAL_MODE_BITS = 0o7000  # setuid, setgid, sticky
# Locks, and unfinished files of writers that have died; what holds only for the way in which one
# machine's GPUs are connected; media that vLLM has downloaded.
_EXCLUDED = re.compile(
    r".*(\.lock|\.tmp|\.tmp\.\d+|\.pyc\.\d+)"
    r"|vllm/(dummy_cache|assets|gpu_p2p_access_cache_for_[^/]*)",
)


def pack(folder: str, file: IO[bytes]) -> None:
    """Write the files and folders below a folder as a tar; links and devices are left out.

    The tar names no owner. It has the times of files in whole seconds, since some caches compare
    them.

    Args:
        folder: What to pack.
        file: Where the tar is written to.

    Raises:
        OSError: A file cannot be read, or the tar cannot be written.
    """
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for name, entry in _walk(folder, ""):
            member = tarfile.TarInfo(name)
            status = entry.stat(follow_symlinks=False)
            member.mtime = int(status.st_mtime)
            if entry.is_dir(follow_symlinks=False):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size, member.mode = status.st_size, 0o644 | (status.st_mode & 0o111)
                with open(entry.path, "rb") as content:
                    tar.addfile(member, content)


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Go through what is to be packed, sorted by name.

    Args:
        folder: Where to look.
        prefix: What stands before the names of its entries in the tar.
    """
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        name = f"{prefix}{entry.name}"
        if _EXCLUDED.fullmatch(name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield name, entry
            yield from _walk(entry.path, f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            yield name, entry


def extract(file: IO[bytes], folder: str) -> int:
    """Write what a tar holds below a folder.

    Args:
        file: The tar.
        folder: An empty folder that nobody else writes to.

    Returns:
        The bytes of all files.

    Raises:
        RefusedError: A member is something else than a file or folder, or its name is not plain.
        tarfile.TarError: It is not a tar, or it ends early.
        OSError: It cannot be read, or a file cannot be written.
    """
    total = 0
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for count, member in enumerate(tar, 1):
            problem = _find_problem(member) or ("is one too many" if count > _MAX_MEMBERS else "")
            if problem:
                raise RefusedError(
                    f"the archive holds {member.name[:200]!r}, which {problem}",
                    hint="nothing of it is used; find out who wrote it to this shelf",
                )
            path = os.path.join(folder, member.name)
            if member.isdir():
                os.makedirs(path, exist_ok=True)
            else:
                _write(tar, member, path)
                total += member.size
    return total


def _find_problem(member: tarfile.TarInfo) -> str:
    """Say why a member must not be written; empty if it may be."""
    name = member.name
    if name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        return "escapes its folder"
    if "\0" in name or len(os.fsencode(name)) > _MAX_NAME_BYTES:
        return "has a name that no file can have"
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.sparse:
        return "is neither a file nor a folder"
    if member.mode & _SPECIAL_MODE_BITS:
        return "would run with the rights of another user"
    return ""


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = tar.extractfile(member)
    # O_EXCL and O_NOFOLLOW: a name that is there already, or is a link, is an error.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o644 | (member.mode & 0o111))
    with open(fd, "wb") as target:
        remaining = member.size
        while content and remaining and (block := content.read(min(_BLOCK_BYTES, remaining))):
            target.write(block)
            remaining -= len(block)
    if remaining:
        raise tarfile.ReadError(f"{member.name} ends early")
    os.utime(path, (member.mtime, member.mtime))

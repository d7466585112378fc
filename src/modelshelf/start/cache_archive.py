"""A folder of caches as one tar file, and back: the same tree makes the same bytes."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from typing import IO

from modelshelf.shelf.errors import RefusedError

_BLOCK = 1 << 20
_MOST_MEMBERS = 200_000
_LONGEST_NAME = 4_096
_SPECIAL = 0o7000  # setuid, setgid, sticky
# Locks and halves of dead writers; what holds for one machine's wiring alone; request media.
_LEFT_OUT = re.compile(
    r".*(\.lock|\.tmp|\.tmp\.\d+|\.pyc\.\d+)"
    r"|vllm/(dummy_cache|assets|gpu_p2p_access_cache_for_[^/]*)",
)


def pack(folder: str, file: IO[bytes]) -> None:
    """Write the files and folders below a folder as a tar; links and other things are left out.

    Nobody's name is in it. Times are, to the second: some caches are judged by them.

    Raises:
        OSError: A file cannot be read, or the tar not written.
    """
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for relative, entry in _walk(folder, ""):
            member = tarfile.TarInfo(relative)
            status = entry.stat(follow_symlinks=False)
            member.mtime = int(status.st_mtime)
            if entry.is_dir(follow_symlinks=False):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size, member.mode = status.st_size, 0o644 | (status.st_mode & 0o111)
                with open(entry.path, "rb") as content:
                    tar.addfile(member, content)


def _walk(folder: str, above: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        relative = f"{above}{entry.name}"
        if _LEFT_OUT.fullmatch(relative):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield relative, entry
            yield from _walk(entry.path, f"{relative}/")
        elif entry.is_file(follow_symlinks=False):
            yield relative, entry


def extract(file: IO[bytes], folder: str) -> int:
    """Write what a tar holds below an empty folder that nobody else writes to.

    Returns:
        Bytes of all files.

    Raises:
        RefusedError: A member is anything but a plain file or folder of a plain name.
        tarfile.TarError, OSError: It cannot be read or written.
    """
    total = 0
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for count, member in enumerate(tar, 1):
            problem = _unsafe(member) or ("is one too many" if count > _MOST_MEMBERS else "")
            if problem:
                raise RefusedError(
                    f"the archive holds {member.name[:200]!r}, which {problem}",
                    hint="nothing of it is used; do not trust who writes to this shelf",
                )
            path = os.path.join(folder, member.name)
            if member.isdir():
                os.makedirs(path, exist_ok=True)
            else:
                _write(tar, member, path)
                total += member.size
    return total


def _unsafe(member: tarfile.TarInfo) -> str:
    """What is wrong with a member; empty if nothing is."""
    name = member.name
    if name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        return "escapes its folder"
    if "\0" in name or len(os.fsencode(name)) > _LONGEST_NAME:
        return "has a name that no file can have"
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.sparse:
        return "is neither a file nor a folder"
    if member.mode & _SPECIAL:
        return "would run with the rights of another"
    return ""


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = tar.extractfile(member)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o644 | (member.mode & 0o111))
    with open(fd, "wb") as target:
        left = member.size
        while content and left and (block := content.read(min(_BLOCK, left))):
            target.write(block)
            left -= len(block)
    if left:
        raise tarfile.ReadError(f"{member.name} ends early")
    os.utime(path, (member.mtime, member.mtime))

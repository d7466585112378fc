"""Where things lie on a shelf, and which names files may have there. Pure.

This is layout 1. docs/reference/layout.md draws the tree.

A source decides what its files are called, so a hostile one may try to write outside the folder
(`../x`), to replace one of our own files, or to give two files names that are one on some
filesystem. Such a list of files is refused before the first byte is fetched.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterable

from modelshelf.shelf.errors import RefusedError, UsageError

LAYOUT = 1
SHELF_FILE = "shelf.json"
COMPILE_CACHE = "compile-cache"  # the folder of what engines compiled
SNAPSHOT_FILE = ".snapshot.json"
WRITER_FILE = ".writer.json"
CACHE_RECORD_FILE = ".compile-cache.json"
ARCHIVE = "caches.tar"
PART_SUFFIX = ".part"  # of a file that is being written
SYNCED_SUFFIX = ".part.synced"  # of the record of how much of it is on the disk for certain
FOLDERS = ("models", "tags", COMPILE_CACHE, "staging", "leases", "trash")

MAX_FILES = 100_000
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 2_048
_RESERVED_NAMES = {SNAPSHOT_FILE, WRITER_FILE, ".cache"}
_WINDOWS_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE
)
_ABSOLUTE, _CONTROL, _ESCAPES = (
    "is absolute or empty",
    "holds control characters",
    "escapes its folder",
)
# What no honest source lists. Other names are only impossible on some systems.
_HOSTILE_PROBLEMS = (_ABSOLUTE, _CONTROL, _ESCAPES)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def model_folder(repo_id: str) -> str:
    """Where the snapshots of a model lie, relative to the shelf."""
    return os.path.join("models", *repo_id.split("/"))


def snapshot_folder(repo_id: str, snapshot_id: str) -> str:
    """Where one published snapshot lies, relative to the shelf."""
    return os.path.join(model_folder(repo_id), snapshot_id)


def compile_cache_folder(repo_id: str, snapshot_id: str = "") -> str:
    """Where the compile caches of a model, or of one snapshot of it, lie, relative to the shelf."""
    return os.path.join(COMPILE_CACHE, *repo_id.split("/"), snapshot_id).rstrip(os.sep)


def staging_parent(repo_id: str) -> str:
    """Where the writers' folders of a model lie, relative to the shelf."""
    return os.path.join("staging", *repo_id.split("/"))


def staging_folder(repo_id: str, snapshot_id: str, writer: str) -> str:
    """One writer's folder for one snapshot, relative to the shelf."""
    return os.path.join(staging_parent(repo_id), f"{snapshot_id}.{writer}")


def tags_folder(repo_id: str) -> str:
    """Where the tags of a model lie, relative to the shelf."""
    return os.path.join("tags", *repo_id.split("/"))


def tag_file(repo_id: str, tag: str) -> str:
    """The file of a tag, relative to the shelf.

    Raises:
        UsageError: The tag is not a plain word.
    """
    if not _TAG.fullmatch(tag) or ".." in tag:
        raise UsageError(
            f"{tag!r} cannot be a tag", hint="use letters, digits, dots, dashes and underscores"
        )
    return os.path.join(tags_folder(repo_id), f"{tag}.json")


def lease_file(key: str) -> str:
    """The file of a lease, relative to the shelf; slashes in the key become double dashes."""
    return os.path.join("leases", f"{key.replace('/', '--')}.json")


def refuse_unsafe_names(paths: Iterable[str]) -> None:
    """Refuse a list of files that cannot lie safely in one folder on every system.

    Args:
        paths: The files' paths, with forward slashes.

    Raises:
        RefusedError: A path escapes the folder, is absolute, holds control characters or
            backslashes, is too long or reserved; or two paths differ by case or Unicode form
            alone; or one path is a folder of another; or there are too many.
    """
    owners: dict[str, tuple[str, str]] = {}
    for count, path in enumerate(paths, 1):
        if count > MAX_FILES:
            raise RefusedError(f"the source lists more than {MAX_FILES:,} files")
        problem = _find_problem(path)
        if problem:
            raise RefusedError(
                f"the source lists a file named {path!r}, which {problem}",
                hint="nothing of it was written; do not trust this source"
                if problem in _HOSTILE_PROBLEMS
                else "nothing was written; leave the file out (--exclude) if nothing needs it",
            )
        _claim_names(path, owners)


def usable_names(paths: Iterable[str]) -> set[str]:
    """Return those of some paths that `refuse_unsafe_names` would let pass together.

    Args:
        paths: The files' paths. Of two that are one name on some filesystems, the first is usable.
    """
    owners: dict[str, tuple[str, str]] = {}
    usable = set()
    for path in paths:
        with contextlib.suppress(RefusedError):
            if not _find_problem(path):
                _claim_names(path, owners)
                usable.add(path)
    return usable


def _claim_names(path: str, owners: dict[str, tuple[str, str]]) -> None:
    """Enter the names of a file and of the folders above it, or find that one is in use.

    Args:
        path: The file.
        owners: Folded name → the path that has it, and whether that is a folder or a file.

    Raises:
        RefusedError: Another path has the same name.
    """
    parts = path.split("/")
    for depth in range(1, len(parts)):
        folder = ("/".join(parts[:depth]), "folder")
        owner = owners.setdefault(fold(folder[0]), folder)
        # Many files may be in one folder.
        if owner != folder:
            raise _collision(folder[0], owner[0])
    file = (path, "file")
    owner = owners.setdefault(fold(path), file)
    # Identity, not equality: the same path twice is refused, too.
    if owner is not file:
        raise _collision(path, owner[0])


def _collision(path: str, other: str) -> RefusedError:
    return RefusedError(
        f"the source lists {path!r} and {other!r}, which are one name on some filesystems"
    )


def fold(path: str) -> str:
    """The form in which two names are equal if a filesystem may take them for one name.

    Some filesystems ignore case (macOS, Windows), or the Unicode form (macOS).
    """
    # Canonical caseless matching (Unicode, D145). Comparing composed forms (NFC) misses some pairs.
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _find_problem(path: str) -> str:
    """Say what is wrong with a path, as the end of a sentence; empty if nothing is."""
    if not path or path.startswith("/"):
        return _ABSOLUTE
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in path):
        return _CONTROL
    if "\\" in path or ":" in path:
        return "holds a backslash or a colon"
    if len(path.encode()) > _MAX_PATH_BYTES:
        return f"is longer than {_MAX_PATH_BYTES} bytes"
    for part in path.split("/"):
        problem = _find_part_problem(part)
        if problem:
            return problem
    return ""


def _find_part_problem(part: str) -> str:
    if part in ("", ".", ".."):
        return _ESCAPES
    if len((part + SYNCED_SUFFIX).encode()) > _MAX_NAME_BYTES:
        return f"has a part longer than {_MAX_NAME_BYTES - len(SYNCED_SUFFIX)} bytes"
    if part != part.rstrip(". "):
        return "ends in a dot or a space"
    folded = fold(part)
    if (
        folded in _RESERVED_NAMES
        or folded.startswith(".nfs")
        or folded.endswith((PART_SUFFIX, SYNCED_SUFFIX))
    ):
        return "is reserved"
    if _WINDOWS_DEVICES.fullmatch(part):
        return "is a device on some systems"
    return ""

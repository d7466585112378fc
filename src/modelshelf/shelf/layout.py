"""Layout 1: where things lie on a shelf, and which names may lie there. Pure.

The tree is drawn in docs/reference/layout.md.
"""

from __future__ import annotations

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
PART = ".part"
SYNCED = ".part.synced"
FOLDERS = ("models", "tags", COMPILE_CACHE, "staging", "leases", "trash")

MAX_FILES = 100_000
_MAX_NAME = 255
_MAX_PATH = 2_048
_RESERVED = {SNAPSHOT_FILE, WRITER_FILE, ".cache"}
_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE
)
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
    """Refuse a list of files that could not lie safely in one folder on any system.

    Raises:
        RefusedError: A name escapes the folder, is absolute, holds control characters or
            backslashes, is too long or reserved; two names collide by case or Unicode form, or
            one is a folder of another; there are too many.
    """
    names: dict[str, tuple[str, str]] = {}
    for count, path in enumerate(paths, 1):
        if count > MAX_FILES:
            raise RefusedError(f"the source lists more than {MAX_FILES:,} files")
        problem = _unsafe(path)
        if problem:
            raise RefusedError(
                f"the source lists a file named {path!r}, which {problem}",
                hint="nothing of it was written; do not trust this source",
            )
        _claim(path, names)


def _claim(path: str, names: dict[str, tuple[str, str]]) -> None:
    """Enter a file and the folders above it; `names` maps a folded name to its owner."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        folder = ("/".join(parts[:depth]), "folder")
        owner = names.setdefault(fold(folder[0]), folder)
        if owner != folder:
            raise _collision(folder[0], owner[0])
    mine = (path, "file")
    owner = names.setdefault(fold(path), mine)
    if owner is not mine:
        raise _collision(path, owner[0])


def _collision(one: str, other: str) -> RefusedError:
    return RefusedError(
        f"the source lists {one!r} and {other!r}, which are one name on some filesystems"
    )


def fold(path: str) -> str:
    """The form under which two names are one on filesystems that ignore case or Unicode form."""
    # Canonical caseless matching (Unicode, D145); composed forms miss some pairs.
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _unsafe(path: str) -> str:
    """What is wrong with a path; empty if nothing is."""
    if not path or path.startswith("/"):
        return "is absolute or empty"
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in path):
        return "holds control characters"
    if "\\" in path or ":" in path:
        return "holds a backslash or a colon"
    if len(path.encode()) > _MAX_PATH:
        return f"is longer than {_MAX_PATH} bytes"
    for part in path.split("/"):
        problem = _unsafe_part(part)
        if problem:
            return problem
    return ""


def _unsafe_part(part: str) -> str:
    if part in ("", ".", ".."):
        return "escapes its folder"
    if len((part + SYNCED).encode()) > _MAX_NAME:
        return f"has a part longer than {_MAX_NAME - len(SYNCED)} bytes"
    if part != part.rstrip(". "):
        return "ends in a dot or a space"
    folded = fold(part)
    if folded in _RESERVED or folded.startswith(".nfs") or folded.endswith((PART, SYNCED)):
        return "is reserved"
    if _DEVICES.fullmatch(part):
        return "is a device on some systems"
    return ""

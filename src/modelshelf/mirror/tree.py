"""`Tree`: the files and folders of one commit, as the Hub's protocol shows them. Pure."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import posixpath
from collections.abc import Iterable, Sequence

from modelshelf.mirror import git_ids
from modelshelf.shelf.values import File, Snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class FileEntry:
    """One file.

    Attributes:
        path: The path in the repository, with forward slashes.
        size: The size of the content in bytes.
        oid: The git blob id, 40 hex digits. For a file of Git LFS it is the id of the pointer.
        lfs_sha256: The sha256 of the content if the file is shown as one of Git LFS, else None.
        pointer_size: The size of the Git LFS pointer in bytes; 0 for other files.
        folder: The snapshot's folder on this machine, which contains the file.
    """

    path: str
    size: int
    oid: str
    lfs_sha256: str | None
    pointer_size: int
    folder: str

    @property
    def etag(self) -> str:
        """The entity tag of the content, without quotes."""
        return self.lfs_sha256 or self.oid


@dataclasses.dataclass(frozen=True, slots=True)
class FolderEntry:
    """One folder.

    Attributes:
        path: The path in the repository, with forward slashes.
        oid: The git tree id, computed over the files that are served.
    """

    path: str
    oid: str


TreeEntry = FileEntry | FolderEntry


def file_entry(file: File, folder: str) -> FileEntry:
    """Make the entry of a file in a snapshot's folder.

    A file for which the source stated only a git blob id is shown with that id. Any other file is
    shown as one of Git LFS. That includes files with only a sha256, which came from a local folder:
    as files of Git LFS, clients can verify them.
    """
    sha256 = file.content_sha256
    if sha256 is not None and (file.lfs_sha256 or not file.git_sha1):
        text = git_ids.lfs_pointer(sha256, file.size)
        return FileEntry(file.path, file.size, git_ids.blob_id(text), sha256, len(text), folder)
    return FileEntry(file.path, file.size, file.git_sha1 or "", None, 0, folder)


@dataclasses.dataclass(frozen=True)
class Tree:
    """All files of one commit that the shelf has.

    Attributes:
        commit: 40 hex digits.
        created: The time when the newest snapshot of the commit was published, in seconds since
            1970 (UTC).
        entries: The files, sorted by path.
    """

    commit: str
    created: float
    entries: tuple[FileEntry, ...]

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> Tree:
        """Unite snapshots of one commit.

        A commit has one content for each path, so if several snapshots have a path, any of them
        will do.

        Args:
            snapshots: At least one snapshot; the newest comes first.
        """
        by_path: dict[str, FileEntry] = {}
        for snapshot in snapshots:
            for file in snapshot.files:
                if file.path not in by_path:
                    by_path[file.path] = file_entry(file, snapshot.path or "")
        entries = tuple(by_path[path] for path in sorted(by_path))
        return cls(snapshots[0].commit, snapshots[0].created, entries)

    def entry(self, path: str) -> TreeEntry | None:
        """Find the file or folder at a path."""
        return self._entries.get(path)

    def file(self, path: str) -> FileEntry | None:
        """Find the file at a path."""
        entry = self._entries.get(path)
        return entry if isinstance(entry, FileEntry) else None

    def page(
        self, folder: str, *, recursive: bool, after: str | None, limit: int
    ) -> tuple[list[TreeEntry], str | None]:
        """Return one page of the entries below a folder, sorted by path.

        Args:
            folder: The path of the folder; empty for the whole tree.
            recursive: Include everything below the folder, not only its direct children.
            after: The last path of the previous page; None for the first page.
            limit: The maximum number of entries on the page.

        Returns:
            The entries, and the value of `after` for the next page; None if this page is the last.
        """
        paths = self._paths if recursive else self._children.get(folder, [])
        start, end = 0, len(paths)
        if folder and recursive:
            # In sorted order all paths that begin with `folder/` are adjacent, and they come before
            # `folder0`, because `0` is the character after the slash.
            start, end = (bisect.bisect_left(paths, f"{folder}{c}") for c in "/0")
        if after is not None:
            start = max(start, bisect.bisect_right(paths, after))
        stop = min(end, start + limit)
        entries = [self._entries[path] for path in paths[start:stop]]
        return entries, paths[stop - 1] if entries and stop < end else None

    @functools.cached_property
    def _paths(self) -> list[str]:
        return sorted(self._entries)

    @functools.cached_property
    def _entries(self) -> dict[str, TreeEntry]:
        files = {entry.path: entry for entry in self.entries}
        return {**files, **_folders(self.entries)}

    @functools.cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for path in self._paths:
            children.setdefault(posixpath.dirname(path), []).append(path)
        return children


def _folders(entries: Iterable[FileEntry]) -> dict[str, FolderEntry]:
    """Find every folder that some files are in, directly or below it, by path."""
    files: dict[str, list[tuple[str, str]]] = {}
    subfolders: dict[str, set[str]] = {}
    for entry in entries:
        parent, name = posixpath.split(entry.path)
        files.setdefault(parent, []).append((name, entry.oid))
        while parent:
            parent, child = posixpath.dirname(parent), parent
            subfolders.setdefault(parent, set()).add(child)
    by_path: dict[str, FolderEntry] = {}
    paths = {child for children in subfolders.values() for child in children}
    for path in sorted(paths, key=lambda p: p.count("/"), reverse=True):
        folders = [(posixpath.basename(c), by_path[c].oid) for c in subfolders.get(path, ())]
        by_path[path] = FolderEntry(path, git_ids.tree_id(files.get(path, ()), folders))
    return by_path

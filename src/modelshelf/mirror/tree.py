"""The files of one commit as the Hub's protocol sees them: entries, folders, pages. Pure."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import posixpath
from collections.abc import Iterable, Sequence

from modelshelf.mirror import gitids
from modelshelf.shelf.values import File, Snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        path: Where it lies in the repository, with forward slashes.
        size: Bytes of the content.
        oid: Its git blob id, 40 hex digits; of a Git LFS file that of the pointer.
        lfs_sha256: The content's sha256 if the file counts as one of Git LFS, else None.
        pointer_size: Bytes of the Git LFS pointer; 0 for other files.
        folder: The snapshot's folder on this machine that has the content.
    """

    path: str
    size: int
    oid: str
    lfs_sha256: str | None
    pointer_size: int
    folder: str

    @property
    def etag(self) -> str:
        """What identifies the content to a client, without quotes."""
        return self.lfs_sha256 or self.oid


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """One folder: its path, and its git tree id over the files that are served."""

    path: str
    oid: str


Node = Entry | Folder


def entry(file: File, folder: str) -> Entry:
    """What the protocol says of a file: its git blob id where the source stated that, else LFS.

    A file with nothing but a sha256 (it came from a local folder) is shown as one of Git LFS, so
    that clients can verify it.
    """
    sha256 = file.content_sha256
    if sha256 is not None and (file.lfs_sha256 or not file.git_sha1):
        text = gitids.pointer(sha256, file.size)
        return Entry(file.path, file.size, gitids.blob_id(text), sha256, len(text), folder)
    return Entry(file.path, file.size, file.git_sha1 or "", None, 0, folder)


@dataclasses.dataclass(frozen=True)
class Tree:
    """Everything that is served of one commit.

    Attributes:
        commit: 40 hex digits.
        created: When the newest part of it was published, seconds since 1970 (UTC).
        entries: The files, sorted by path.
    """

    commit: str
    created: float
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> Tree:
        """The union of snapshots of one commit, given newest first.

        One commit has one content for each path, so where snapshots share a path any will do.
        """
        found: dict[str, Entry] = {}
        for snapshot in snapshots:
            for file in snapshot.files:
                if file.path not in found:
                    found[file.path] = entry(file, snapshot.path or "")
        entries = tuple(found[path] for path in sorted(found))
        return cls(snapshots[0].commit, snapshots[0].created, entries)

    def node(self, path: str) -> Node | None:
        """The file or folder at a path."""
        return self._nodes.get(path)

    def file(self, path: str) -> Entry | None:
        """The file at a path."""
        node = self._nodes.get(path)
        return node if isinstance(node, Entry) else None

    def page(
        self, folder: str, *, recursive: bool, after: str | None, limit: int
    ) -> tuple[list[Node], str | None]:
        """A page of what lies below a folder, sorted by path.

        Args:
            folder: A folder's path; empty for the whole tree.
            recursive: Everything below it, folders too; else its direct children.
            after: The last path of the page before; None for the first page.
            limit: Nodes on a page.

        Returns:
            The nodes, and what to pass as `after` for the next page; None at the end.
        """
        paths = self._paths if recursive else self._children.get(folder, [])
        start, end = 0, len(paths)
        if folder and recursive:
            # Whatever begins with `folder/` lies together; `0` is the character after the slash.
            start, end = (bisect.bisect_left(paths, f"{folder}{c}") for c in "/0")
        if after is not None:
            start = max(start, bisect.bisect_right(paths, after))
        stop = min(end, start + limit)
        nodes = [self._nodes[path] for path in paths[start:stop]]
        return nodes, paths[stop - 1] if nodes and stop < end else None

    @functools.cached_property
    def _paths(self) -> list[str]:
        return sorted(self._nodes)

    @functools.cached_property
    def _nodes(self) -> dict[str, Node]:
        files = {entry.path: entry for entry in self.entries}
        return {**files, **_folders(self.entries)}

    @functools.cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for path in self._paths:
            children.setdefault(posixpath.dirname(path), []).append(path)
        return children


def _folders(entries: Iterable[Entry]) -> dict[str, Folder]:
    """Every folder above some files, by its path."""
    files: dict[str, list[tuple[str, str]]] = {}
    below: dict[str, set[str]] = {}
    for entry in entries:
        parent, name = posixpath.split(entry.path)
        files.setdefault(parent, []).append((name, entry.oid))
        while parent:
            parent, child = posixpath.dirname(parent), parent
            below.setdefault(parent, set()).add(child)
    found: dict[str, Folder] = {}
    every = {child for children in below.values() for child in children}
    for path in sorted(every, key=lambda p: p.count("/"), reverse=True):
        folders = [(posixpath.basename(c), found[c].oid) for c in below.get(path, ())]
        found[path] = Folder(path, gitids.tree_id(files.get(path, ()), folders))
    return found

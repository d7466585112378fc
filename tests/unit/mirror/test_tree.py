"""The files of a commit as entries, folders and pages."""

import pytest
from support.small_models import COMMIT, Origin, describe

from modelshelf.mirror.tree import FileEntry, FolderEntry, Tree
from modelshelf.shelf.values import Snapshot

FILES = {"config.json": b"{}", "a/b/c.txt": b"hello", "a-x/y": b"x", "a.txt": b"z"}


def snapshot(files: dict[str, bytes], path: str = "/s", origin: Origin = "hub") -> Snapshot:
    """A snapshot of some files, with a folder as its path."""
    described = tuple(describe(p, c, origin=origin) for p, c in sorted(files.items()))
    return Snapshot("hf://o/n", "o/n", "main", COMMIT, described, path=path)


TREE = Tree.of([snapshot(FILES)])


def test_folders_have_the_ids_that_git_gives_them() -> None:
    """Folder ids are git's own (`git write-tree` over these files printed them)."""
    assert TREE.entry("a") == FolderEntry("a", "14a74f5db31c12ec29588fa326c4db81a90fe83f")
    assert TREE.entry("a/b") == FolderEntry("a/b", "0004d4b9b2f0d667f93d3c99d72d264430db680e")
    assert TREE.entry("a-x") == FolderEntry("a-x", "4a507927e244b807acb6220ef712c71af38a270b")


def test_a_git_file_is_shown_with_its_blob_id() -> None:
    """A file for which the source stated a git blob id is not shown as an LFS file."""
    oid = "9e26dfeeb6e641a33dae4961196235bdb965b21b"
    assert TREE.file("config.json") == FileEntry("config.json", 2, oid, None, 0, "/s")


@pytest.mark.parametrize("origin", ["hub", "local"])
def test_files_known_by_sha256_are_shown_as_lfs(origin: Origin) -> None:
    """LFS files, and local files with only a sha256, have the id and size of a pointer."""
    tree = Tree.of([snapshot({"w.gguf": b"abc"}, origin=origin)])
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    # `git hash-object` of the three lines of the pointer.
    oid = "80d7d501c2b256023dc42e46d958b9ac2ec283ee"
    assert tree.file("w.gguf") == FileEntry("w.gguf", 3, oid, sha256, 126, "/s")


def test_snapshots_of_one_commit_are_one_tree() -> None:
    """The union has each path once, taken from the newest snapshot that has it."""
    tree = Tree.of([snapshot({"a": b"1", "b": b"2"}, "/new"), snapshot({"b": b"2", "c": b"3"})])
    assert [(e.path, e.folder) for e in tree.entries] == [("a", "/new"), ("b", "/new"), ("c", "/s")]


@pytest.mark.parametrize(
    ("folder", "recursive", "paths"),
    [
        ("", False, ["a", "a-x", "a.txt", "config.json"]),
        ("", True, ["a", "a-x", "a-x/y", "a.txt", "a/b", "a/b/c.txt", "config.json"]),
        ("a", False, ["a/b"]),
        ("a", True, ["a/b", "a/b/c.txt"]),
        ("a/b", True, ["a/b/c.txt"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_join_to_the_whole(
    *, folder: str, recursive: bool, paths: list[str], limit: int
) -> None:
    """Whatever the page size, following the pages lists everything once, and then ends."""
    found: list[str] = []
    after = None
    for _ in range(len(paths) + 1):
        nodes, after = TREE.page(folder, recursive=recursive, after=after, limit=limit)
        assert 0 < len(nodes) <= limit
        found += [node.path for node in nodes]
        if after is None:
            break
    assert found == paths


def test_a_cursor_from_elsewhere_is_harmless() -> None:
    """A cursor before a folder gives the folder's entries, and a cursor after it gives none."""
    assert TREE.page("a", recursive=True, after="", limit=1)[0] == [TREE.entry("a/b")]
    assert TREE.page("a", recursive=True, after="zzz", limit=1) == ([], None)

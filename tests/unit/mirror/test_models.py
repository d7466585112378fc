"""What the names of revisions mean."""

import pytest
from support.small_models import describe

from modelshelf.mirror.models import Model
from modelshelf.shelf.values import Snapshot

OLD, NEW = "0" * 40, "1" * 40


def snapshot(commit: str, revision: str, *paths: str) -> Snapshot:
    """A snapshot with some small files."""
    files = tuple(describe(path, path.encode()) for path in paths)
    return Snapshot("hf://o/n", "o/n", revision, commit, files, created=1.0, path="/s")


Q8 = snapshot(NEW, "main", "config.json", "q8.gguf")
Q4 = snapshot(NEW, NEW, "config.json", "q4.gguf")
V1 = snapshot(OLD, "v1", "config.json", "old.gguf")
MODEL = Model("o/n", (Q8, V1, Q4), {"prod": Q4.id, "main": V1.id, "gone": f"{OLD}-00000000"})


def paths(revision: str) -> list[str] | None:
    """The paths served at a revision."""
    tree = MODEL.tree(revision)
    return None if tree is None else [entry.path for entry in tree.entries]


@pytest.mark.parametrize("revision", ["main", NEW, "prod"])
def test_names_mean_a_commit(revision: str) -> None:
    """`main`, a commit and a tag each show every file that the shelf has of their commit."""
    assert paths(revision) == ["config.json", "q4.gguf", "q8.gguf"]


@pytest.mark.parametrize("revision", ["v1", OLD])
def test_recorded_revisions_and_old_commits_resolve(revision: str) -> None:
    """The revision that an older snapshot was pulled by still resolves to its commit."""
    assert paths(revision) == ["config.json", "old.gguf"]


def test_a_snapshot_id_means_that_choice_alone() -> None:
    """A full snapshot id shows only the files of that snapshot."""
    assert paths(Q4.id) == ["config.json", "q4.gguf"]


@pytest.mark.parametrize("revision", ["", "v2", NEW[:7], "2" * 40, "gone", f"{OLD}-00000000"])
def test_other_names_mean_nothing(revision: str) -> None:
    """Unknown names, shortened commits and tags of removed snapshots do not resolve."""
    assert MODEL.tree(revision) is None


def test_refs_list_what_resolves() -> None:
    """Branches are `main` and recorded names, tags those whose snapshot is here."""
    assert MODEL.branches() == {"main": NEW, "v1": OLD}
    assert MODEL.tag_commits() == {"main": OLD, "prod": NEW}

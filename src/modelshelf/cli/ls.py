"""`modelshelf ls`: the snapshots on the shelf."""

from __future__ import annotations

from collections.abc import Sequence

from modelshelf.cli import formats
from modelshelf.cli.verb import Run, verb
from modelshelf.shelf.missing_files import find_missing_files
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import File, Snapshot


@verb
def ls(run: Run) -> None:
    """List the snapshots on the shelf, the newest first.

    A snapshot with missing files has `2 of 3` in the column FILES.
    """
    shelf = Shelf(run.shelf)
    snapshots = shelf.snapshots()
    tags = {repo_id: shelf.tags(repo_id) for repo_id in {s.repo_id for s in snapshots}}
    found = [(s, find_missing_files(s)) for s in snapshots]
    run.output.document([summary(s, tags[s.repo_id], missing) for s, missing in found])
    run.output.table(
        ("MODEL", "SNAPSHOT", "SIZE>", "FILES>", "PULLED", "TAGS"),
        [
            (
                s.repo_id,
                formats.short_id(s.id),
                formats.size(s.size),
                _count_files(s, missing),
                formats.date(s.created),
                ", ".join(tags_of(s, tags[s.repo_id])),
            )
            for s, missing in found
        ],
    )
    if not snapshots:
        run.output.note(f"the shelf {shelf.path} is empty: modelshelf pull hf://org/name")


def _count_files(snapshot: Snapshot, missing: Sequence[File]) -> str:
    """The number of a snapshot's files, or how many of them are there if some are missing."""
    count = len(snapshot.files)
    return f"{count - len(missing)} of {count}" if missing else str(count)


def tags_of(snapshot: Snapshot, tags: dict[str, str]) -> list[str]:
    """The tags that point at a snapshot, sorted."""
    return sorted(tag for tag, snapshot_id in tags.items() if snapshot_id == snapshot.id)


def summary(snapshot: Snapshot, tags: dict[str, str], missing: Sequence[File]) -> dict[str, object]:
    """A snapshot for JSON output: the fields of `.snapshot.json`, and its path, size and tags.

    Args:
        snapshot: The snapshot.
        tags: The tags of its model: tag → snapshot id.
        missing: Its files that are not there in their sizes.
    """
    record = snapshot.to_json()
    del record["files"]
    return {
        "id": snapshot.id,
        **record,
        "path": snapshot.path,
        "bytes": snapshot.size,
        "files": len(snapshot.files),
        "missing": [file.path for file in missing],
        "tags": tags_of(snapshot, tags),
    }

"""Purging: delete models from a shelf for good, whoever reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from modelshelf.shelf import layout
from modelshelf.shelf.events import Listener, Purged, ignore
from modelshelf.shelf.files import delete_tree, explain_os_errors
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef


def purge(shelf: str, repo_ids: Iterable[str], *, listener: Listener = ignore) -> None:
    """Delete every snapshot, tag, compiled cache and leftover of some models, at once.

    Args:
        shelf: The shelf's folder.
        repo_ids: `org/name` of each model; one that is not there is fine.
        listener: Told what was deleted.

    Raises:
        UsageError: A name is not `org/name`.
        NotAShelfError: There is no shelf.
        NotWritableError: This user may not delete there.
    """
    refs = [ModelRef.parse(repo_id) for repo_id in repo_ids]
    opened = Shelf(shelf)
    for ref in refs:
        snapshots = opened.snapshots(ref.repo_id)
        folders = (
            layout.model_folder,
            layout.tags_folder,
            layout.compile_cache_folder,
            layout.staging_parent,
        )
        with explain_os_errors(opened.path):
            for path in (os.path.join(opened.path, at(ref.repo_id)) for at in folders):
                # Readers see a model go in one step, whatever the deletion takes.
                delete_tree(opened.move_to_trash(path))
        size = sum(snapshot.size for snapshot in snapshots)
        listener(Purged(ref.repo_id, len(snapshots), size))

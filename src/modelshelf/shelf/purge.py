"""Purging: delete models from a shelf at once, without asking whether somebody reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from modelshelf.shelf import layout
from modelshelf.shelf.events import Listener, Purged, ignore
from modelshelf.shelf.files import delete_tree, explain_os_errors
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef


def purge(shelf: str, repo_ids: Iterable[str], *, listener: Listener = ignore) -> None:
    """Delete every snapshot, tag, compile cache and leftover of some models.

    Unlike `Shelf.remove`, this deletes without a grace period, and leases do not stop it.

    Args:
        shelf: The shelf's folder.
        repo_ids: `org/name` of each model; a model that is not there is no error.
        listener: Gets an event for each model.

    Raises:
        UsageError: A name is not `org/name`.
        NotAShelfError: The folder is no shelf.
        NotWritableError: This user may not delete there.
    """
    # All names are checked before the first deletion.
    refs = [ModelRef.parse(repo_id) for repo_id in repo_ids]
    opened_shelf = Shelf(shelf)
    for ref in refs:
        snapshots = opened_shelf.snapshots(ref.repo_id)
        folders = (
            layout.model_folder,
            layout.tags_folder,
            layout.compile_cache_folder,
            layout.staging_parent,
        )
        with explain_os_errors(opened_shelf.path):
            for folder in folders:
                path = os.path.join(opened_shelf.path, folder(ref.repo_id))
                # Renamed first: readers see a model vanish in one step, however long the deletion
                # takes.
                delete_tree(opened_shelf.move_to_trash(path))
        size = sum(snapshot.size for snapshot in snapshots)
        listener(Purged(ref.repo_id, len(snapshots), size))

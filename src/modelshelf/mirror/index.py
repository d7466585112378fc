"""`Index`: the models of a shelf, read again when the shelf changes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from modelshelf.mirror.models import Model
from modelshelf.shelf import layout
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.files import list_names
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import ModelRef, Snapshot

FRESH_SECONDS = 0.5  # for which a model that was read is not read again

# The inode and the modification time in nanoseconds. The record of a snapshot is never rewritten,
# so a file with the same stamp has the same content.
_Stamp = tuple[int, int]


class Index:
    """Finds models by name. Each is read from the disk at most twice a second. Thread-safe.

    Args:
        shelf: The shelf that is served.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, shelf: Shelf, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()
        self._models: dict[str, tuple[float, Model]] = {}
        self._records: dict[str, dict[str, tuple[_Stamp, Snapshot]]] = {}

    def model(self, repo_id: str) -> Model | None:
        """Find a model; None if the shelf has no snapshot of it.

        Raises:
            OSError: The shelf cannot be read.
        """
        if not _well_formed(repo_id):
            return None
        read_at, model = self._models.get(repo_id, (float("-inf"), None))
        if self._clock() - read_at < FRESH_SECONDS:
            return model
        with self._lock:
            return self._read_model(repo_id)

    def repo_ids(self) -> list[str]:
        """List the names of all models, sorted. A model may have no complete snapshot left."""
        models = os.path.join(self._shelf.path, "models")
        return [
            f"{org}/{name}"
            for org in list_names(models)
            for name in list_names(os.path.join(models, org))
        ]

    def _read_model(self, repo_id: str) -> Model | None:
        read_at, model = self._models.get(repo_id, (float("-inf"), None))
        now = self._clock()
        if now - read_at < FRESH_SECONDS:
            return model
        snapshots = self._snapshots(repo_id)
        if not snapshots:
            # Unknown names are not remembered, because clients may ask for any number of them.
            self._models.pop(repo_id, None)
            self._records.pop(repo_id, None)
            return None
        current = Model(repo_id, snapshots, self._shelf.tags(repo_id))
        # If the model is unchanged, the old object is kept, because it has already built its trees.
        self._models[repo_id] = (now, model if model == current else current)
        return self._models[repo_id][1]

    def _snapshots(self, repo_id: str) -> tuple[Snapshot, ...]:
        """Read the snapshots of a model, newest first. Only changed records are parsed again."""
        known = self._records.get(repo_id, {})
        current: dict[str, tuple[_Stamp, Snapshot]] = {}
        folder = os.path.join(self._shelf.path, layout.model_folder(repo_id))
        for name in list_names(folder):
            stamp = _stamp(os.path.join(folder, name, layout.SNAPSHOT_FILE))
            if stamp is None:
                continue
            if name in known and known[name][0] == stamp:
                current[name] = known[name]
            elif (snapshot := self._shelf.get(repo_id, name)) is not None:
                current[name] = (stamp, snapshot)
        self._records[repo_id] = current
        # Equal times are ordered by name, which is the snapshot's id. `snapshot.id` would hash all
        # paths again.
        newest_first = sorted(
            current, key=lambda name: (current[name][1].created, name), reverse=True
        )
        return tuple(current[name][1] for name in newest_first)


def _well_formed(repo_id: str) -> bool:
    try:
        return ModelRef.parse(repo_id).at is None
    except UsageError:
        return False


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns

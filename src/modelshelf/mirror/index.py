"""What the shelf holds, read again when it changes: the mirror's eyes."""

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

FRESH = 0.5  # seconds for which a look at a model's folder is believed

# Inode and nanoseconds: a snapshot's record is written once, so the same file says the same.
_Stamp = tuple[int, int]


class Index:
    """Models by name, read from the disk at most twice a second each. Safe for threads.

    Args:
        shelf: The shelf that is served.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, shelf: Shelf, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()
        self._models: dict[str, tuple[float, Model]] = {}
        self._read: dict[str, dict[str, tuple[_Stamp, Snapshot]]] = {}

    def model(self, repo_id: str) -> Model | None:
        """A model; None if the shelf has no such, or no whole snapshot of it.

        Raises:
            OSError: The shelf cannot be read.
        """
        if not _well_formed(repo_id):
            return None
        looked, model = self._models.get(repo_id, (float("-inf"), None))
        if self._clock() - looked < FRESH:
            return model
        with self._lock:
            return self._look(repo_id)

    def repo_ids(self) -> list[str]:
        """The names of all models, sorted; of some no whole snapshot may be left."""
        models = os.path.join(self._shelf.path, "models")
        return [
            f"{org}/{name}"
            for org in list_names(models)
            for name in list_names(os.path.join(models, org))
        ]

    def _look(self, repo_id: str) -> Model | None:
        looked, model = self._models.get(repo_id, (float("-inf"), None))
        now = self._clock()
        if now - looked < FRESH:
            return model
        snapshots = self._snapshots(repo_id)
        if not snapshots:
            # Nothing is remembered of names that are not here: anybody may ask for any.
            self._models.pop(repo_id, None)
            self._read.pop(repo_id, None)
            return None
        seen = Model(repo_id, snapshots, self._shelf.tags(repo_id))
        # An equal model is kept for the trees that it has built.
        self._models[repo_id] = (now, model if model == seen else seen)
        return self._models[repo_id][1]

    def _snapshots(self, repo_id: str) -> tuple[Snapshot, ...]:
        """The model's snapshots, newest first; only records that changed are parsed."""
        known = self._read.get(repo_id, {})
        found: dict[str, tuple[_Stamp, Snapshot]] = {}
        folder = os.path.join(self._shelf.path, layout.model_folder(repo_id))
        for name in list_names(folder):
            stamp = _stamp(os.path.join(folder, name, layout.SNAPSHOT_FILE))
            if stamp is None:
                continue
            if name in known and known[name][0] == stamp:
                found[name] = known[name]
            elif (snapshot := self._shelf.get(repo_id, name)) is not None:
                found[name] = (stamp, snapshot)
        self._read[repo_id] = found
        # By name, since a snapshot hashes all its paths to tell its id.
        newest_first = sorted(found, key=lambda name: (found[name][1].created, name), reverse=True)
        return tuple(found[name][1] for name in newest_first)


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

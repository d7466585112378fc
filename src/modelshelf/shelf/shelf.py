"""The shelf: a folder that many hosts may mount, holding whole and verified models.

**A model appears in one step.** A pull writes all files into a folder of its own below `staging/`,
syncs them, and renames the folder to its place below `models/`. rename(2) is atomic on the server,
so a reader on any host sees the whole snapshot or nothing. Its record, `.snapshot.json`, is written
last; a folder without it is no snapshot.

**Two hosts may do the same thing at once**, and no lock keeps them apart (see `leases` for why).
Each operation is a single rename, link or unlink, and the host that comes second finds the work
done. On NFS that can even be its own work: a server may carry out a rename whose answer gets lost,
and the client's repeated request then fails with ENOENT. So after a failed rename the shelf looks
whether the result is there.

**The names are durable, too.** After a rename the folder above is synced (see `files`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Sequence

from modelshelf.shelf import layout
from modelshelf.shelf.errors import (
    BusyError,
    NotOnShelfError,
    ShelfError,
    UsageError,
)
from modelshelf.shelf.files import (
    FOLDER_MODE,
    READ_ONLY_FOLDER_MODE,
    explain_os_errors,
    explain_read_errors,
    list_names,
    make_folders,
    read_json,
    set_mode,
    sync_to_disk,
    write_json,
)
from modelshelf.shelf.leases import live_holders
from modelshelf.shelf.marker import marker_path, not_a_shelf_error, read_shelf_id, write_marker
from modelshelf.shelf.missing_files import add_missing_files
from modelshelf.shelf.trash import TRASH_GRACE_SECONDS, empty_trash, move_to_trash
from modelshelf.shelf.values import ModelRef, Snapshot

# Filesystems and network storages make folders of these names in their root folder.
_FILESYSTEM_NAMES = (
    "lost+found",
    "@eaDir",
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "System Volume Information",
)


class Shelf:
    """A shelf that exists. Every method may be called while other hosts use it too.

    Args:
        path: The shelf's folder.

    Raises:
        NotAShelfError: The folder is missing or is no shelf, or a newer modelshelf made it.
        NotWritableError: This user may not read it.
        ShelfError: The filesystem refused for another reason.

    Example:
        >>> shelf = Shelf.create(tmp / "shelf")
        >>> [snapshot.repo_id for snapshot in shelf.snapshots()]
        []
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        self.id = read_shelf_id(self.path)

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, shared: bool = False) -> Shelf:
        """Open the shelf at a path. Where the folder is missing or empty, make it one first.

        Args:
            path: The shelf's folder.
            shared: Whether the folder may hold other things, too, for example on a share that
                other people fill. The names that a shelf needs must be free there.

        Raises:
            NotAShelfError: The folder holds something else.
            NotWritableError: It cannot be made.
        """
        path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        if not os.path.exists(marker_path(path)):
            if os.path.lexists(path) and not os.path.isdir(path):
                raise not_a_shelf_error(path)
            with explain_os_errors(path):
                _make_folder(path)
                names = [name for name in os.listdir(path) if not _is_ignored(name)]
                if any(not shared or name in layout.FOLDERS for name in names):
                    # It is no empty folder, or another host made it a shelf a moment ago.
                    return cls(path)
                write_marker(path)
        if shared:
            # Pods mount this folder by itself, read-only, and such a mount cannot make it.
            with contextlib.suppress(OSError):
                make_folders(path, layout.COMPILE_CACHE)
        return cls(path)

    def snapshots(self, repo_id: str | None = None) -> list[Snapshot]:
        """The published snapshots of the shelf or of one model, newest first.

        A folder without a readable `.snapshot.json` does not count.

        Args:
            repo_id: `org/name` of one model; None for all.

        Raises:
            NotWritableError: This user may not read the folders.
        """
        with explain_read_errors(self.path):
            models = [repo_id] if repo_id else self._repo_ids()
            found = [
                snapshot
                for model in models
                for name in list_names(self._path_of(layout.model_folder(model)))
                if (snapshot := self.get(model, name)) is not None
            ]
        return sorted(found, key=lambda s: (s.created, s.id), reverse=True)

    def get(self, repo_id: str, snapshot_id: str) -> Snapshot | None:
        """One snapshot by its whole id; None if it is not on the shelf."""
        path = self._path_of(layout.snapshot_folder(repo_id, snapshot_id))
        return read_snapshot(path, repo_id, snapshot_id)

    def find(
        self, ref: str | ModelRef, *, accept: Callable[[Snapshot], bool] | None = None
    ) -> Snapshot:
        """The snapshot that a reference names.

        Args:
            ref: `org/name` (the newest), `org/name@tag` or `org/name@first-digits-of-an-id`.
            accept: For `org/name` alone: the newest snapshot is meant for which this is true.

        Raises:
            UsageError: The reference is malformed, or several ids begin with its digits.
            NotOnShelfError: The shelf has no such snapshot.
        """
        ref = ModelRef.parse(ref) if isinstance(ref, str) else ref
        snapshots = self.snapshots(ref.repo_id)
        if not snapshots:
            raise NotOnShelfError(
                f"{ref.repo_id} is not on the shelf {self.path}",
                hint=f"modelshelf pull hf://{ref.repo_id}; modelshelf ls shows what is there",
            )
        if ref.at is None:
            return self._newest(ref, snapshots, accept)
        tagged = self.tags(ref.repo_id).get(ref.at)
        matches = [s for s in snapshots if s.id == tagged]
        matches = matches or [s for s in snapshots if s.id.startswith(ref.at)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UsageError(
                f"{ref} fits several snapshots: {', '.join(s.id for s in matches)}",
                hint="give more digits",
            )
        raise NotOnShelfError(
            f"{ref.repo_id} has neither a tag nor a snapshot {ref.at!r} on the shelf {self.path}",
            hint=f"modelshelf show {ref.repo_id} lists both",
        )

    def _newest(
        self,
        ref: ModelRef,
        snapshots: list[Snapshot],
        accept: Callable[[Snapshot], bool] | None,
    ) -> Snapshot:
        for snapshot in snapshots:
            if accept is None or accept(snapshot):
                return snapshot
        raise NotOnShelfError(
            f"no snapshot of {ref.repo_id} on the shelf {self.path} has the files this needs",
            hint=f"pull it again with another --for; modelshelf show {ref.repo_id} lists the files",
        )

    def tags(self, repo_id: str) -> dict[str, str]:
        """The tags of a model: tag → snapshot id.

        Raises:
            NotWritableError: This user may not read them.
        """
        folder = self._path_of(layout.tags_folder(repo_id))
        tags = {}
        with explain_read_errors(self.path):
            for name in list_names(folder):
                record = read_json(os.path.join(folder, name)) if name.endswith(".json") else None
                if record and isinstance(record.get("snapshot"), str):
                    tags[name.removesuffix(".json")] = record["snapshot"]
        return tags

    def tag(self, snapshot: Snapshot, tag: str) -> None:
        """Point a tag at a snapshot. Its file keeps the older snapshots in `previous`.

        Raises:
            UsageError: The name cannot be a tag.
            NotOnShelfError: The snapshot is not on this shelf.
            NotWritableError, NoSpaceError: The tag could not be written.
        """
        if self.get(snapshot.repo_id, snapshot.id) is None:
            raise NotOnShelfError(f"{snapshot.repo_id}@{snapshot.id} is not on {self.path}")
        relative = layout.tag_file(snapshot.repo_id, tag)
        with explain_read_errors(self.path):
            old = read_json(self._path_of(relative)) or {}
        recorded = old.get("previous")
        recorded = recorded if isinstance(recorded, list) else []
        previous = [id_ for id_ in recorded if isinstance(id_, str)]
        if old.get("snapshot") == snapshot.id:
            return
        if isinstance(old.get("snapshot"), str):
            previous.insert(0, old["snapshot"])
        with explain_os_errors(self._path_of(relative)):
            make_folders(self.path, os.path.dirname(relative))
            write_json(self._path_of(relative), {"snapshot": snapshot.id, "previous": previous})

    def publish(self, staged: str, snapshot: Snapshot) -> Snapshot:
        """Rename a writer's finished folder to its place on the shelf.

        If another writer published the same snapshot first, that one stays, and the folder goes to
        the trash. Files that the published one has lost are moved there from the folder.

        Args:
            staged: The folder. It holds the files, synced and 0444 in 0555 folders, and no others.
            snapshot: What it holds.

        Returns:
            The snapshot as it lies on the shelf.

        Raises:
            ShelfError: The folder vanished, or the filesystem refused.
        """
        relative = layout.snapshot_folder(snapshot.repo_id, snapshot.id)
        target = self._path_of(relative)
        with explain_os_errors(target):
            write_json(os.path.join(staged, layout.SNAPSHOT_FILE), snapshot.to_json(), mode=0o444)
            make_folders(self.path, os.path.dirname(relative))
            self._rename_into_place(staged, target, snapshot)
            # Not before the rename: a folder without write permission cannot be renamed to another
            # parent. A folder of another user's cannot be changed, and needs no change.
            set_mode(target, READ_ONLY_FOLDER_MODE)
            sync_to_disk(os.path.dirname(target))
        published = self.get(snapshot.repo_id, snapshot.id)
        if published is None:
            raise ShelfError(f"{target} vanished while it was published")
        return published

    def _rename_into_place(self, staged: str, target: str, snapshot: Snapshot) -> None:
        try:
            os.rename(staged, target)
        except OSError as error:
            # Another writer was first, or an NFS server answered our own rename twice, or the
            # snapshot was published before and has lost files since.
            published = self.get(snapshot.repo_id, snapshot.id)
            if published is not None:
                add_missing_files(published, staged)
                self.move_to_trash(staged)
                return
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            # Something stands there that is no snapshot.
            self.move_to_trash(target)
            os.rename(staged, target)

    def remove(self, snapshot: Snapshot, *, force: bool = False) -> None:
        """Rename a snapshot into the trash, where it is deleted after a grace period.

        Args:
            snapshot: What to remove.
            force: Remove it although tags name it; those tags go too.

        Raises:
            BusyError: A server that reads it holds a lease, or tags name it.
            NotOnShelfError: It is not on this shelf.
            NotWritableError: This user may not remove it.
        """
        if self.get(snapshot.repo_id, snapshot.id) is None:
            raise NotOnShelfError(f"{snapshot.repo_id}@{snapshot.id} is not on {self.path}")
        for holder in live_holders(self.path, reader_lease_key(snapshot)):
            raise BusyError(
                f"{snapshot.repo_id}@{snapshot.id} is being served by {holder}",
                hint="stop that server first",
            )
        tags = [t for t, id_ in self.tags(snapshot.repo_id).items() if id_ == snapshot.id]
        if tags and not force:
            raise BusyError(
                f"{snapshot.repo_id}@{snapshot.id} is tagged {', '.join(sorted(tags))}",
                hint="--force removes it and its tags",
            )
        with explain_os_errors(self.path):
            for tag in tags:
                os.unlink(self._path_of(layout.tag_file(snapshot.repo_id, tag)))
            self.move_to_trash(self._path_of(layout.snapshot_folder(snapshot.repo_id, snapshot.id)))
            caches = self._path_of(layout.compile_cache_folder(snapshot.repo_id, snapshot.id))
            if os.path.isdir(caches):
                self.move_to_trash(caches)

    def move_to_trash(self, path: str) -> str:
        """Rename a folder of this shelf into its trash; a folder that is not there is no error.

        Returns:
            The folder in the trash that holds it.

        Raises:
            OSError: The filesystem refused.
        """
        return move_to_trash(self.path, path)

    def empty_trash(self, grace: float = TRASH_GRACE_SECONDS) -> None:
        """Delete what has been in the trash for `grace` seconds; what cannot be deleted stays."""
        empty_trash(self.path, grace)

    def require_writable(self, folders: Sequence[str] = ("models", "staging")) -> None:
        """Make sure, before the first byte is fetched, that this user may write here.

        The only test that holds on every filesystem is to make something: permissions, ACLs, NFS
        exports (root_squash, ro) and quotas all have their say.

        Raises:
            NotWritableError, NoSpaceError, ShelfError: It may not, and why.
        """
        with explain_os_errors(self.path):
            for folder in folders:
                probe = os.path.join(make_folders(self.path, folder), f".probe.{uuid.uuid4().hex}")
                os.mkdir(probe)
                os.rmdir(probe)

    def _repo_ids(self) -> list[str]:
        models = self._path_of("models")
        return [
            f"{org}/{name}"
            for org in list_names(models)
            for name in list_names(os.path.join(models, org))
        ]

    def _path_of(self, relative: str) -> str:
        return os.path.join(self.path, relative)


def reader_lease_key(snapshot: Snapshot) -> str:
    """What the keys of all leases begin with whose holders read this snapshot."""
    return f"read/{snapshot.repo_id}/{snapshot.id}"


def read_snapshot(path: str, repo_id: str, snapshot_id: str) -> Snapshot | None:
    """Read the record of a snapshot in its folder.

    Args:
        path: The folder.
        repo_id: The model whose folder it is.
        snapshot_id: The snapshot whose folder it is.

    Returns:
        None if there is no readable record, or if it is another snapshot's.
    """
    try:
        record = read_json(os.path.join(path, layout.SNAPSHOT_FILE))
        snapshot = Snapshot.from_json(record, path) if record else None
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if snapshot is None or (snapshot.repo_id, snapshot.id) != (repo_id, snapshot_id):
        return None
    return snapshot


def _make_folder(path: str) -> None:
    """Make a shelf's own folder with mode 0755, and those above it with the user's umask."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
        set_mode(path, FOLDER_MODE)


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in _FILESYSTEM_NAMES

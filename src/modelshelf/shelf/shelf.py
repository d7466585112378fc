"""The shelf: a folder that many hosts may mount, holding whole and proven models."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterator, Sequence

from modelshelf.shelf import layout
from modelshelf.shelf.errors import (
    BusyError,
    NotAShelfError,
    NotOnShelfError,
    NotWritableError,
    ShelfError,
    UsageError,
)
from modelshelf.shelf.files import (
    FOLDER_MODE,
    delete_tree,
    explain_os_errors,
    filesystem_time,
    list_names,
    make_folders,
    read_json,
    sync_to_disk,
    to_shelf_error,
    write_json,
)
from modelshelf.shelf.leases import live_holders
from modelshelf.shelf.values import ModelRef, Snapshot

TRASH_GRACE = 3600.0  # seconds; longer than an engine takes to load a model
_READ_ONLY = 0o555

# What a fresh filesystem or a storage server puts into an export's root by itself.
_NOT_OURS = ("lost+found",)


class Shelf:
    """A shelf that exists. Every method may be called while other hosts use it too.

    Args:
        path: The shelf's folder.

    Raises:
        NotAShelfError: The folder is missing or no shelf, or a newer modelshelf made it.
        NotWritableError: This user may not even read it.
        ShelfError: The filesystem refused for another reason.

    Example:
        >>> shelf = Shelf.create(tmp / "shelf")
        >>> [snapshot.repo_id for snapshot in shelf.snapshots()]
        []
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        with _readable(self.path):
            marker = read_json(os.path.join(self.path, layout.SHELF_FILE))
        if marker is None or not isinstance(marker.get("layout"), int):
            raise _not_a_shelf(self.path)
        if marker["layout"] > layout.LAYOUT:
            raise NotAShelfError(
                f"{self.path} has layout {marker['layout']}, made by a newer modelshelf; "
                f"this one knows layout {layout.LAYOUT}",
                hint="upgrade modelshelf",
            )
        self.id = str(marker.get("id", ""))

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, shared: bool = False) -> Shelf:
        """Open the shelf at a path, making it first where the folder is missing or empty.

        Args:
            path: The shelf's folder.
            shared: Whether it may hold other things, too, as a share that others fill does; the
                names that a shelf needs must be free there.

        Raises:
            NotAShelfError: The folder holds something else.
            NotWritableError: It cannot be made.
        """
        path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        marker = os.path.join(path, layout.SHELF_FILE)
        if not os.path.exists(marker):
            if os.path.lexists(path) and not os.path.isdir(path):
                raise _not_a_shelf(path)
            with explain_os_errors(path):
                _make_folder(path)
                taken = [name for name in os.listdir(path) if not _ignored(name)]
                if any(not shared or name in layout.FOLDERS for name in taken):
                    # Another host may have made it since.
                    return cls(path)
                _write_marker(marker)
        if shared:
            # Pods mount it by itself, and a mount that may not write cannot make it.
            with contextlib.suppress(OSError):
                make_folders(path, layout.COMPILE_CACHE)
        return cls(path)

    def snapshots(self, repo_id: str | None = None) -> list[Snapshot]:
        """The published snapshots of the shelf or of one model, newest first.

        A folder without a readable `.snapshot.json` is not there.

        Raises:
            NotWritableError: This user may not read the folders.
        """
        with _readable(self.path):
            models = [repo_id] if repo_id else self._repo_ids()
            found = [
                snapshot
                for model in models
                for name in list_names(self._at(layout.model_folder(model)))
                if (snapshot := self.get(model, name)) is not None
            ]
        return sorted(found, key=lambda s: (s.created, s.id), reverse=True)

    def get(self, repo_id: str, snapshot_id: str) -> Snapshot | None:
        """One snapshot by its whole id; None if it is not on the shelf."""
        path = self._at(layout.snapshot_folder(repo_id, snapshot_id))
        return read_snapshot(path, repo_id, snapshot_id)

    def find(
        self, ref: str | ModelRef, *, accept: Callable[[Snapshot], bool] | None = None
    ) -> Snapshot:
        """The snapshot that a reference names.

        Args:
            ref: `org/name` (the newest), `org/name@tag` or `org/name@first-digits-of-an-id`.
            accept: For `org/name`: the newest that this accepts.

        Raises:
            UsageError: The reference is malformed, or its digits begin several ids.
            NotOnShelfError: Nothing on the shelf is meant.
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
        fits = [s for s in snapshots if s.id == tagged]
        fits = fits or [s for s in snapshots if s.id.startswith(ref.at)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise UsageError(
                f"{ref} fits several snapshots: {', '.join(s.id for s in fits)}",
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
        """Tag → snapshot id, of one model."""
        folder = self._at(layout.tags_folder(repo_id))
        tags = {}
        with _readable(self.path):
            for name in list_names(folder):
                record = read_json(os.path.join(folder, name)) if name.endswith(".json") else None
                if record and isinstance(record.get("snapshot"), str):
                    tags[name.removesuffix(".json")] = record["snapshot"]
        return tags

    def tag(self, snapshot: Snapshot, tag: str) -> None:
        """Point a tag at a snapshot; where it pointed before is kept in its `previous` list.

        Raises:
            UsageError: The name cannot be a tag.
            NotOnShelfError: The snapshot is not on this shelf.
            NotWritableError, NoSpaceError: The tag could not be written.
        """
        if self.get(snapshot.repo_id, snapshot.id) is None:
            raise NotOnShelfError(f"{snapshot.repo_id}@{snapshot.id} is not on {self.path}")
        relative = layout.tag_file(snapshot.repo_id, tag)
        with _readable(self.path):
            old = read_json(self._at(relative)) or {}
        kept = old.get("previous")
        previous = [p for p in kept if isinstance(p, str)] if isinstance(kept, list) else []
        if old.get("snapshot") == snapshot.id:
            return
        if isinstance(old.get("snapshot"), str):
            previous.insert(0, old["snapshot"])
        with explain_os_errors(self._at(relative)):
            make_folders(self.path, os.path.dirname(relative))
            write_json(self._at(relative), {"snapshot": snapshot.id, "previous": previous})

    def publish(self, staged: str, snapshot: Snapshot) -> Snapshot:
        """Rename a writer's finished folder to its place on the shelf.

        The folder holds the files, synced and 0444 in 0555 folders, and nothing else. When
        somebody else published the same snapshot first, theirs counts and ours is thrown away.

        Returns:
            The snapshot as it lies on the shelf.

        Raises:
            ShelfError: The folder vanished, or the filesystem refused.
        """
        relative = layout.snapshot_folder(snapshot.repo_id, snapshot.id)
        target = self._at(relative)
        with explain_os_errors(target):
            write_json(os.path.join(staged, layout.SNAPSHOT_FILE), snapshot.to_json(), mode=0o444)
            make_folders(self.path, os.path.dirname(relative))
            self._rename_into_place(staged, target, snapshot)
            # Only now: a folder without write permission cannot be renamed to another parent.
            with contextlib.suppress(PermissionError):
                os.chmod(target, _READ_ONLY)
            sync_to_disk(os.path.dirname(target))
        published = self.get(snapshot.repo_id, snapshot.id)
        if published is None:
            raise ShelfError(f"{target} vanished while it was published")
        return published

    def _rename_into_place(self, staged: str, target: str, snapshot: Snapshot) -> None:
        try:
            os.rename(staged, target)
        except OSError as error:
            # Also a rename that an NFS server carried out and answered twice ends here.
            if self.get(snapshot.repo_id, snapshot.id) is not None:
                self.move_to_trash(staged)
                return
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            self.move_to_trash(target)
            os.rename(staged, target)

    def remove(self, snapshot: Snapshot, *, force: bool = False) -> None:
        """Rename a snapshot into the trash, where it is deleted after a grace period.

        Args:
            snapshot: What to remove.
            force: Remove it although tags name it; those tags go too.

        Raises:
            BusyError: A lease says that somebody reads it, or tags name it.
            NotOnShelfError: It is not here.
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
                os.unlink(self._at(layout.tag_file(snapshot.repo_id, tag)))
            self.move_to_trash(self._at(layout.snapshot_folder(snapshot.repo_id, snapshot.id)))
            caches = self._at(layout.compile_cache_folder(snapshot.repo_id, snapshot.id))
            if os.path.isdir(caches):
                self.move_to_trash(caches)

    def discard(self, path: str) -> str:
        """Rename a folder of this shelf into the trash, if it is there.

        Returns:
            The folder in the trash that holds it.

        Raises:
            OSError: The filesystem refused.
        """
        grave = make_folders(self.path, os.path.join("trash", uuid.uuid4().hex))
        with contextlib.suppress(FileNotFoundError):
            os.chmod(path, FOLDER_MODE)
            os.rename(path, os.path.join(grave, os.path.basename(path)))
        return grave

    def empty_trash(self, grace: float = TRASH_GRACE) -> None:
        """Delete what has been in the trash for `grace` seconds; what cannot be deleted stays."""
        trash = self._at("trash")
        graves: list[str] = []
        now = 0.0
        with contextlib.suppress(OSError):
            graves = list_names(trash)
            now = filesystem_time(trash) if graves else 0.0
        for grave in (os.path.join(trash, name) for name in graves):
            with contextlib.suppress(OSError):
                if now - os.stat(grave).st_mtime >= grace:
                    delete_tree(grave)

    def require_writable(self, folders: Sequence[str] = ("models", "staging")) -> None:
        """Find out before the first byte whether this user may write here.

        Raises:
            NotWritableError, NoSpaceError, ShelfError: It may not, and why.
        """
        with explain_os_errors(self.path):
            for folder in folders:
                probe = os.path.join(make_folders(self.path, folder), f".probe.{uuid.uuid4().hex}")
                os.mkdir(probe)
                os.rmdir(probe)

    def _repo_ids(self) -> list[str]:
        models = self._at("models")
        return [
            f"{org}/{name}"
            for org in list_names(models)
            for name in list_names(os.path.join(models, org))
        ]

    def _at(self, relative: str) -> str:
        return os.path.join(self.path, relative)


def reader_lease_key(snapshot: Snapshot) -> str:
    """The beginning of the lease keys of those who read a snapshot."""
    return f"read/{snapshot.repo_id}/{snapshot.id}"


def read_snapshot(path: str, repo_id: str, snapshot_id: str) -> Snapshot | None:
    """The snapshot recorded in a folder; None unless it is the one that the folder's name says."""
    try:
        record = read_json(os.path.join(path, layout.SNAPSHOT_FILE))
        snapshot = Snapshot.from_json(record, path) if record else None
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if snapshot is None or (snapshot.repo_id, snapshot.id) != (repo_id, snapshot_id):
        return None
    return snapshot


def _not_a_shelf(path: str) -> NotAShelfError:
    if not os.path.lexists(path):
        return NotAShelfError(
            f"there is no shelf at {path}", hint="modelshelf pull makes one with its first model"
        )
    return NotAShelfError(
        f"{path} is not a shelf: it has no readable {layout.SHELF_FILE}",
        hint="name the shelf's own folder, or an empty one for a new shelf, with --shelf",
    )


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turn what the operating system says while a shelf is read into an error of ours."""
    try:
        yield
    except PermissionError as error:
        raise NotWritableError(
            f"user {os.geteuid()} may not read the shelf {path}: {error.filename}",
            hint="ask its owner for read permission, or use another --shelf",
        ) from error
    except OSError as error:
        raise to_shelf_error(error, path) from error


def _make_folder(path: str) -> None:
    """Make a shelf's own folder, 0755 whatever the umask; those above it are as the user has it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
        os.chmod(path, FOLDER_MODE)


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in _NOT_OURS


def _write_marker(marker: str) -> None:
    """Make `shelf.json` whole in one step; when two hosts do, the first one's stays."""
    temporary = os.path.join(os.path.dirname(marker), f".shelf.{uuid.uuid4().hex}")
    write_json(temporary, {"layout": layout.LAYOUT, "id": str(uuid.uuid4())})
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, marker)
    except OSError:
        os.rename(temporary, marker)
        return
    os.unlink(temporary)

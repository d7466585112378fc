"""Pulling: plan → fetch → verify → publish. The only place where bytes meet the shelf."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping, Sequence

from modelshelf.shelf import layout
from modelshelf.shelf.digests import Digest, hash_range
from modelshelf.shelf.errors import (
    BusyError,
    IntegrityError,
    NoSpaceError,
    NotFoundError,
    ShelfError,
)
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.files import delete_tree, explain_os_errors, free_bytes, list_names
from modelshelf.shelf.headers import check_header
from modelshelf.shelf.leases import Lease, LeaseObserver, LeaseTiming, remove_stale_lease
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import File, LeftOut, Snapshot
from modelshelf.shelf.version import TOOL
from modelshelf.transfer import leftovers
from modelshelf.transfer.events import FileDone, Planned, Published, Waiting
from modelshelf.transfer.fetch import Settings, fetch
from modelshelf.transfer.file_transfer import Origin
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.staging import Part, Staging

_LOOK = 0.5  # seconds between two looks at another's pull
_TAKEN_OVER = 5  # times that a pull begins again because its folder was taken
_FORGOTTEN = 7 * 24 * 3600.0  # seconds after which nobody comes back for a folder
_MARGIN = 16 << 20  # bytes that are left free for records and folders


@dataclasses.dataclass(frozen=True, slots=True)
class PullSpec:
    """What to pull.

    Attributes:
        snapshot: The files, with the checksums that the source states.
        origin: Where to fetch them; None if `folder` must have them all.
        folder: A folder that may have some of them already; each is verified.
        link: Whether files of `folder` may be linked instead of copied: they become read-only.
        left_out: What was not chosen, for the plan.
    """

    snapshot: Snapshot
    origin: Origin | None
    folder: str | None = None
    link: bool = False
    left_out: tuple[LeftOut, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Where each file will come from, before anything is written.

    Attributes:
        on_shelf: File path → a file of the shelf with the same content.
        begun: File path → bytes that dead writers left.
        in_folder: Paths of the files that the spec's folder seems to have.
        fetch: Bytes to fetch.
        here: Bytes that need not be fetched.
        write: Bytes that this filesystem must have room for.
    """

    on_shelf: Mapping[str, str]
    begun: Mapping[str, int]
    in_folder: tuple[str, ...]
    fetch: int
    here: int
    write: int


def plan(
    files: Sequence[File],
    shelved: Mapping[str, str],
    begun: Mapping[str, int],
    in_folder: Sequence[str],
    *,
    link: bool,
) -> Plan:
    """Decide where each file comes from: the shelf first, then leftovers, the folder, the source.

    Args:
        files: The files of the snapshot.
        shelved: Checksum → path of a file on the shelf.
        begun: File path → bytes that dead writers left of it.
        in_folder: Paths of files that the spec's folder has in the right size.
        link: Whether files of that folder are linked.
    """
    on_shelf = {f.path: shelved[f.checksum] for f in files if f.checksum in shelved}
    rest = [f for f in files if f.path not in on_shelf]
    kept = {f.path: begun[f.path] for f in rest if begun.get(f.path)}
    found = tuple(f.path for f in rest if f.path in in_folder and kept.get(f.path, 0) < f.size)
    fetched = sum(f.size - kept.get(f.path, 0) for f in rest if f.path not in found)
    copied = 0 if link else sum(f.size for f in rest if f.path in found)
    here = sum(f.size for f in files) - fetched
    return Plan(on_shelf, kept, found, fetched, here, fetched + copied)


def pull(
    shelf: Shelf,
    spec: PullSpec,
    *,
    listener: Listener = ignore,
    settings: Settings | None = None,
    patience: LeaseTiming | None = None,
) -> Snapshot:
    """Bring a snapshot to the shelf, whole and verified, or leave the shelf as it was.

    Several may pull one snapshot at once: one fetches and the others wait for it. What a pull
    that was cut off has written is kept and used by the next one.

    Args:
        shelf: Where to.
        spec: What, and from where.
        listener: Told what happens, by one thread at a time.
        settings: How to fetch.
        patience: How long another's lease counts without a heartbeat.

    Returns:
        The snapshot as it lies on the shelf.

    Raises:
        SourceError: The source refuses, or kept failing.
        IntegrityError: The content is not what its checksum states, or its names are unsafe.
        NoSpaceError: There is no room for it.
        NotWritableError: This user may not write here.
    """
    began = time.monotonic()
    snapshot = spec.snapshot
    layout.refuse_unsafe_names(file.path for file in snapshot.files)
    for _ in range(_TAKEN_OVER):
        how = _wait_for_turn(shelf, snapshot, listener, patience or LeaseTiming())
        if isinstance(how, Lease):
            with how:
                published, fetched = _pull_once(shelf, spec, listener, settings or Settings())
            how = "pulled"
        else:
            published, fetched = shelf.get(snapshot.repo_id, snapshot.id), 0
            _sweep(shelf, snapshot)
        if published is not None:
            seconds = time.monotonic() - began
            listener(published_event(published, how, fetched, seconds))
            return published
    raise BusyError(
        f"the pull of {snapshot.repo_id} was taken over by others {_TAKEN_OVER} times",
        hint="look who else pulls it (modelshelf's leases/ folder on the shelf), then try again",
    )


def published_event(
    snapshot: Snapshot, how: str, fetched: int = 0, seconds: float = 0.0
) -> Published:
    """What a listener is told of a snapshot that is on the shelf; see `Published`."""
    return Published(
        repo_id=snapshot.repo_id,
        snapshot=snapshot.id,
        path=snapshot.path or "",
        bytes=snapshot.size,
        fetched=fetched,
        seconds=round(seconds, 3),
        how=how,
    )


def _wait_for_turn(
    shelf: Shelf, snapshot: Snapshot, listener: Listener, patience: LeaseTiming
) -> Lease | str:
    """A lease to pull under, or `present` or `waited` if the snapshot is there without us."""
    key = f"pull/{snapshot.repo_id}/{snapshot.id}"
    watch = LeaseObserver(os.path.join(shelf.path, layout.lease_file(key)), patience)
    told = ""
    while shelf.get(snapshot.repo_id, snapshot.id) is None:
        holder = watch.live_holder()
        if holder is None:
            shelf.require_writable()
            lease = Lease.take(shelf.path, key, "pull", patience)
            if lease is not None:
                return lease
            holder = watch.live_holder()
            if holder is None:
                remove_stale_lease(shelf.path, key)
                continue
        if told != str(holder):
            told = str(holder)
            listener(Waiting(snapshot.id, told))
        time.sleep(_LOOK)
    return "waited" if told else "present"


def _pull_once(
    shelf: Shelf, spec: PullSpec, listener: Listener, settings: Settings
) -> tuple[Snapshot | None, int]:
    """The published snapshot and the bytes fetched for it; None if our folder was taken over."""
    snapshot = spec.snapshot
    present = shelf.get(snapshot.repo_id, snapshot.id)
    if present is not None:
        return present, 0
    left = leftovers.leftovers(shelf.path, snapshot)
    decided = _plan(shelf, spec, left)
    _announce(shelf, spec, decided, listener)
    meter = Meter(snapshot.size, listener)
    taken = leftovers.take_over(left)
    staging = Staging(shelf.path, snapshot)
    try:
        _fill(staging, spec, decided, taken, meter, settings)
        published = shelf.publish(staging.path, _stamped(staging.seal()))
    except ShelfError:
        if staging.taken():
            return shelf.get(snapshot.repo_id, snapshot.id), meter.received
        raise
    finally:
        with contextlib.suppress(OSError):
            if staging.empty():
                delete_tree(staging.path)
    _sweep(shelf, snapshot)
    return published, meter.received


def _plan(shelf: Shelf, spec: PullSpec, left: Sequence[leftovers.Leftover]) -> Plan:
    files = spec.snapshot.files
    begun = {f.path: max((x.here(f) for x in left), default=0) for f in files}
    in_folder = [f.path for f in files if _has_size(spec.folder, f)]
    decided = plan(files, _shelved(shelf), begun, in_folder, link=spec.link)
    return dataclasses.replace(decided, write=decided.write + leftovers.copied(left, files))


def _shelved(shelf: Shelf) -> dict[str, str]:
    """Checksum → path, of every file on the shelf that is there in its size."""
    found = {}
    for snapshot in shelf.snapshots():
        for file in snapshot.files:
            for checksum in (file.lfs_sha256, file.git_sha1, file.sha256):
                if checksum and checksum not in found and _has_size(snapshot.path, file):
                    found[checksum] = os.path.join(snapshot.path or "", file.path)
    return found


def _has_size(folder: str | None, file: File) -> bool:
    if folder is None:
        return False
    with contextlib.suppress(OSError):
        path = os.path.join(folder, file.path)
        return os.path.isfile(path) and os.path.getsize(path) == file.size
    return False


def _announce(shelf: Shelf, spec: PullSpec, decided: Plan, listener: Listener) -> None:
    snapshot = spec.snapshot
    free = free_bytes(shelf.path)
    listener(
        Planned(
            repo_id=snapshot.repo_id,
            revision=snapshot.revision,
            snapshot=snapshot.id,
            files=len(snapshot.files),
            bytes=snapshot.size,
            fetch=decided.fetch,
            here=decided.here,
            left_out=spec.left_out,
            free_after=free - decided.write,
        )
    )
    if decided.write and decided.write + _MARGIN > free:
        raise NoSpaceError(
            f"{snapshot.repo_id} needs {decided.write:,} bytes more on {shelf.path}, "
            f"where {free:,} are free",
            hint="free some (modelshelf rm) or grow the filesystem",
        )


def _fill(  # noqa: PLR0913, PLR0917 - the four places that files come from
    staging: Staging,
    spec: PullSpec,
    decided: Plan,
    taken: Sequence[leftovers.Leftover],
    meter: Meter,
    settings: Settings,
) -> None:
    """Bring every file into the staging folder, verified."""
    for file in staging.missing():
        if file.path in decided.on_shelf:
            _from_shelf(staging, file, decided.on_shelf[file.path], meter)
    parts = leftovers.adopt(staging, taken, meter)
    sinks: list[Part] = []
    try:
        for file in staging.missing():
            if file.path in decided.in_folder and file.path not in parts and spec.folder:
                _from_folder(staging, file, spec.folder, meter, link=spec.link)
        sinks = [parts.get(file.path) or staging.part(file) for file in staging.missing()]
        if sinks and spec.origin is None:
            raise NotFoundError(
                f"{sinks[0].file.path} of {spec.snapshot.repo_id} changed while it was read",
                hint="nothing was published; run the same command again",
            )
        if sinks and spec.origin is not None:
            fetch(sinks, spec.origin, meter, settings)
    finally:
        for part in [*parts.values(), *sinks]:
            part.close()


def _from_shelf(staging: Staging, file: File, source: str, meter: Meter) -> None:
    sha256 = file.content_sha256 or _sha256_of(source, file)
    if sha256 and staging.link(file, source, sha256):
        meter.add(done=file.size)
        meter.tell(FileDone(file.path, file.size, "linked"))
    else:
        _copy(staging, file, source, meter)


def _from_folder(staging: Staging, file: File, folder: str, meter: Meter, *, link: bool) -> None:
    source = os.path.join(folder, *file.path.split("/"))
    if link:
        sha256 = _sha256_of(source, file)
        if sha256 is None:
            return
        with explain_os_errors(source):
            check_header(source, file.path)
        if staging.link(file, source, sha256):
            meter.add(done=file.size)
            meter.tell(FileDone(file.path, file.size, "linked"))
            return
    _copy(staging, file, source, meter)


def _copy(staging: Staging, file: File, source: str, meter: Meter) -> None:
    """Copy a file if it is what it should be; else it stays missing."""
    part: Part | None = None
    with contextlib.suppress(OSError):
        part = staging.copy(file, source, meter)
    if part is None:
        return
    try:
        if part.finish():
            meter.tell(FileDone(file.path, file.size, "copied"))
        else:
            meter.add(done=-file.size)
    finally:
        part.close()


def _sha256_of(path: str, file: File) -> str | None:
    """The sha256 of a file that is what it should be; None if it is not."""
    digest = Digest(file)
    with contextlib.suppress(OSError, IntegrityError), open(path, "rb", buffering=0) as reader:
        hash_range(reader.fileno(), digest, file.size)
        return None if digest.mismatch() else digest.sha256()
    return None


def _stamped(snapshot: Snapshot) -> Snapshot:
    return dataclasses.replace(snapshot, created=round(time.time(), 3), tool=TOOL)


def _sweep(shelf: Shelf, snapshot: Snapshot) -> None:
    """Throw away what nobody needs any more: leftovers of this snapshot, and forgotten ones."""
    with contextlib.suppress(OSError, ShelfError):
        for leftover in leftovers.leftovers(shelf.path, snapshot):
            shelf.move_to_trash(leftover.path)
        parent = os.path.join(shelf.path, layout.staging_parent(snapshot.repo_id))
        for name in list_names(parent):
            path = os.path.join(parent, name)
            if time.time() - os.stat(path).st_mtime > _FORGOTTEN:
                shelf.move_to_trash(path)
        shelf.empty_trash()

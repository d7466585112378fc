"""Pulling: plan → fetch → verify → publish. No other module publishes what came from a source."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Literal

from modelshelf.shelf import layout
from modelshelf.shelf.errors import BusyError, NoSpaceError, NotFoundError, ShelfError
from modelshelf.shelf.events import Listener, ignore
from modelshelf.shelf.files import delete_tree, free_bytes, list_names
from modelshelf.shelf.leases import Lease, LeaseObserver, LeaseTiming, remove_stale_lease
from modelshelf.shelf.missing_files import find_missing_files, has_size
from modelshelf.shelf.shelf import Shelf
from modelshelf.shelf.values import LeftOut, Snapshot
from modelshelf.shelf.version import TOOL
from modelshelf.transfer.events import Planned, Published, PullOutcome, Waiting
from modelshelf.transfer.fetch import FetchSettings, fetch
from modelshelf.transfer.hub_source import HubSource
from modelshelf.transfer.leftovers import (
    Leftover,
    claim_leftovers,
    copy_space_bytes,
    find_leftovers,
    recover_files,
)
from modelshelf.transfer.local_files import (
    bring_from_folder,
    bring_from_shelf,
    shelf_paths,
)
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.partial_file import PartialFile
from modelshelf.transfer.pull_plan import PullPlan, plan_pull
from modelshelf.transfer.staging import Staging

_POLL_SECONDS = 0.5  # while another process pulls the same snapshot
_MAX_ATTEMPTS = 5  # a pull begins again when another writer claims its folder
_FORGOTTEN_SECONDS = 7 * 24 * 3600.0  # after this time nobody continues an unfinished pull
_RESERVE_BYTES = 16 << 20  # left free for records and folders


@dataclasses.dataclass(frozen=True, slots=True)
class PullSpec:
    """What to pull.

    Attributes:
        snapshot: The files, with the checksums that the source states.
        source: Where to fetch them; None if `folder` must have them all.
        folder: A folder that may have some of the files; each is verified.
        link: Whether files of `folder` may be linked instead of copied, which makes them read-only.
        left_out: The files that were not chosen; reported with the plan.
    """

    snapshot: Snapshot
    source: HubSource | None
    folder: str | None = None
    link: bool = False
    left_out: tuple[LeftOut, ...] = ()


def pull(
    shelf: Shelf,
    spec: PullSpec,
    *,
    listener: Listener = ignore,
    settings: FetchSettings | None = None,
    lease_timing: LeaseTiming | None = None,
) -> Snapshot:
    """Bring a snapshot to the shelf, whole and verified, or leave the shelf as it was.

    Several processes may pull one snapshot at once: one fetches, and the others wait for it. If a
    pull is cut off, the next one uses what it has written. If the snapshot is on the shelf and has
    lost files, they are added.

    Args:
        shelf: The shelf.
        spec: What to pull, and from where.
        listener: Gets the events, from one thread at a time.
        settings: How to fetch.
        lease_timing: How long another pull's lease counts without a heartbeat.

    Returns:
        The snapshot as it lies on the shelf.

    Raises:
        SourceError: The source refuses, or failed again after retries.
        IntegrityError: The content does not match its checksum, or its names are unsafe.
        NoSpaceError: There is no room for it.
        NotWritableError: This user may not write here.
    """
    start = time.monotonic()
    snapshot = spec.snapshot
    layout.refuse_unsafe_names(file.path for file in snapshot.files)
    for _ in range(_MAX_ATTEMPTS):
        turn = _wait_for_turn(shelf, snapshot, listener, lease_timing or LeaseTiming())
        outcome: PullOutcome
        if isinstance(turn, Lease):
            outcome = "pulled"
            with turn:
                published, fetched = _pull_once(shelf, spec, listener, settings or FetchSettings())
        else:
            outcome = turn
            published, fetched = shelf.get(snapshot.repo_id, snapshot.id), 0
            _sweep(shelf, snapshot)
        if published is not None:
            seconds = time.monotonic() - start
            listener(published_event(published, outcome, fetched, seconds))
            return published
    raise BusyError(
        f"the pull of {snapshot.repo_id} was taken over by others {_MAX_ATTEMPTS} times",
        hint="look who else pulls it (modelshelf's leases/ folder on the shelf), then try again",
    )


def published_event(
    snapshot: Snapshot, outcome: PullOutcome, fetched: int = 0, seconds: float = 0.0
) -> Published:
    """The event for a snapshot that is on the shelf; see `Published`."""
    return Published(
        repo_id=snapshot.repo_id,
        snapshot=snapshot.id,
        path=snapshot.path or "",
        bytes=snapshot.size,
        fetched=fetched,
        seconds=round(seconds, 3),
        how=outcome,
    )


def _wait_for_turn(
    shelf: Shelf, snapshot: Snapshot, listener: Listener, timing: LeaseTiming
) -> Lease | Literal["waited", "present"]:
    """Wait until this process may pull, or until the snapshot is there.

    Returns:
        The lease to pull under; or, if the snapshot is there, whether this process waited for it.
    """
    key = f"pull/{snapshot.repo_id}/{snapshot.id}"
    observer = LeaseObserver(os.path.join(shelf.path, layout.lease_file(key)), timing)
    last_holder = ""
    while _find_whole(shelf, snapshot) is None:
        holder = observer.live_holder()
        if holder is None:
            shelf.require_writable()
            lease = Lease.take(shelf.path, key, "pull", timing)
            if lease is not None:
                return lease
            # The file is there, so another process was faster, or the lease is stale.
            holder = observer.live_holder()
            if holder is None:
                remove_stale_lease(shelf.path, key)
                continue
        if last_holder != str(holder):
            last_holder = str(holder)
            listener(Waiting(snapshot.id, last_holder))
        time.sleep(_POLL_SECONDS)
    return "waited" if last_holder else "present"


def _find_whole(shelf: Shelf, snapshot: Snapshot) -> Snapshot | None:
    """The published snapshot, if every file of it is there."""
    published = shelf.get(snapshot.repo_id, snapshot.id)
    return None if published is None or find_missing_files(published) else published


def _pull_once(
    shelf: Shelf, spec: PullSpec, listener: Listener, settings: FetchSettings
) -> tuple[Snapshot | None, int]:
    """Pull under a lease.

    Returns:
        The published snapshot, and the bytes fetched for it. The snapshot is None if another writer
        claimed our folder and has not published it yet.
    """
    snapshot = spec.snapshot
    present = _find_whole(shelf, snapshot)
    if present is not None:
        return present, 0
    leftovers = find_leftovers(shelf.path, snapshot)
    plan, space_bytes = _plan(shelf, spec, leftovers)
    _require_use_of_folder(spec, plan)
    _announce(shelf, spec, plan, space_bytes, listener)
    meter = Meter(snapshot.size, listener)
    claimed = claim_leftovers(leftovers)
    staging = Staging(shelf.path, snapshot)
    try:
        _fill(staging, spec, plan, claimed, meter, settings)
        published = shelf.publish(staging.path, _stamp(staging.seal()))
    except ShelfError:
        if staging.was_claimed():
            return shelf.get(snapshot.repo_id, snapshot.id), meter.received
        raise
    finally:
        with contextlib.suppress(OSError):
            if staging.is_empty():
                delete_tree(staging.path)
    _sweep(shelf, snapshot)
    return published, meter.received


def _plan(shelf: Shelf, spec: PullSpec, leftovers: Sequence[Leftover]) -> tuple[PullPlan, int]:
    """Plan the pull.

    Returns:
        The plan, and the bytes that the filesystem must have room for at any time.
    """
    files = spec.snapshot.files
    leftover_bytes = {f.path: max((x.usable_bytes(f) for x in leftovers), default=0) for f in files}
    in_folder = [f.path for f in files if has_size(spec.folder, f)]
    plan = plan_pull(files, shelf_paths(shelf), leftover_bytes, in_folder, link=spec.link)
    return plan, plan.space_bytes + copy_space_bytes(leftovers, files)


def _require_use_of_folder(spec: PullSpec, plan: PullPlan) -> None:
    """Refuse a folder that has none of the files that would be fetched.

    The user expects it to save a download, so its path is probably wrong.
    """
    if spec.folder is None or plan.in_folder or not plan.fetch_bytes:
        return
    problem = "has no file of" if os.path.isdir(spec.folder) else "is no folder with files of"
    raise NotFoundError(
        f"{spec.folder} {problem} {spec.snapshot.repo_id} at this commit",
        hint="name the folder in which config.json lies, or leave out --from (`from`)",
    )


def _announce(
    shelf: Shelf, spec: PullSpec, plan: PullPlan, space_bytes: int, listener: Listener
) -> None:
    """Report the plan, and refuse it if there is no room."""
    snapshot = spec.snapshot
    free = free_bytes(shelf.path)
    free_after = None if free is None else free - space_bytes
    listener(
        Planned(
            repo_id=snapshot.repo_id,
            revision=snapshot.revision,
            snapshot=snapshot.id,
            files=len(snapshot.files),
            bytes=snapshot.size,
            fetch=plan.fetch_bytes,
            here=plan.present_bytes,
            left_out=spec.left_out,
            free_after=free_after,
        )
    )
    if space_bytes and free is not None and space_bytes + _RESERVE_BYTES > free:
        raise NoSpaceError(
            f"{snapshot.repo_id} needs {space_bytes:,} bytes more on {shelf.path}, "
            f"where {free:,} are free",
            hint="free some (modelshelf rm) or grow the filesystem",
        )


def _fill(  # noqa: PLR0913, PLR0917 - the four places that files come from
    staging: Staging,
    spec: PullSpec,
    plan: PullPlan,
    claimed: Sequence[Leftover],
    meter: Meter,
    settings: FetchSettings,
) -> None:
    """Bring every file into the staging folder, verified."""
    for file in staging.unfinished_files():
        if file.path in plan.on_shelf:
            bring_from_shelf(staging, file, plan.on_shelf[file.path], meter)
    recovered = recover_files(staging, claimed, meter)
    sinks: list[PartialFile] = []
    try:
        for file in staging.unfinished_files():
            if file.path in plan.in_folder and file.path not in recovered and spec.folder:
                bring_from_folder(staging, file, spec.folder, meter, link=spec.link)
        sinks = [
            recovered.get(file.path) or staging.open_partial(file)
            for file in staging.unfinished_files()
        ]
        if sinks and spec.source is None:
            raise NotFoundError(
                f"{sinks[0].file.path} of {spec.snapshot.repo_id} changed while it was read",
                hint="nothing was published; run the same command again",
            )
        if sinks and spec.source is not None:
            fetch(sinks, spec.source, meter, settings)
    finally:
        for part in [*recovered.values(), *sinks]:
            part.close()


def _stamp(snapshot: Snapshot) -> Snapshot:
    """Record when, and by what, a snapshot was published."""
    return dataclasses.replace(snapshot, created=round(time.time(), 3), tool=TOOL)


def _sweep(shelf: Shelf, snapshot: Snapshot) -> None:
    """Throw away leftovers of this snapshot, and of pulls of this model that nobody continues."""
    with contextlib.suppress(OSError, ShelfError):
        for leftover in find_leftovers(shelf.path, snapshot):
            shelf.move_to_trash(leftover.path)
        parent = os.path.join(shelf.path, layout.staging_parent(snapshot.repo_id))
        for name in list_names(parent):
            path = os.path.join(parent, name)
            if time.time() - os.stat(path).st_mtime > _FORGOTTEN_SECONDS:
                shelf.move_to_trash(path)
        shelf.empty_trash()

"""Where each file of a pull will come from, before anything is written. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from modelshelf.shelf.values import File


@dataclasses.dataclass(frozen=True, slots=True)
class PullPlan:
    """Where each file of a snapshot will come from.

    Attributes:
        on_shelf: File path → a file of the shelf with the same content.
        leftover_bytes: File path → bytes that dead writers left of it.
        in_folder: Paths of the files that the user's folder seems to have.
        fetch_bytes: Bytes to fetch from the source.
        present_bytes: Bytes that need not be fetched.
        space_bytes: Bytes that the shelf's filesystem must have room for.
    """

    on_shelf: Mapping[str, str]
    leftover_bytes: Mapping[str, int]
    in_folder: tuple[str, ...]
    fetch_bytes: int
    present_bytes: int
    space_bytes: int


def plan_pull(
    files: Sequence[File],
    shelf_paths: Mapping[str, str],
    leftover_bytes: Mapping[str, int],
    in_folder: Sequence[str],
    *,
    link: bool,
) -> PullPlan:
    """Decide where each file comes from.

    The shelf comes first, then what dead writers left, then the user's folder, then the source.

    Args:
        files: The files of the snapshot.
        shelf_paths: Checksum → path of a file on the shelf that has it.
        leftover_bytes: File path → bytes that dead writers left of it.
        in_folder: Paths of the files that the user's folder has in the right size.
        link: Whether files of that folder are linked instead of copied.
    """
    on_shelf = {f.path: shelf_paths[f.checksum] for f in files if f.checksum in shelf_paths}
    missing = [f for f in files if f.path not in on_shelf]
    usable = {f.path: leftover_bytes[f.path] for f in missing if leftover_bytes.get(f.path)}
    from_folder = tuple(
        f.path for f in missing if f.path in in_folder and usable.get(f.path, 0) < f.size
    )
    fetch_bytes = sum(f.size - usable.get(f.path, 0) for f in missing if f.path not in from_folder)
    copy_bytes = 0 if link else sum(f.size for f in missing if f.path in from_folder)
    present_bytes = sum(f.size for f in files) - fetch_bytes
    return PullPlan(
        on_shelf, usable, from_folder, fetch_bytes, present_bytes, fetch_bytes + copy_bytes
    )

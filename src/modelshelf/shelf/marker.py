"""`shelf.json`: the file that makes a folder a shelf, with its layout and its id."""

from __future__ import annotations

import contextlib
import os
import uuid

from modelshelf.shelf import layout
from modelshelf.shelf.errors import NotAShelfError
from modelshelf.shelf.files import explain_read_errors, read_json, write_json


def read_shelf_id(shelf: str) -> str:
    """Read the id of a shelf.

    Args:
        shelf: The shelf's folder.

    Raises:
        NotAShelfError: The folder is missing or is no shelf, or a newer modelshelf made it.
        NotWritableError: This user may not read it.
        ShelfError: The filesystem refused for another reason.
    """
    with explain_read_errors(shelf):
        marker = read_json(marker_path(shelf))
    if marker is None or not isinstance(marker.get("layout"), int):
        raise not_a_shelf_error(shelf)
    if marker["layout"] > layout.LAYOUT:
        raise NotAShelfError(
            f"{shelf} has layout {marker['layout']}, made by a newer modelshelf; "
            f"this one knows layout {layout.LAYOUT}",
            hint="upgrade modelshelf",
        )
    return str(marker.get("id", ""))


def write_marker(shelf: str) -> None:
    """Make a folder a shelf. If two hosts do so at once, the first one's marker stays.

    link(2) fails where the name exists, and rename(2) would replace the file. So the file is
    linked, and renamed only on filesystems without hard links.

    Raises:
        OSError: The filesystem refused.
    """
    temporary = os.path.join(shelf, f".shelf.{uuid.uuid4().hex}")
    write_json(temporary, {"layout": layout.LAYOUT, "id": str(uuid.uuid4())})
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, marker_path(shelf))
    except OSError:
        os.rename(temporary, marker_path(shelf))
        return
    os.unlink(temporary)


def marker_path(shelf: str) -> str:
    """Where the marker of a shelf lies."""
    return os.path.join(shelf, layout.SHELF_FILE)


def not_a_shelf_error(path: str) -> NotAShelfError:
    """The error for a path at which there is no shelf."""
    if not os.path.lexists(path):
        return NotAShelfError(
            f"there is no shelf at {path}", hint="modelshelf pull makes one with its first model"
        )
    return NotAShelfError(
        f"{path} is not a shelf: it has no readable {layout.SHELF_FILE}",
        hint="name the shelf's own folder, or an empty one for a new shelf, with --shelf",
    )

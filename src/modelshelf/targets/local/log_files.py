"""The log files of a server's processes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil

from modelshelf.shelf.files import explain_os_errors
from modelshelf.shelf.values import Snapshot

_MAX_LOG_BYTES = 64 * 2**20
_TAIL_BYTES = 16 * 1024
_SHOWN_LINES = 12  # in an error
_COLOUR_CODE = re.compile(r"\x1b\[[0-9;]*m")


def log_folder(snapshot: Snapshot, suffix: str) -> str:
    """The folder of the logs of one server.

    Args:
        snapshot: The model.
        suffix: What tells its servers apart, such as the port.
    """
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "modelshelf", f"{snapshot.repo_id.split('/')[1]}-{suffix}")


def prepare_log(folder: str, name: str) -> str:
    """Make way for a new log, and return its path.

    A log of an earlier run is renamed: it gets `.1` at the end of its name.

    Raises:
        ShelfError: The folder cannot be written.
    """
    path = os.path.join(folder, f"{name}.log")
    with explain_os_errors(path):
        os.makedirs(folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{path}.1")
    return path


def limit_log_size(log: str, max_bytes: int = _MAX_LOG_BYTES) -> None:
    """Move the content of a log that is too large to `.1`, in place of what was there.

    The process that writes the log has it open, so the file is copied and then emptied. Lines that
    are written between the two steps are lost.
    """
    with contextlib.suppress(OSError):
        if os.path.getsize(log) > max_bytes:
            shutil.copyfile(log, f"{log}.1")
            # The process opened the log for appending, so it continues at the new end.
            os.truncate(log, 0)


def last_lines(log: str, count: int = _SHOWN_LINES) -> list[str]:
    """The last lines of a log, without empty lines and without colours."""
    with contextlib.suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
        text = _COLOUR_CODE.sub("", file.read().decode(errors="replace"))
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
    return []

"""What the kernel says of a process in `/proc/PID/stat` (Linux; see proc(5))."""

from __future__ import annotations

import dataclasses
import os

_ENDED = ("Z", "X")  # a zombie, which its parent has not waited for yet, and a dead process
# Positions behind the program's name: field 3 of proc(5) is the first.
_STATE, _PARENT, _SESSION, _START_TICKS = 0, 1, 3, 19


@dataclasses.dataclass(frozen=True, slots=True)
class ProcStat:
    """One process at the moment of reading.

    Attributes:
        state: The kernel's letter for what it does: `R` runs, `S` sleeps, `Z` is a zombie.
        parent: The process id of its parent.
        session: The id of its session (setsid(2)).
        start_ticks: Clock ticks from boot to its start. Process ids are used again, so only the
            id and this number together name one process.
    """

    state: str
    parent: int
    session: int
    start_ticks: int

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, even if its parent has not waited for it yet."""
        return self.state in _ENDED


def read_proc_stat(pid: int) -> ProcStat | None:
    """Read what the kernel says of a process.

    Args:
        pid: Its process id, in the PID namespace that `/proc` shows.

    Returns:
        None if there is no such process, if `/proc` hides it (mount option `hidepid`), or if this
        system has no `/proc`.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return parse_proc_stat(file.read())
    except OSError:
        # Besides a missing file: ESRCH, when the process ends between the opening and the reading.
        return None


def parse_proc_stat(line: str) -> ProcStat | None:
    """Parse the content of `/proc/PID/stat`; None if it has too few fields."""
    # The second field is the program's name in parentheses. It may hold spaces and parentheses
    # itself, so the fields are counted from the last parenthesis.
    fields = line.rpartition(")")[2].split()
    if len(fields) <= _START_TICKS:
        return None
    return ProcStat(
        state=fields[_STATE],
        parent=int(fields[_PARENT]),
        session=int(fields[_SESSION]),
        start_ticks=int(fields[_START_TICKS]),
    )


def proc_shows_our_pids() -> bool:
    """Whether `/proc` numbers processes as this process does.

    A container may see the `/proc` of another PID namespace, for example its host's. The numbers
    there name other processes than they do in our calls of kill(2).
    """
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False

"""Who a process is, so that another can tell whether it is gone for good (Linux; see proc(5))."""

from __future__ import annotations

import dataclasses
import os
import socket
from typing import Any

_UNKNOWN = ""
_START_TIME = 20  # counted from the state, the field behind the name
_ENDED = ("Z", "X")


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """One process on one boot of one host.

    Attributes:
        host: The host's name, for people.
        boot_id: Random for each boot of a kernel; empty where the system has none.
        pid_namespace: Inode of the PID namespace, since a pid means nothing in another one.
        pid: The process id in that namespace.
        started: Clock ticks from boot to the process's start, since pids are used again.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> Process:
        """The running process."""
        return cls(
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid_namespace=_pid_namespace(),
            pid=os.getpid(),
            started=_started(os.getpid()) or _UNKNOWN,
        )

    def provably_gone(self) -> bool:
        """Whether it has ended, as far as this host can know; False when it cannot know.

        A live process of another container or host looks dead from here, so only one of the same
        boot and PID namespace can be proven gone.
        """
        if not self.boot_id or self.boot_id != boot_id():
            return False
        if not self.pid_namespace or self.pid_namespace != _pid_namespace():
            return False
        return bool(self.started) and _started(self.pid) not in (self.started, _UNKNOWN)

    def to_json(self) -> dict[str, Any]:
        """The form that leases and writers' folders hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Process:
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: The data has another shape.
        """
        return cls(
            host=str(data["host"]),
            boot_id=str(data["boot_id"]),
            pid_namespace=str(data["pid_namespace"]),
            pid=int(data["pid"]),
            started=str(data["started"]),
        )


def boot_id() -> str:
    """The kernel's random id of this boot; empty where there is none."""
    return _read("/proc/sys/kernel/random/boot_id")


def _pid_namespace() -> str:
    try:
        # A /proc of another namespace shows other processes under our pids.
        if os.readlink("/proc/self") != str(os.getpid()):
            return _UNKNOWN
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return _UNKNOWN


def _started(pid: int) -> str | None:
    """When a process started; None if there is none any more, empty if that cannot be known."""
    # The second field is the program's name in parentheses and may hold spaces and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < _START_TIME:
        # /proc may hide other users' processes (hidepid).
        return _UNKNOWN if _exists(pid) else None
    return None if fields[0] in _ENDED else fields[_START_TIME - 1]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return _UNKNOWN

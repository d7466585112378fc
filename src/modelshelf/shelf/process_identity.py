"""Who a process is, so that another process can tell whether it is gone for good (Linux).

A process id alone does not tell that. The kernel uses ids again, each PID namespace (each
container) has numbers of its own, and a shelf is shared by hosts that have nothing in common. So an
identity also records the boot, the PID namespace and the time of the start.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from typing import Any

from modelshelf.shelf.proc_stat import proc_shows_our_pids, read_proc_stat

_UNKNOWN = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process on one boot of one host.

    Attributes:
        host: The host's name, for people.
        boot_id: Random for each boot of a kernel; empty where the system has none.
        pid_namespace: Inode of the PID namespace, since a pid means nothing in another one; empty
            where it cannot be known.
        pid: The process id in that namespace.
        started: Clock ticks from boot to the process's start, since pids are used again; empty
            where that cannot be known.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str

    @classmethod
    def of_this_process(cls) -> ProcessIdentity:
        """The identity of the running process."""
        return cls(
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid_namespace=_pid_namespace(),
            pid=os.getpid(),
            started=_start_time(os.getpid()) or _UNKNOWN,
        )

    def provably_gone(self) -> bool:
        """Whether the process has ended, as far as this host can know; False when it cannot know.

        A live process of another container or host looks dead from here. So only a process of the
        same boot and the same PID namespace can be proven gone.
        """
        if not self.boot_id or self.boot_id != boot_id():
            return False
        if not self.pid_namespace or self.pid_namespace != _pid_namespace():
            return False
        return bool(self.started) and _start_time(self.pid) not in (self.started, _UNKNOWN)

    def to_json(self) -> dict[str, Any]:
        """The form that leases and writers' folders hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ProcessIdentity:
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
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return _UNKNOWN


def _pid_namespace() -> str:
    if not proc_shows_our_pids():
        return _UNKNOWN
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return _UNKNOWN


def _start_time(pid: int) -> str | None:
    """When a process started; None if it has ended, empty if that cannot be known."""
    stat = read_proc_stat(pid)
    if stat is None:
        # The mount option hidepid hides other users' processes from /proc, but not from kill(2).
        return _UNKNOWN if _exists(pid) else None
    return None if stat.has_ended else str(stat.start_ticks)


def _exists(pid: int) -> bool:
    try:
        # Signal 0 is never delivered; the call only checks that the process is there.
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True

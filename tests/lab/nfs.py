"""A real NFS server: Debian's nfs-ganesha, unpacked, serving folders by NFS 4.1 to the nodes."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
from pathlib import Path
from typing import Literal, Self

from lab import debian
from lab.parts import register
from lab.processes import Process

PORT = 2049
_PACKAGES = ("nfs-ganesha", "nfs-ganesha-vfs")
# libnfsidmap loads its methods by path, and by name where that fails: so its folder is one too.
_LIBRARIES = ("usr/lib/ganesha", "usr/lib/x86_64-linux-gnu/libnfsidmap")
_PLUGINS = "usr/lib/x86_64-linux-gnu/ganesha"
_IDMAP = "[General]\nDomain = lab\n[Translation]\nMethod = nsswitch\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """A folder that clients may mount.

    Attributes:
        folder: The folder on this machine.
        path: What clients call it, as `/models`.
        access: Whether they may write.
        squash: Whether their root counts as nobody, as clouds have it.
    """

    folder: Path
    path: str
    access: Literal["RW", "RO"] = "RW"
    squash: Literal["Root_Squash", "No_Root_Squash"] = "Root_Squash"


def configuration(address: str, folder: Path, plugins: Path, exports: tuple[Export, ...]) -> str:
    """The server's configuration file (ganesha-core-config(8), ganesha-export-config(8))."""
    core = [
        f"Protocols = 4; Bind_addr = {address}; NFS_Port = {PORT}; Plugins_Dir = {plugins};",
        "Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = true;",
    ]
    nfs = [
        # Without grace a restarted server answers at once: no client waits 90 s to open a file.
        "Graceless = true; Only_Numeric_Owners = true; Minor_Versions = 1,2;",
        f"IdmapConf = {folder}/idmapd.conf; RecoveryRoot = {folder}/recovery;",
    ]
    blocks = [
        f"NFS_CORE_PARAM {{ {' '.join(core)} }}",
        f"NFSv4 {{ {' '.join(nfs)} }}",
        "EXPORT_DEFAULTS { SecType = sys; Transports = TCP; Protocols = 4; }",
        "LOG { Default_Log_Level = EVENT; }",
    ]
    blocks += [
        f"EXPORT {{ Export_Id = {number}; Path = {export.folder}; Pseudo = {export.path}; "
        f"Access_Type = {export.access}; Squash = {export.squash}; FSAL {{ Name = VFS; }} }}"
        for number, export in enumerate(exports, start=1)
    ]
    return "\n".join(blocks) + "\n"


@register("nfs-ganesha")
def program() -> debian.Tree:
    """The unpacked nfs-ganesha.

    Raises:
        PartError: It cannot be fetched here.
    """
    return debian.unpacked("nfs-ganesha", _PACKAGES)


class NfsServer:
    """A server that can be killed and started again; use it as a context manager.

    Args:
        folder: Where it keeps its configuration, log and recovery state.
        address: The address of this machine that it listens on.
        exports: What it serves.
    """

    def __init__(self, folder: Path, address: str, exports: tuple[Export, ...]) -> None:
        self._tree = program()
        self._folder = folder
        self._address = address
        self._process: Process | None = None
        (folder / "recovery").mkdir(parents=True, exist_ok=True)
        (folder / "idmapd.conf").write_text(_IDMAP)
        plugins = self._tree.folder / _PLUGINS
        (folder / "ganesha.conf").write_text(configuration(address, folder, plugins, exports))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            StartError: It ended, or took none within 20 s.
        """
        # Compiled in: Kerberos' credentials, which nobody asks for here.
        Path("/run/ganesha").mkdir(exist_ok=True)
        folder = self._folder
        argv = [f"{self._tree.program('ganesha.nfsd')}", "-F", "-f", f"{folder}/ganesha.conf"]
        argv += ["-L", f"{folder}/ganesha.log", "-p", f"{folder}/ganesha.pid"]
        # The name is that of its own log, so that a failed start shows that.
        self._process = Process("ganesha", argv, folder, self._env())
        self._process.until(self._answers, "the NFS server takes connections", 20)

    def kill(self) -> None:
        """End it as a power cut would, without a word to its clients."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.stop()
            self._process = None

    def _answers(self) -> bool:
        socket.create_connection((self._address, PORT), 1).close()
        return True

    def _env(self) -> dict[str, str]:
        env = self._tree.env
        folders = [str(self._tree.folder / folder) for folder in _LIBRARIES]
        return env | {"LD_LIBRARY_PATH": ":".join([*folders, env.get("LD_LIBRARY_PATH", "")])}

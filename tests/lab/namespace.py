"""One network, mount and process namespace in which a cluster lives, and with which it vanishes.

However a command ends that was run in it, every process, mount and interface of the cluster is
gone with it, and files written to /run, /var/lib, /var/log or /etc were never the machine's. There
is no route out: whatever works in there works offline. Only cgroups are seen from outside; who
runs the namespace removes them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import debian
from lab.parts import INSIDE, run, say

ADDRESS = "10.77.0.1"
BRIDGE = "node0"
CGROUP = "modelshelf-test-"
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_TOOLS = ("unshare", "setpriv", "mount", "ip", "openssl", "dpkg-deb", "apt-get", "tar")
_COMPILERS = ("cc", "c++", "make", "strip")
_CGROUPS = Path("/sys/fs/cgroup")
# What a kubelet would set for the whole machine: it finds it set, in its own eyes alone.
_PRETENDED = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_MODULES = ("overlay", "br_netfilter", "nf_conntrack", "veth", "bridge", "tun")


def why_not() -> str | None:
    """One line saying why this machine can hold no such namespace, or None."""
    if sys.platform != "linux":
        return "a test cluster needs Linux"
    if os.geteuid() != 0:
        return "a test cluster needs root (sudo)"
    if not debian.release():
        return "a test cluster needs Debian or Ubuntu, whose packages it unpacks"
    missing = [name for name in (*_TOOLS, *_COMPILERS) if not shutil.which(name)]
    if missing:
        return f"a test cluster needs {', '.join(missing)} on PATH"
    return None


def cgroup() -> str:
    """The name of this namespace's own cgroup, below the root of each hierarchy."""
    return os.environ[INSIDE]


def enter(argv: Sequence[str]) -> int:
    """Run a command inside a new namespace, and return its exit status."""
    remove_cgroups()
    # Containers' networks need them; a kernel that has them built in knows no such modules.
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["modprobe", "-a", "-q", *_MODULES], check=False, capture_output=True)
    name = f"{CGROUP}{os.getpid()}"
    here = str(Path(__file__).resolve().parents[1])
    python_path = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, INSIDE: name, "PYTHONPATH": ":".join(python_path)}
    # It dies with this process, even when that is killed.
    command = ["setpriv", "--pdeathsig", "KILL", *_UNSHARE, sys.executable, "-m", "lab", "inside"]
    with subprocess.Popen([*command, *argv], env=env) as child:
        _leave_signals_to(child)
        status = child.wait()
    remove_cgroups(name)
    return status if status >= 0 else 128 - status


def begin(argv: Sequence[str]) -> int:
    """As the first process of a new namespace, furnish it, run a command, reap what is left over.

    Returns:
        The command's exit status.
    """
    if not shutil.which(argv[0]):
        say(f"{argv[0]} is not on PATH")
        return 127
    _furnish()
    with subprocess.Popen(argv) as child:
        _leave_signals_to(child)
        while True:
            # Orphans are the first process's to reap.
            pid, status = os.wait()
            if pid == child.pid:
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode if child.returncode >= 0 else 128 - child.returncode


def remove_cgroups(name: str | None = None) -> None:
    """Remove a namespace's cgroups, or those of all whose process is no more."""
    for hierarchy in hierarchies():
        for group in hierarchy.glob(f"{CGROUP}*"):
            owner = group.name.removeprefix(CGROUP)
            if name == group.name or (name is None and not Path(f"/proc/{owner}").exists()):
                for folder, _, _ in os.walk(group, topdown=False):
                    # One that still has a process stays until the next time.
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)


def hierarchies() -> list[Path]:
    """The roots of all cgroup hierarchies: one with version 2, one per controller with 1."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path for path in _CGROUPS.iterdir() if (path / "cgroup.procs").exists()]


def _leave_signals_to(child: subprocess.Popen[bytes]) -> None:
    """Let the command decide about Ctrl-C; a request to end is one to end everything."""
    signal.signal(signal.SIGINT, lambda *_: None)
    # Killed, not asked: unshare blocks SIGTERM, and takes all with it when it dies.
    signal.signal(signal.SIGTERM, lambda *_: child.kill())


def _furnish() -> None:
    for words in (
        "ip link set lo up",
        f"ip link add {BRIDGE} type bridge",
        f"ip address add {ADDRESS}/24 dev {BRIDGE}",
        f"ip link set {BRIDGE} up",
        "mount -t tmpfs -o mode=755 tmpfs /run",
    ):
        run(words.split())
    Path("/run/lock").mkdir()
    for folder in ("/etc", "/var/lib", "/var/log"):
        _cover(folder)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    for name, value in _PRETENDED.items():
        pretended = Path("/run/lab/sys") / name.replace("/", ".")
        pretended.parent.mkdir(parents=True, exist_ok=True)
        pretended.write_text(f"{value}\n", encoding="ascii")
        with contextlib.suppress(OSError):
            if Path("/proc/sys", name).exists():
                run(["mount", "--bind", pretended, f"/proc/sys/{name}"])
    say(f"inside a namespace of its own; this machine is {ADDRESS} in it")


def _cover(folder: str) -> None:
    """Let what is written into a folder vanish with the namespace."""
    above = Path("/run/lab/above") / folder.strip("/").replace("/", ".")
    for name in ("upper", "work"):
        (above / name).mkdir(parents=True)
    options = f"lowerdir={folder},upperdir={above}/upper,workdir={above}/work"
    run(["mount", "-t", "overlay", "-o", options, "lab", folder])

"""Nodes that are virtual machines, which can lose their power and their network.

The emulator is qemu without KVM, so it runs where no hardware virtualisation is to be had. Each
machine has a tap device on the bridge of the cluster's network, and writes to a copy of the disk
that is gone with its process: it comes back as the same node with nothing on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lab import binaries, containerd, control, debian, images, namespace, nfs
from lab.disk import NodeDisk, node_disk, why_not
from lab.parts import register, run, say
from lab.processes import Process

_PACKAGES = ("qemu-system-x86", "qemu-system-data", "seabios")
_FIRMWARE = ("usr/share/qemu", "usr/share/seabios")
# Without AVX: the emulator computes its 256-bit registers in the host's, and everything else with
# SSE. AMD's Zen 3 takes some hundred cycles for each change between the two: llama-server's answer
# to one question took 249 s there with AVX, and takes 17 s without.
_PROCESSOR = "max,-avx,-avx2,-fma,-f16c"
_MEGABYTES = 3000
_START_WITHIN = 400.0
# Of the share, as of the pods that modelshelf makes.
_OWNER = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a machine stands in the cluster's network 10.77.0.0/24.

    Attributes:
        number: 1 to 9.
    """

    number: int

    @property
    def name(self) -> str:
        """The node's name."""
        return f"vm{self.number}"

    @property
    def address(self) -> str:
        """The node's address."""
        return f"10.77.0.1{self.number}"

    @property
    def pods(self) -> str:
        """The network of its pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def tap(self) -> str:
        """The host's end of its network cable."""
        return f"tap{self.number}"


@register("qemu", why_not)
def emulator() -> debian.Tree:
    """The unpacked qemu.

    Raises:
        PartError: It cannot be fetched here.
    """
    return debian.unpacked("qemu", _PACKAGES)


def emulator_argv(qemu: debian.Tree, place: Place, disk: NodeDisk) -> list[str]:
    """The command line of one machine.

    `romfile=` leaves out the network's boot ROM, and `snapshot=on` gives the machine a copy of
    the disk of its own.
    """
    settings = {"node": place.name, "address": place.address, "pods": place.pods}
    words = [f"{key}={value}" for key, value in settings.items()]
    # `panic=-1` and `-no-reboot` make a machine that fails an ended process.
    words += [f"gateway={control.ADDRESS}", "console=ttyS0", "quiet", "panic=-1"]
    # Nobody attacks it, and under emulation guarding against that costs a tenth of the time.
    words += ["mitigations=off", "init_on_alloc=0"]
    network = f"virtio-net-pci,netdev=n0,mac=52:54:00:00:00:1{place.number},romfile="
    return [
        str(qemu.program("qemu-system-x86_64")),
        *(word for path in _FIRMWARE for word in ("-L", str(qemu.folder / path))),
        *("-nodefaults", "-no-reboot", "-display", "none"),
        *("-accel", "tcg,thread=multi", "-cpu", _PROCESSOR, "-smp", "1", "-m", str(_MEGABYTES)),
        *("-serial", "stdio"),
        *("-kernel", str(disk.kernel), "-initrd", str(disk.initramfs)),
        *("-append", " ".join(words)),
        *("-drive", f"file={disk.disk},format=raw,if=virtio,snapshot=on"),
        *("-netdev", f"tap,id=n0,ifname={place.tap},script=no,downscript=no"),
        *("-device", network),
    ]


class Machine:
    """One node.

    Args:
        place: Its name and addresses.
        disk: What it starts from.
        folder: Where its console's log and its copy of the disk lie.
        kubectl: Runs kubectl as the administrator and returns its output.
    """

    def __init__(
        self, place: Place, disk: NodeDisk, folder: Path, kubectl: Callable[..., str]
    ) -> None:
        self.name = place.name
        self.address = place.address
        self._place = place
        self._folder = folder
        self._argv = emulator_argv(emulator(), place, disk)
        self._kubectl = kubectl
        self._process: Process | None = None
        self._last_boot = ""
        self._leads_to_services = False
        run(["ip", "tuntap", "add", place.tap, "mode", "tap"])
        run(["ip", "link", "set", place.tap, "master", namespace.BRIDGE, "up"])
        run(["ip", "route", "add", place.pods, "via", place.address])

    def boot(self) -> None:
        """Give it power, and do not wait."""
        # Its copy of the disk is an unlinked file: it goes with the process.
        env = emulator().env | {"TMPDIR": str(self._folder)}
        self._process = Process(f"console-{self.name}", self._argv, self._folder, env)

    def await_ready(self) -> None:
        """Wait until Kubernetes calls it Ready, by what it said since it was booted.

        Raises:
            StartError: It ended, or is not Ready after 400 s.
        """
        if self._process is not None:
            self._process.until(self._ready, f"{self.name} is Ready", _START_WITHIN)
            self._lead_to_services(leads=True)

    def start(self) -> None:
        """Give it power and wait until it is Ready.

        Raises:
            StartError: It ended, or is not Ready after 400 s.
        """
        self.boot()
        self.await_ready()

    def power_off(self) -> None:
        """Take its power away: nothing is flushed, nobody is told, its disk is gone."""
        self._lead_to_services(leads=False)
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.stop()
            self._process = None

    def _lead_to_services(self, *, leads: bool) -> None:
        """Let this host reach Services by this node's kube-proxy, or no longer.

        Each node that is up has a route; the kernel takes the one of the lowest metric.
        """
        if leads is not self._leads_to_services:
            verb = "add" if leads else "del"
            route = [control.SERVICES, "via", self.address, "metric", str(self._place.number)]
            run(["ip", "route", verb, *route])
            self._leads_to_services = leads

    def _ready(self) -> bool:
        # By list and not by name: asking for a node that did not register yet is an error.
        nodes = json.loads(self._kubectl("get", "nodes", "-o", "json"))["items"]
        for node in nodes:
            if node["metadata"]["name"] == self.name and _is_ready(node):
                boot = node["status"]["nodeInfo"]["bootID"]
                # A node that lost its power stays Ready in the API for 40 s, with its old boot.
                fresh: bool = boot != self._last_boot
                self._last_boot = boot
                return fresh
        return False


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions", ())
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


@dataclasses.dataclass(frozen=True, slots=True)
class TwoNodes:
    """A cluster of two machines with a real NFS share.

    Attributes:
        kubeconfig: The administrator's.
        nodes: Its machines, vm1 and vm2.
        nfs: The server of the share, which mounts as `10.77.0.1:/models`.
        share: The folder on this host that it serves, of user and group 1000.
        address: Where nodes and pods reach this host.
        logs: The folder of what the machines, servers and programs say.
        user: Makes a kubeconfig for a user in groups.
    """

    kubeconfig: Path
    nodes: tuple[Machine, Machine]
    nfs: nfs.NfsServer
    share: Path
    address: str
    logs: Path
    user: Callable[..., Path]

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it wrote to its output.

        Raises:
            lab.control.KubectlError: It failed.
        """
        return control.kubectl(self.kubeconfig, *args, stdin=stdin)


@register("machine-images", why_not)
def machine_images() -> Path:
    """The root of a containerd that has the images of a machine's pods.

    Raises:
        PartError: It cannot be made here.
    """
    return containerd.baked(images.images())


@register("machine-disk", why_not)
def machine_disk() -> NodeDisk:
    """What each machine starts from.

    Raises:
        PartError: It cannot be made here.
    """
    programs = binaries.kubernetes()
    return node_disk([programs / "kubelet", programs / "kube-proxy"], machine_images())


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    """A cluster of two machines, Ready, with a share that squashes root as clouds' shares do.

    Args:
        folder: Where the share, the disks' copies and all logs lie.

    Raises:
        PartError: A part cannot be made here.
        StartError: A program or a machine does not come up.
    """
    disk = machine_disk()
    share, seed = folder / "share", folder / "seed"
    share.mkdir(mode=0o755)
    os.chown(share, _OWNER, _OWNER)
    exports = (nfs.Export(share, "/models"), nfs.Export(seed, "/seed", "RO", "No_Root_Squash"))
    with contextlib.ExitStack() as stack:
        with _stage("a control plane"):
            plane = stack.enter_context(control.Control(folder))
        places = (Place(1), Place(2))
        for place in places:
            _sow(seed, plane, place)
        with _stage("an NFS server"):
            server = stack.enter_context(nfs.NfsServer(folder / "nfs", control.ADDRESS, exports))
        with _stage("two Ready nodes"):
            machines = [Machine(place, disk, plane.logs, plane.kubectl) for place in places]
            for machine in machines:
                stack.callback(machine.power_off)
                machine.boot()
            for machine in machines:
                machine.await_ready()
        yield TwoNodes(
            kubeconfig=plane.kubeconfig,
            nodes=(machines[0], machines[1]),
            nfs=server,
            share=share,
            address=control.ADDRESS,
            logs=plane.logs,
            user=plane.kubeconfig_for,
        )


def _sow(seed: Path, plane: control.Control, place: Place) -> None:
    """Write what a node copies when it starts: whom to trust, and who it is."""
    (seed / place.name).mkdir(parents=True)
    shutil.copy(plane.authority.certificate, seed / "ca.crt")
    kubelet = plane.kubeconfig_for(f"system:node:{place.name}", ["system:nodes"])
    shutil.copy(kubelet, seed / place.name / "kubelet.kubeconfig")
    proxy = plane.kubeconfig_for("system:kube-proxy")
    shutil.copy(proxy, seed / place.name / "proxy.kubeconfig")


@contextlib.contextmanager
def _stage(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    say(f"{what} after {time.monotonic() - started:.1f} s")

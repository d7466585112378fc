"""What a virtual machine starts from: a kernel, an initramfs and a disk with the images in it.

The disk is a whole Debian root with containerd, kubelet and kube-proxy, and with every image
unpacked already: under emulation, importing them took two thirds of a node's start.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab import debian, namespace
from lab.parts import part, register, run

_HERE = Path(__file__).parent
_SCRIPTS = ("initramfs-init", "node-init")
_ETC = _HERE / "node-etc"
_PACKAGES = (
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "kmod",
    "mount",
    "nfs-common",
    "procps",
    "runc",
)
_KERNELS = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
# What the disk and the network hang on; the rest is loaded from the disk.
_FIRST_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
# Debian's alternatives, which a maintainer script would have set.
_IPTABLES = ("iptables", "iptables-save", "iptables-restore")
_LEFT_OUT = ("boot", "usr/share/doc", "usr/share/man", "usr/share/locale")
# The file is sparse: only what is in it takes room on the host.
_SIZE = "8G"


@dataclasses.dataclass(frozen=True, slots=True)
class NodeDisk:
    """What the emulator is given to start a node; nothing writes to these files.

    Attributes:
        kernel: A Linux image.
        initramfs: A gzipped cpio archive with the modules that the disk needs.
        disk: An ext4 filesystem without partitions.
    """

    kernel: Path
    initramfs: Path
    disk: Path


def why_not() -> str | None:
    """One line saying why this machine can hold no such nodes, or None."""
    if reason := namespace.why_not():
        return reason
    if platform.machine() != "x86_64":
        return f"the emulated nodes are x86_64, and this machine is {platform.machine()}"
    return None


def node_disk(programs: Sequence[Path], containerd: Path) -> NodeDisk:
    """The disk of all nodes, built now if there is none of the same content.

    Args:
        programs: kubelet and kube-proxy; their paths change with their content.
        containerd: A containerd's root with images in it, as `containerd.baked` gives; likewise.

    Raises:
        PartError: It cannot be built here.
    """
    root = node_root()

    def build(place: Path) -> None:
        tree = place / "root"
        run(["cp", "-a", "--reflink=auto", root, tree])
        version = next((tree / "lib/modules").iterdir()).name
        shutil.copyfile(tree / f"boot/vmlinuz-{version}", place / "vmlinuz")
        _furnish(tree, programs, version)
        _write_initramfs(tree, version, place)
        (tree / "var/lib").mkdir(parents=True, exist_ok=True)
        run(["cp", "-a", "--reflink=auto", containerd, tree / "var/lib/containerd"])
        for folder in _LEFT_OUT:
            shutil.rmtree(tree / folder, ignore_errors=True)
        # No journal: the disk is thrown away with its machine.
        options = ["-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0"]
        run(["mke2fs", "-q", *options, "-d", tree, place / "disk.ext4", _SIZE])
        shutil.rmtree(tree)

    inputs = ("disk 1", str(root), _own_content(), *map(str, [*programs, containerd]))
    made = part("node-disk", inputs, build)
    return NodeDisk(made / "vmlinuz", made / "initramfs.gz", made / "disk.ext4")


@register("machine-root", why_not)
def node_root() -> Path:
    """A Debian root with a kernel and what a node needs beside Kubernetes' programs.

    Raises:
        PartError: It cannot be fetched here.
    """
    return debian.root("node-root", (*_PACKAGES, _kernel_package()))


def _kernel_package() -> str:
    return _KERNELS[debian.release().partition("-")[0] or "debian"]


def _own_content() -> str:
    """A digest of what the disk is made by and of: this module, and the files of this folder."""
    files = [Path(__file__), *(_HERE / name for name in _SCRIPTS), *sorted(_ETC.iterdir())]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _furnish(tree: Path, programs: Sequence[Path], version: str) -> None:
    """Put into a root what makes it a node's."""
    local = tree / "usr/local/sbin"
    local.mkdir(parents=True, exist_ok=True)
    for program in (*programs, _HERE / "node-init"):
        shutil.copy(program, local / program.name)
    for family in ("", "6"):
        for name in _IPTABLES:
            link = tree / "usr/sbin" / name.replace("ip", f"ip{family}", 1)
            if not link.exists():
                link.symlink_to("xtables-nft-multi")
    shutil.copytree(_ETC, tree / "etc/modelshelf")
    # Every pod's files begin with these; nobody is found by name.
    (tree / "etc/resolv.conf").touch()
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")
    for folder in ("etc/cni/net.d", "etc/kubernetes", "mnt", "proc", "sys", "dev", "run"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    run(["chroot", tree, "depmod", version])


def _write_initramfs(tree: Path, version: str, place: Path) -> None:
    """Write `initramfs.gz`: busybox, the first modules in the order to load them, and /init."""
    small = place / "initramfs"
    for folder in ("bin", "dev", "etc", "lib/modules", "proc", "root"):
        (small / folder).mkdir(parents=True)
    shutil.copy(tree / "bin/busybox", small / "bin/busybox")
    shutil.copy(_HERE / "initramfs-init", small / "init")
    paths = _modules(tree, version)
    for path in paths:
        shutil.copy(tree / path.lstrip("/"), small / "lib/modules")
    (small / "etc/modules").write_text("".join(f"{Path(path).name}\n" for path in paths))
    names = "\n".join(str(path.relative_to(small)) for path in sorted(small.rglob("*")))
    archive = place / "initramfs.cpio"
    # busybox writes the archive to its output, which is no text: so it goes by a file.
    command = f"{tree}/bin/busybox cpio -o -H newc >{archive}"
    run(["sh", "-c", command], folder=small, stdin=f"{names}\n".encode())
    (place / "initramfs.gz").write_bytes(gzip.compress(archive.read_bytes(), 1, mtime=0))
    archive.unlink()
    shutil.rmtree(small)


def _modules(tree: Path, version: str) -> list[str]:
    """The files of the first modules and of what they need, each once, in the order to load."""
    shown = run(["chroot", tree, "modprobe", "-a", "-S", version, "-D", *_FIRST_MODULES])
    words = [line.split() for line in shown.splitlines()]
    return list(dict.fromkeys(word[1] for word in words if word[0] == "insmod"))

"""containerd with the images in it: imported once, into the cache, and then only looked at."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import control, images
from lab.parts import REPOSITORY, part, run
from lab.processes import Process

# Where containerd keeps content and snapshots below its root, and databases of what there is.
_CONTENT = "io.containerd.content.v1.content"
_SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs"
_DATABASES = ("io.containerd.metadata.v1.bolt/meta.db", f"{_SNAPSHOTS}/metadata.db")
_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
# Others need modules or commands that a machine may lack.
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Inside a namespace an oom_score_adj below the own one is refused; a profile would be loaded
# into the machine's kernel.
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
discard_unpacked_layers = false
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
_SHOWN = ("rbind", "ro", "nosuid", "nodev")
# Before a runtime creates a container, that is a folder with a config.json:
# https://github.com/opencontainers/runtime-spec/blob/main/bundle.md
_RUNC = """\
#!{python} -IS
import json, os, sys
argv = sys.argv[1:]
if "--bundle" in argv:
    path = os.path.join(argv[argv.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    with open("{table}") as file:
        mounts = json.load(file).get(config["annotations"].get("io.kubernetes.cri.image-name"))
    if mounts:
        config["mounts"] += mounts
        with open(path, "w") as file:
            json.dump(config, file)
os.execv("{runc}", ["runc", *argv])
"""


class Containerd:
    """A running containerd whose images came with it.

    Args:
        folder: Where it keeps everything but its log.
        logs: Where its log is.
        baked: A folder of `baked()` to start from, or None to start empty.
        programs: A folder of more programs for it and its network plugins.

    Attributes:
        process: The running program.
        socket: Where it listens.
    """

    def __init__(
        self, folder: Path, logs: Path, baked: Path | None, programs: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "containerd.sock"
        self._env = environment(programs)
        self._programs = programs
        plugins = control.tools().folder / "usr/lib/cni"
        config = folder / "containerd.toml"
        text = _CONFIG.format(folder=folder, pause=images.PAUSE, plugins=plugins)
        config.write_text(text, encoding="utf-8")
        if baked is not None:
            _lay_out(baked, folder / "root")
        program = control.tools().program("containerd")
        self.process = Process("containerd", [program, "--config", config], logs, self._env)
        self.process.until(self.socket.exists, "containerd listens", 20)

    def mount(self, image: str, folders: Mapping[str, Path]) -> None:
        """Show folders of the node in every container of an image, read-only.

        Pods cannot ask for that: their security forbids it.

        Args:
            image: Its name.
            folders: Where in the container → which of the node's.
        """
        assert self._programs is not None, "only a node's runc can be covered"
        mounts = [
            {"destination": inside, "type": "bind", "source": f"{outside}", "options": _SHOWN}
            for inside, outside in folders.items()
        ]
        table = self._programs / "mounts.json"
        known = json.loads(table.read_text(encoding="utf-8")) if table.exists() else {}
        table.write_text(json.dumps({**known, image: mounts}), encoding="utf-8")
        program = self._programs / "runc"
        runc = control.tools().program("runc")
        text = _RUNC.format(python=sys.executable, table=table, runc=runc)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    def load(self, archive: Path) -> None:
        """Import an image from a file."""
        ctr = control.tools().program("ctr")
        words = [f"{ctr}", "--address", f"{self.socket}", "--namespace", "k8s.io", "images"]
        run([*words, "import", archive], env=self._env)


def environment(programs: Path | None = None) -> Mapping[str, str]:
    """What a node's programs find in their environment: ours first, then Debian's unpacked ones."""
    tools = control.tools()
    paths = [str(programs)] if programs is not None else []
    return tools.env | {"PATH": ":".join([*paths, tools.programs, os.environ["PATH"]])}


def bake(place: Path, archives: Sequence[Path]) -> None:
    """Import images into an empty folder; only inside the namespace, with which mounts vanish."""
    folder = place.parent / "containerd"
    running = Containerd(folder, place.parent / "logs", None)
    try:
        for archive in archives:
            running.load(archive)
    finally:
        running.process.stop()
    for name in (_CONTENT, _SNAPSHOTS, "io.containerd.metadata.v1.bolt"):
        (folder / "root" / name).rename(place / name)


def baked(chosen: Sequence[images.Image]) -> Path:
    """A containerd's root in which images are imported and unpacked.

    Raises:
        lab.parts.PartError: It cannot be made here.
    """

    def build(place: Path) -> None:
        lab = [sys.executable, "-m", "lab"]
        archives = [image.archive for image in chosen]
        env = {"PYTHONPATH": str(REPOSITORY / "tests")}
        run([*lab, "run", *lab, "bake", place, *archives], env=env)

    inputs = ("baked 1", str(control.tools().folder), *(str(image.archive) for image in chosen))
    return part("containerd-images", inputs, build)


def _lay_out(baked: Path, root: Path) -> None:
    """Show a containerd what was baked: databases are copied, the rest is seen, read-only.

    Layers are only read, so a start copies no image.
    """
    blobs = f"{_CONTENT}/blobs"
    shown = [blobs, *(f"{_SNAPSHOTS}/snapshots/{name}" for name in _snapshots(baked))]
    for name in shown:
        (root / name).mkdir(parents=True)
        run(["mount", "--bind", "-o", "ro", baked / name, root / name])
    for name in _DATABASES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(baked / name, root / name)


def _snapshots(baked: Path) -> list[str]:
    return sorted(path.name for path in (baked / _SNAPSHOTS / "snapshots").iterdir())

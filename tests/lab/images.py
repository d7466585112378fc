"""Stand-ins for the images that users run, made of Debian packages, under the real names."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lab import debian, llama
from lab.parts import part, register, run

PAUSE = "localhost/pause:1"
PYTHON = "docker.io/library/python:3.13-slim"
LLAMA = f"ghcr.io/ggml-org/llama.cpp:server-{llama.BUILD}"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What holds a pod's namespaces open: it waits, reaps and ends when told to.
_PAUSE_C = """\
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { _exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
    signal(SIGINT, end);
    signal(SIGTERM, end);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """An image in a file.

    Attributes:
        name: The name that pods ask for.
        archive: A file as `docker save` writes it; its path changes with its content.
    """

    name: str
    archive: Path


@register("images")
def images() -> tuple[Image, ...]:
    """All images of a cluster, made now where they are missing.

    Raises:
        lab.parts.PartError: One cannot be made here.
    """
    return (pause(), python(), llama_server())


def pause() -> Image:
    """The image of which every pod has one container."""

    def build(layer: Path) -> None:
        source = layer.parent / "pause.c"
        source.write_text(_PAUSE_C, encoding="ascii")
        run(["cc", "-Os", "-static", "-o", layer / "pause", source])

    config = {"Entrypoint": ["/pause"], "User": "65534:65534"}
    return image(PAUSE, None, config, build, (_PAUSE_C,))


def python() -> Image:
    """Debian's Python under the name of Docker's: no pip, and root where a pod says nothing."""
    return image(PYTHON, python_root(), {"Cmd": ["python3"], "Env": [_PATH]})


@register("python-root")
def python_root() -> Path:
    """A Debian root with Python, and with what compiled packages for it need."""
    return debian.root("root-python", ["python3", "ca-certificates", "libgomp1", "libstdc++6"])


@register("llama-root")
def llama_root() -> Path:
    """A Debian root with what llama-server is linked to."""
    return debian.root("root-llama", ["ca-certificates", "libgomp1", "libstdc++6"])


def llama_server() -> Image:
    """The real llama-server on a Debian root without Python, as the real image has none.

    Source of its configuration: https://github.com/ggml-org/llama.cpp/blob/master/.devops/cpu.Dockerfile
    """
    root = llama_root()
    programs = llama.server()

    def build(layer: Path) -> None:
        shutil.copytree(programs, layer / "app")

    config = {
        "Entrypoint": ["/app/llama-server"],
        "Env": [_PATH, "LLAMA_ARG_HOST=0.0.0.0"],
        "WorkingDir": "/app",
    }
    return image(LLAMA, root, config, build, (str(programs),))


def image(
    name: str,
    root: Path | None,
    config: Mapping[str, object],
    add: Callable[[Path], None] | None = None,
    inputs: tuple[str, ...] = (),
) -> Image:
    """An image of a root filesystem and of what a function puts into a second layer.

    Args:
        name: What pods call it.
        root: The first layer.
        config: Its configuration.
        add: Fills the second layer.
        inputs: What it fills it with; other ones make another image.
    """

    def build(place: Path) -> None:
        layers = []
        if root is not None:
            layers.append(_tar(root, place.parent / "root.tar"))
        if add is not None:
            (place.parent / "layer").mkdir(mode=0o755)
            add(place.parent / "layer")
            layers.append(_tar(place.parent / "layer", place.parent / "layer.tar"))
        _write(place / "image.tar", name, layers, config)

    short = name.rpartition("/")[2].replace(":", "-")
    made_of = ("image 1", name, str(root), json.dumps(config, sort_keys=True), *inputs)
    return Image(name, part(f"image-{short}", made_of, build) / "image.tar")


def _tar(folder: Path, archive: Path) -> Path:
    run(["tar", "-C", folder, "--numeric-owner", "--sort=name", "-cf", archive, "."])
    return archive


def _write(archive: Path, name: str, layers: list[Path], config: Mapping[str, object]) -> None:
    """Write what `docker save` would.

    Source: https://github.com/moby/moby/blob/master/image/spec/v1.2.md
    """
    digests = [_sha256(layer) for layer in layers]
    description = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    text = json.dumps(description).encode()
    named = f"{hashlib.sha256(text).hexdigest()}.json"
    places = [f"{digest}/layer.tar" for digest in digests]
    table = [{"Config": named, "RepoTags": [name], "Layers": places}]
    with tarfile.open(archive, "w") as opened:
        for layer, place in zip(layers, places, strict=True):
            opened.add(layer, place)
        for inner, content in ((named, text), ("manifest.json", json.dumps(table).encode())):
            entry = tarfile.TarInfo(inner)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

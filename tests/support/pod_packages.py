"""Our packages as pods run them: as a kubelet mounts them, and by the command lines of pods."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import modelshelf
from modelshelf.render import code
from modelshelf.render.code import Package, Verb

SOURCE = Path(modelshelf.__file__).parent


def command_line(
    verb: Verb,
    spec: str | os.PathLike[str],
    *engine: str,
    python: str = sys.executable,
    packages: Path = SOURCE,
) -> list[str]:
    """The command line of a verb, as a pod has it.

    Args:
        verb: What to run.
        spec: The file that says what to do.
        engine: An engine's command line, for the verbs that run one.
        python: The interpreter.
        packages: The folder that holds our packages.
    """
    _, *flags, main, name, path = code.command(verb, os.fspath(spec))
    main = main.replace(code.CODE_FOLDER, str(packages), 1)
    return [python, *flags, main, name, path, *(("--", *engine) if engine else ())]


def mount(folder: Path, packages: Iterable[Package]) -> Path:
    """Lay packages out as a kubelet mounts their ConfigMaps: links to links, and nothing else.

    Args:
        folder: An empty folder.
        packages: Which ones.

    Returns:
        The folder that holds the packages.
    """
    for package in packages:
        mount_files(folder / "modelshelf" / package, code.files(package))
    return folder / "modelshelf"


def mount_files(place: Path, files: Mapping[str, str]) -> None:
    """Lay files out as a kubelet mounts a ConfigMap: read-only, behind two links."""
    data = place / "..2026_01_01_00_00_00.0123456789"
    data.mkdir(parents=True)
    (place / "..data").symlink_to(data.name)
    for name, text in files.items():
        (data / name).write_text(text, encoding="utf-8")
        (data / name).chmod(0o444)
        (place / name).symlink_to(f"..data/{name}")
    data.chmod(0o555)
    place.chmod(0o555)

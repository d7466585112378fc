"""Debian packages, unpacked into the cache folder and never installed.

Installing containerd, runc or etcd would replace Docker's and start daemons on somebody's laptop.
Package lists are the machine's own, or fresh ones in a folder of ours where it has none.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import platform
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.parts import PartError, part, run

# `_apt` may not write into our folders; these downloads are verified by apt all the same.
_APT = (
    "apt-get",
    "-qq",
    *("-o", "APT::Sandbox::User=root"),
    *("-o", "Debug::NoLocking=1"),
    # Nothing of the machine's is written, its indexes neither.
    *("-o", "Dir::Cache::pkgcache="),
    *("-o", "Dir::Cache::srcpkgcache="),
    # Otherwise `update` succeeds without lists where a mirror is not reached.
    *("-o", "APT::Update::Error-Mode=any"),
)
_LIBRARIES = ("usr/lib", "lib")
_PROGRAMS = ("usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
# What a root is made of before its packages; without the second apt merges /usr by a perl script.
_MINIMUM = ("?essential", "?exact-name(usr-is-merged)")
_MERGED = ("bin", "sbin", "lib", "lib64")
# Not `dpkg -x`: it replaces the links of a merged /usr by folders. And not by a pipe: a shell tells
# how the last program of one ended, and nothing of the first.
_EXTRACT = (
    'dpkg-deb --fsys-tarfile "$1" >"$1.tar" && tar -xpf "$1.tar" --keep-directory-symlink -C "$2"'
    " --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """Unpacked packages whose programs run on this machine.

    Attributes:
        folder: The root they are unpacked under.
    """

    folder: Path

    @property
    def programs(self) -> str:
        """The folders of its programs, joined by colons for PATH."""
        return ":".join(str(self.folder / place) for place in _PROGRAMS)

    @property
    def env(self) -> dict[str, str]:
        """What its programs need in their environment besides PATH."""
        libraries = [
            str(path) for place in _LIBRARIES for path in self.folder.glob(f"{place}/*-linux-gnu*")
        ]
        extensions = next(self.folder.glob("usr/lib/*/xtables"), None)
        found = {"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {}
        return found | ({"XTABLES_LIBDIR": str(extensions)} if extensions else {})

    def program(self, name: str) -> Path:
        """Where a program of it lies.

        Raises:
            PartError: It has none of that name.
        """
        for place in _PROGRAMS:
            if (self.folder / place / name).exists():
                return self.folder / place / name
        raise PartError(f"the unpacked packages under {self.folder} hold no program {name}")


def release() -> str:
    """The machine's release, as `debian-bookworm`, or an empty text where it is no Debian.

    Source: https://www.freedesktop.org/software/systemd/man/latest/os-release.html
    """
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    name, code = fields.get("ID", ""), fields.get("VERSION_CODENAME", "")
    return f"{name}-{code}" if name in ("debian", "ubuntu") and code else ""


def unpacked(name: str, packages: Sequence[str]) -> Tree:
    """Packages, with what they need and this machine lacks, in a folder of the cache.

    Raises:
        PartError: They cannot be fetched here.
    """

    def build(place: Path) -> None:
        # The packages themselves are fetched even where they are installed: a run must not
        # depend on what a laptop happens to have.
        _fetch(packages, place, always=packages)

    inputs = ("tree 2", release(), platform.machine(), *packages)
    return Tree(part(name, inputs, build))


def root(name: str, packages: Sequence[str]) -> Path:
    """The folder of a whole root filesystem: the essential packages and the named ones.

    No maintainer script has run in it. What scripts would have made is made here: the merged
    /usr, /etc/passwd and /etc/group, the bundle of certificates, the name `awk`, and Python's
    compiled library. Needs root, for owners and modes.

    Raises:
        PartError: They cannot be fetched here.
    """

    def build(place: Path) -> None:
        for link in _MERGED:
            (place / "usr" / link).mkdir(parents=True)
            (place / link).symlink_to(f"usr/{link}")
        with tempfile.NamedTemporaryFile() as nothing_installed:
            options = ("-o", f"Dir::State::status={nothing_installed.name}")
            _fetch([*_MINIMUM, *packages], place, options)
        _configure(place)

    return part(name, ("root 2", release(), platform.machine(), *packages), build)


def _fetch(
    packages: Sequence[str], place: Path, options: Sequence[str] = (), always: Sequence[str] = ()
) -> None:
    """Unpack what apt would install, and some packages even if it would not, into a folder."""
    with tempfile.TemporaryDirectory(dir=place.parent) as debs:
        try:
            _download([*_APT, *options], packages, always, debs)
        except PartError:
            # No lists, or stale ones: packages are gone from the archive when newer ones are out.
            lists = f"Dir::State::lists={_new_lists()}"
            _download([*_APT, *options, "-o", lists], packages, always, debs)
        for deb in sorted(Path(debs).glob("*.deb")):
            run(["sh", "-c", _EXTRACT, "sh", deb, place])
            deb.with_name(f"{deb.name}.tar").unlink()


def _download(
    apt: Sequence[str], packages: Sequence[str], always: Sequence[str], folder: str
) -> None:
    shown = run([*apt, "-q=1", "-s", "install", "--no-install-recommends", *packages])
    found = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", shown, re.MULTILINE)
    missing = [f"{name}={version}" for name, version in found if name not in always]
    wanted = [*always, *missing]
    run([*apt, "download", *wanted], folder=folder)
    if len(list(Path(folder).glob("*.deb"))) < len(wanted):
        raise PartError(f"apt-get downloaded fewer packages than {' '.join(wanted)}")


def _new_lists() -> Path:
    """Today's package lists, in a folder of ours: the machine's stay as they are."""

    def build(place: Path) -> None:
        (place / "partial").mkdir()
        run([*_APT, "-o", f"Dir::State::lists={place}", "update"])
        # No package index: a mirror that is not reached must not become today's lists.
        if not any(path.stat().st_size for path in place.glob("*_Packages*")):
            raise PartError(
                "apt-get update fetched no package lists: is a mirror reached from here?"
            )

    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return part("apt-lists", ("lists 1", release(), today), build)


def _configure(place: Path) -> None:
    for name in ("passwd", "group"):
        text = (place / f"usr/share/base-passwd/{name}.master").read_text(encoding="utf-8")
        (place / "etc" / name).write_text(text, encoding="utf-8")
    authorities = sorted((place / "usr/share/ca-certificates").rglob("*.crt"))
    if authorities:
        bundle = place / "etc/ssl/certs/ca-certificates.crt"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_bytes(b"".join(path.read_bytes() for path in authorities))
    awk = place / "usr/bin/awk"
    if not awk.exists() and (place / "usr/bin/mawk").exists():
        awk.symlink_to("mawk")
    if (place / "usr/bin/python3").exists():
        # A pod's root is read-only: without these each start would compile the library anew.
        run(["chroot", place, "python3", "-m", "compileall", "-q", "/usr/lib/python3"])
        libraries = sorted(path.name for path in (place / "usr/lib").glob("python3.*"))
        for name in libraries:
            run(["chroot", place, "python3", "-m", "compileall", "-q", f"/usr/lib/{name}"])

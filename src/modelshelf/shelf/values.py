"""The values that all other modules use: a reference, a file, a snapshot. No I/O."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from modelshelf.shelf.errors import UsageError

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPO_ID = re.compile(rf"{_NAME}/{_NAME}")
_MAX_REPO_ID = 128  # characters of `org/name`, which is part of the names of lease files
_REF = re.compile(rf"(?P<org>{_NAME})/(?P<name>{_NAME})(?:@(?P<at>{_NAME}))?")


@dataclasses.dataclass(frozen=True, slots=True)
class ModelRef:
    """What a user calls a model: `org/name`, `org/name@tag` or `org/name@prefix-of-an-id`.

    Attributes:
        org: The part before the slash.
        name: The part after the slash.
        at: A tag or the first digits of a snapshot id; None for the newest.
    """

    org: str
    name: str
    at: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Parse a reference as a user writes it.

        Raises:
            UsageError: The text has none of the three forms.
        """
        match = _REF.fullmatch(text)
        if match is None or ".." in text or len(text.partition("@")[0]) > _MAX_REPO_ID:
            raise UsageError(
                f"{text!r} does not name a model",
                hint="write org/name, org/name@tag or org/name@first-digits-of-an-id",
            )
        return cls(match["org"], match["name"], match["at"])

    @property
    def repo_id(self) -> str:
        """`org/name`."""
        return f"{self.org}/{self.name}"

    def __str__(self) -> str:
        return self.repo_id if self.at is None else f"{self.repo_id}@{self.at}"


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    r"""One file of a snapshot.

    Attributes:
        path: Where it lies in the snapshot, with forward slashes.
        size: Bytes.
        lfs_sha256: The source's own sha256 of the content, 64 hex digits (Git LFS).
        git_sha1: The source's own git blob id, 40 hex digits: sha1 of `blob SIZE\\0` + content.
        sha256: What a pull measured, 64 hex digits; None before it read the bytes.
    """

    path: str
    size: int
    lfs_sha256: str | None = None
    git_sha1: str | None = None
    sha256: str | None = None

    @property
    def checksum(self) -> str:
        """The checksum that identifies the content before it is fetched; empty if there is none."""
        return self.lfs_sha256 or self.git_sha1 or self.sha256 or ""

    @property
    def content_sha256(self) -> str | None:
        """The sha256 of the content if it is known without reading the file, else None."""
        return self.sha256 or self.lfs_sha256

    def to_json(self) -> dict[str, Any]:
        """The form that `.snapshot.json` and specs hold."""
        origin: dict[str, str] = {}
        if self.lfs_sha256:
            origin = {"lfs_sha256": self.lfs_sha256}
        elif self.git_sha1:
            origin = {"git_sha1": self.git_sha1}
        return {"path": self.path, "size": self.size, "sha256": self.sha256, "origin": origin}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> File:
        """Read what `to_json` wrote.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: The data has another shape.
        """
        origin = data["origin"]
        size = int(data["size"])
        if size < 0:
            raise ValueError(f"{size} is no size")
        return cls(
            path=str(data["path"]),
            size=size,
            lfs_sha256=_hex(origin.get("lfs_sha256"), 64),
            git_sha1=_hex(origin.get("git_sha1"), 40),
            sha256=_hex(data.get("sha256"), 64),
        )


def _hex(value: object, digits: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
        raise ValueError(f"{value!r} is not {digits} hex digits")
    return value


def files_digest(files: Iterable[File]) -> str:
    """The sha256, in hex, of the list of some files with their checksums.

    Each file adds `path NUL checksum LF` in UTF-8; files are sorted by path.
    """
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda f: f.path):
        digest.update(f"{file.path}\0{file.checksum}\n".encode())
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """Some files of one model at one commit.

    Attributes:
        source: Where it came from, as a URI without secrets (`hf://org/name@main`).
        repo_id: `org/name`: its name on the shelf.
        revision: The name by which the user asked for it (`main`, a tag, a commit).
        commit: The immutable id that the revision stood for: 40 hex digits.
        files: The files, sorted by path.
        created: When it was published, in seconds since 1970 (UTC); 0.0 before that.
        tool: Name and version of what published it.
        path: The folder it lies in; None before it is published. Two snapshots in different
            folders are equal.
    """

    source: str
    repo_id: str
    revision: str
    commit: str
    files: tuple[File, ...]
    created: float = 0.0
    tool: str = ""
    path: str | None = dataclasses.field(default=None, compare=False)

    @property
    def id(self) -> str:
        """`<commit>-<files>`: the commit, and the first 8 hex digits of `files_digest`."""
        return f"{self.commit}-{files_digest(self.files)[:8]}"

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The form that `.snapshot.json` and specs hold."""
        return {
            "source": self.source,
            "repo_id": self.repo_id,
            "revision": self.revision,
            "commit": self.commit,
            "created": self.created,
            "tool": self.tool,
            "files": [file.to_json() for file in self.files],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], path: str | None = None) -> Snapshot:
        """Read what `to_json` wrote.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: The data has another shape.
        """
        commit = _hex(data["commit"], 40)
        if commit is None:
            raise ValueError("a snapshot needs a commit")
        repo_id = str(data["repo_id"])
        if not _REPO_ID.fullmatch(repo_id) or ".." in repo_id or len(repo_id) > _MAX_REPO_ID:
            raise ValueError(f"{repo_id!r} is not org/name")
        return cls(
            source=str(data["source"]),
            repo_id=repo_id,
            revision=str(data["revision"]),
            commit=commit,
            files=tuple(File.from_json(entry) for entry in data["files"]),
            created=float(data["created"]),
            tool=str(data["tool"]),
            path=path,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOut:
    """Files of a repository that are not part of a snapshot.

    Attributes:
        reason: Why they were not chosen.
        files: How many they are.
        bytes: Their size together.
    """

    reason: str
    files: int
    bytes: int


def canonical_json(value: object) -> bytes:
    """Write a value as JSON so that equal values give equal bytes.

    Keys are sorted, there are no spaces, the encoding is UTF-8, and a newline ends it.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"

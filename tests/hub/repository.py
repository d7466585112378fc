"""A repository of the Hub: its commits, their files, and the JSON that describes them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from hub.content import Content, content_of, git_sha1, sha256


@dataclasses.dataclass(slots=True)
class Entry:
    """A file as the Hub describes it; a test can change the description to a wrong one.

    Attributes:
        path: Its name in the repository, which is not checked.
        content: The bytes that are sent.
        size: The stated number of bytes.
        git_sha1: The stated blob id; for an LFS file that of its pointer.
        sha256: The stated LFS checksum; None for a file that git itself holds.
    """

    path: str
    content: Content
    size: int
    git_sha1: str
    sha256: str | None = None

    @property
    def etag(self) -> str:
        """The ETag that the Hub sends: the checksum in quotes."""
        return f'"{self.sha256 or self.git_sha1}"'


def _entry(path: str, value: bytes | Content, *, lfs: bool) -> Entry:
    content = content_of(value)
    if not lfs:
        return Entry(path, content, content.size, git_sha1(content))
    oid = sha256(content)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {content.size}\n"
    return Entry(path, content, content.size, git_sha1(content_of(pointer.encode())), oid)


def _blob(entry: Entry) -> dict[str, Any]:
    blob: dict[str, Any] = {"blobId": entry.git_sha1, "size": entry.size}
    if entry.sha256:
        blob["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 134}
    return blob


class Repo:
    """A model repository. `hub.add` makes it; `update` adds a commit and moves `main` to it.

    Attributes:
        repo_id: `org/name`.
        revisions: Branches and tags, each with its commit.
        commits: Each commit's files by path.
        token: The token that is needed to read it; None for a public repository.
        gated: Whether only its files need the token, as after an accepted licence. If not, the
            token hides the whole repository.
        xet: Whether its LFS files are listed with a `xetHash`, as most of the real Hub's are.
    """

    def __init__(self, repo_id: str) -> None:
        self.repo_id = repo_id
        self.revisions: dict[str, str] = {}
        self.commits: dict[str, dict[str, Entry]] = {}
        self.token: str | None = None
        self.gated = False
        self.xet = False

    @property
    def commit(self) -> str:
        """The commit of `main`, 40 hex digits."""
        return self.revisions["main"]

    @property
    def files(self) -> dict[str, Entry]:
        """The files of `main`."""
        return self.commits[self.commit]

    def update(
        self,
        files: Mapping[str, bytes | Content],
        lfs: Collection[str] = (),
        revision: str = "main",
    ) -> str:
        """Commit exactly these files, move a branch there, and return the commit."""
        entries = {path: _entry(path, value, lfs=path in lfs) for path, value in files.items()}
        state = [(entry.path, entry.etag) for entry in entries.values()]
        text = repr((self.repo_id, len(self.commits), sorted(state)))
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = entries
        self.revisions[revision] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, tag or commit."""
        return self.revisions.get(revision, revision if revision in self.commits else None)

    def info(self, commit: str, *, blobs: bool = False) -> dict[str, Any]:
        """The answer to `/api/models/…/revision/…`; with `?blobs=true` its files have sizes."""
        return {
            "_id": "0" * 24,
            "id": self.repo_id,
            "modelId": self.repo_id,
            "sha": commit,
            "private": self.token is not None and not self.gated,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "tags": [],
            "siblings": [
                {"rfilename": path} | (_blob(entry) if blobs else {})
                for path, entry in self.commits[commit].items()
            ],
        }

    def tree(self, commit: str, under: str, *, recursive: bool) -> list[dict[str, Any]]:
        """The rows of `/api/models/…/tree/…`: folders, then files, each sorted by path."""
        prefix = under + "/" if under else ""
        folders: set[str] = set()
        file_rows: list[dict[str, Any]] = []
        for path, entry in sorted(self.commits[commit].items()):
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            depths = range(1, len(parts) if recursive else min(len(parts), 2))
            folders.update(prefix + "/".join(parts[:depth]) for depth in depths)
            if recursive or len(parts) == 1:
                file_rows.append(self._file(entry))
        rows = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": f} for f in folders]
        return sorted(rows, key=lambda row: str(row["path"])) + file_rows

    def _file(self, entry: Entry) -> dict[str, Any]:
        row: dict[str, Any] = {
            "type": "file",
            "oid": entry.git_sha1,
            "size": entry.size,
            "path": entry.path,
        }
        if entry.sha256:
            row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 134}
            if self.xet:
                row["xetHash"] = entry.sha256[::-1]
        return row

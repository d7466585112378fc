"""`Model`: the snapshots of one model, and the meaning of its revisions. Pure."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping

from modelshelf.mirror.tree import Tree
from modelshelf.shelf.values import Snapshot

MAIN = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclasses.dataclass(frozen=True)
class Model:
    """The published snapshots of one model.

    Attributes:
        repo_id: `org/name`.
        snapshots: At least one snapshot; the newest comes first.
        tags: Tag → snapshot id.
    """

    repo_id: str
    snapshots: tuple[Snapshot, ...]
    tags: Mapping[str, str]
    _trees: dict[str, Tree] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def created(self) -> float:
        """The time when its oldest snapshot was published, in seconds since 1970 (UTC)."""
        return self.snapshots[-1].created

    def tree(self, revision: str) -> Tree | None:
        """Find the files at a revision; None if there is no such revision.

        A Hub has one tree for each commit, and clients resolve every name to a commit first. So a
        commit, `main` (the newest pull), a tag and the recorded name of a revision all mean every
        file that the shelf has of the commit. Only the full id of a snapshot means the files of
        that snapshot alone.
        """
        snapshot = self._by_id.get(revision)
        commit = self._resolve(revision) if snapshot is None else ""
        key = commit or revision
        if key not in self._trees:
            parts = [snapshot] if snapshot else [s for s in self.snapshots if s.commit == commit]
            if not parts:
                return None
            self._trees[key] = Tree.of(parts)
        return self._trees[key]

    def branches(self) -> dict[str, str]:
        """Map `main` and each revision that was pulled by name to its commit.

        The shelf does not record whether such a revision is a branch or a tag at its source.
        """
        commits = {MAIN: self.snapshots[0].commit}
        for snapshot in self.snapshots:
            if not _COMMIT.fullmatch(snapshot.revision):
                commits.setdefault(snapshot.revision, snapshot.commit)
        return commits

    def tag_commits(self) -> dict[str, str]:
        """Map each tag to its commit. A tag whose snapshot was removed is left out."""
        tagged = {tag: self._by_id.get(id_) for tag, id_ in sorted(self.tags.items())}
        return {tag: snapshot.commit for tag, snapshot in tagged.items() if snapshot}

    def _resolve(self, revision: str) -> str:
        """Return the commit of a revision, which may be a commit itself; empty if it is unknown."""
        if _COMMIT.fullmatch(revision):
            return revision
        # A tag takes precedence over a recorded revision, but no tag can redefine `main`.
        names = {**self.branches(), **self.tag_commits(), MAIN: self.snapshots[0].commit}
        return names.get(revision, "")

    @functools.cached_property
    def _by_id(self) -> dict[str, Snapshot]:
        return {snapshot.id: snapshot for snapshot in self.snapshots}

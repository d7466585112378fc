"""One model of the shelf, and what the names of revisions mean in it. Pure."""

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
        snapshots: At least one; newest first.
        tags: Tag → snapshot id.
    """

    repo_id: str
    snapshots: tuple[Snapshot, ...]
    tags: Mapping[str, str]
    _trees: dict[str, Tree] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def created(self) -> float:
        """When its first snapshot was published, seconds since 1970 (UTC)."""
        return self.snapshots[-1].created

    def tree(self, revision: str) -> Tree | None:
        """The files at a revision; None if there is no such revision.

        A Hub has one tree for each commit, and clients turn every name into a commit first. So a
        commit, `main` (the newest pull), a tag and a revision's recorded name all mean whatever
        the shelf has of that commit; only a whole snapshot id means that choice of files alone.
        """
        exact = self._by_id.get(revision)
        commit = self._commit(revision) if exact is None else ""
        key = commit or revision
        if key not in self._trees:
            parts = [exact] if exact else [s for s in self.snapshots if s.commit == commit]
            if not parts:
                return None
            self._trees[key] = Tree.of(parts)
        return self._trees[key]

    def branches(self) -> dict[str, str]:
        """`main` and the other names that were pulled by → commit.

        Whether such a name is a branch or a tag at its source is not recorded.
        """
        found = {MAIN: self.snapshots[0].commit}
        for snapshot in self.snapshots:
            if not _COMMIT.fullmatch(snapshot.revision):
                found.setdefault(snapshot.revision, snapshot.commit)
        return found

    def tag_commits(self) -> dict[str, str]:
        """Tag → commit; a tag whose snapshot is gone is left out."""
        tagged = {tag: self._by_id.get(id_) for tag, id_ in sorted(self.tags.items())}
        return {tag: snapshot.commit for tag, snapshot in tagged.items() if snapshot}

    def _commit(self, revision: str) -> str:
        """The commit that a name means, itself perhaps; empty if it means nothing."""
        if _COMMIT.fullmatch(revision):
            return revision
        # The tag is asked before the recorded name, but no tag can take `main` away.
        names = {**self.branches(), **self.tag_commits(), MAIN: self.snapshots[0].commit}
        return names.get(revision, "")

    @functools.cached_property
    def _by_id(self) -> dict[str, Snapshot]:
        return {snapshot.id: snapshot for snapshot in self.snapshots}

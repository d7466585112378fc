"""The JSON answers of the Hub's protocol, including its refusals. Pure.

The answers have the fields and codes that huggingface_hub reads. None of them mentions xet, because
a client that sees a xet hash asks for a token and then fetches the file from another host.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from modelshelf.mirror.models import Model
from modelshelf.mirror.tree import FileEntry, Tree, TreeEntry

MAX_PAGE_ENTRIES = 1000  # also the number of entries on a page if the client asks for none


@dataclasses.dataclass(frozen=True, slots=True)
class JsonAnswer:
    """An answer whose body is JSON.

    Attributes:
        status: The HTTP status.
        body: The value to send as JSON.
        headers: The headers by lower-case name, without content-type and content-length.
    """

    status: int
    body: Any
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


def model_info(model: Model, tree: Tree, *, blobs: bool = False) -> dict[str, Any]:
    """Describe a model at a revision.

    Args:
        model: The model.
        tree: The files of the model at that revision.
        blobs: Include the size and the checksums of each file.
    """
    return {
        **_summary(model, tree),
        "siblings": [_sibling(entry, blobs=blobs) for entry in tree.entries],
        "usedStorage": sum(entry.size for entry in tree.entries),
    }


def search_result(models: Iterable[Model]) -> list[dict[str, Any]]:
    """Describe a list of models, each at `main`, without their files."""
    trees = ((model, model.tree("main")) for model in models)
    return [_summary(model, tree) for model, tree in trees if tree is not None]


def _summary(model: Model, tree: Tree) -> dict[str, Any]:
    return {
        "_id": tree.commit[:24],
        "id": model.repo_id,
        "modelId": model.repo_id,
        "author": model.repo_id.partition("/")[0],
        "sha": tree.commit,
        "lastModified": _time(tree.created),
        "createdAt": _time(model.created),
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
    }


def _sibling(entry: FileEntry, *, blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        sibling |= {"size": entry.size, "blobId": entry.oid}
    if blobs and entry.lfs_sha256:
        sibling["lfs"] = {
            "sha256": entry.lfs_sha256,
            "size": entry.size,
            "pointerSize": entry.pointer_size,
        }
    return sibling


def tree_entries(entries: Iterable[TreeEntry]) -> list[dict[str, Any]]:
    """Describe the files and folders of a listing."""
    return [_tree_entry(entry) for entry in entries]


def _tree_entry(entry: TreeEntry) -> dict[str, Any]:
    if not isinstance(entry, FileEntry):
        return {"type": "directory", "oid": entry.oid, "size": 0, "path": entry.path}
    fields: dict[str, Any] = {
        "type": "file",
        "oid": entry.oid,
        "size": entry.size,
        "path": entry.path,
    }
    if entry.lfs_sha256:
        fields["lfs"] = {
            "oid": entry.lfs_sha256,
            "size": entry.size,
            "pointerSize": entry.pointer_size,
        }
    return fields


def refs(model: Model) -> dict[str, Any]:
    """List the branches and tags of a model."""
    return {
        "branches": _refs("refs/heads", model.branches()),
        "converts": [],
        "tags": _refs("refs/tags", model.tag_commits()),
        "pullRequests": [],
    }


def _refs(kind: str, commits: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"name": name, "ref": f"{kind}/{name}", "targetCommit": commit}
        for name, commit in commits.items()
    ]


def refusal(status: int, message: str, *, code: str = "") -> JsonAnswer:
    """Make an error in the Hub's form. Clients choose the exception to raise by its code."""
    # The message may quote any character of a URL, but a header may hold only ASCII.
    ascii_message = ascii(message)[1:-1]
    headers = {"x-error-message": ascii_message}
    if code:
        headers["x-error-code"] = code
    return JsonAnswer(status, {"error": message}, headers)


def no_repo(repo_id: str) -> JsonAnswer:
    """Refuse a model that the shelf does not have."""
    return refusal(404, f"model {repo_id} is not on this shelf", code="RepoNotFound")


def no_revision(repo_id: str, revision: str) -> JsonAnswer:
    """Refuse a revision that the shelf does not have of a model."""
    message = f"model {repo_id} has no revision {revision} on this shelf"
    return refusal(404, message, code="RevisionNotFound")


def no_entry(repo_id: str, revision: str, path: str) -> JsonAnswer:
    """Refuse a file that the shelf does not have at a revision."""
    message = f"model {repo_id} has no {path} at revision {revision} on this shelf"
    return refusal(404, message, code="EntryNotFound")


def next_link(url: str, query: dict[str, str], after: str) -> str:
    """Make the `Link` header that names the next page.

    Args:
        url: The URL of this page without its query. It is absolute, because clients do not resolve
            relative URLs.
        query: The query of this page.
        after: The path of the last entry on this page.
    """
    pairs = {**query, "cursor": after}
    text = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in pairs.items())
    return f'<{url}?{text}>; rel="next"'


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def encode(body: object) -> bytes:
    """Encode a body as JSON."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

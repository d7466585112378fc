"""The JSON that the Hub's protocol answers with, and its refusals, as values. Pure.

Fields and codes are those that huggingface_hub reads. None of them speaks of xet: a client that
sees a xet hash asks for a token and then leaves for another host.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from modelshelf.mirror.models import Model
from modelshelf.mirror.tree import Entry, Node, Tree

PAGE = 1000  # nodes on a page of a tree where the client does not say


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A whole small answer.

    Attributes:
        status: HTTP status.
        body: What is sent as JSON.
        headers: By lower-case name, without type and length.
    """

    status: int
    body: Any
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


def model_info(model: Model, tree: Tree, *, blobs: bool = False) -> dict[str, Any]:
    """A model at a revision.

    Args:
        model: The model.
        tree: The files at that revision.
        blobs: Give each file's size and checksums too.
    """
    return {
        **_summary(model, tree),
        "siblings": [_sibling(entry, blobs=blobs) for entry in tree.entries],
        "usedStorage": sum(entry.size for entry in tree.entries),
    }


def search_result(models: Iterable[Model]) -> list[dict[str, Any]]:
    """A list of models, each at `main`, without their files."""
    found = ((model, model.tree("main")) for model in models)
    return [_summary(model, tree) for model, tree in found if tree is not None]


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


def _sibling(entry: Entry, *, blobs: bool) -> dict[str, Any]:
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


def tree_nodes(nodes: Iterable[Node]) -> list[dict[str, Any]]:
    """Files and folders as a listing gives them."""
    return [_node(node) for node in nodes]


def _node(node: Node) -> dict[str, Any]:
    if not isinstance(node, Entry):
        return {"type": "directory", "oid": node.oid, "size": 0, "path": node.path}
    shown: dict[str, Any] = {
        "type": "file",
        "oid": node.oid,
        "size": node.size,
        "path": node.path,
    }
    if node.lfs_sha256:
        shown["lfs"] = {
            "oid": node.lfs_sha256,
            "size": node.size,
            "pointerSize": node.pointer_size,
        }
    return shown


def refs(model: Model) -> dict[str, Any]:
    """The names of a model's commits."""
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


def refusal(status: int, message: str, *, code: str = "") -> Answer:
    """An error in the Hub's form: the code chooses the exception that clients raise."""
    # A name from a URL may hold anything; a header may not.
    plain = ascii(message)[1:-1]
    headers = {"x-error-message": plain}
    if code:
        headers["x-error-code"] = code
    return Answer(status, {"error": message}, headers)


def no_repo(repo_id: str) -> Answer:
    """The shelf has no such model."""
    return refusal(404, f"model {repo_id} is not on this shelf", code="RepoNotFound")


def no_revision(repo_id: str, revision: str) -> Answer:
    """The model has no such revision here."""
    message = f"model {repo_id} has no revision {revision} on this shelf"
    return refusal(404, message, code="RevisionNotFound")


def no_entry(repo_id: str, revision: str, path: str) -> Answer:
    """The revision has no such file here."""
    message = f"model {repo_id} has no {path} at revision {revision} on this shelf"
    return refusal(404, message, code="EntryNotFound")


def next_link(url: str, query: dict[str, str], after: str) -> str:
    """The `Link` header that leads to the next page.

    Args:
        url: The absolute URL of this page without its query, since clients do not resolve it.
        query: This page's query.
        after: Where the next page goes on.
    """
    pairs = {**query, "cursor": after}
    text = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in pairs.items())
    return f'<{url}?{text}>; rel="next"'


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def encode(body: object) -> bytes:
    """A body as it is sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

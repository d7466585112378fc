"""`Hub`: answers every request of the Hub's protocol from an index of the shelf. Synchronous."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from modelshelf.mirror import json_answers
from modelshelf.mirror.file_answer import FileAnswer, answer_file
from modelshelf.mirror.index import Index
from modelshelf.mirror.json_answers import JsonAnswer
from modelshelf.mirror.models import Model
from modelshelf.mirror.published_files import open_published_file
from modelshelf.mirror.routes import HubRoute, RouteKind
from modelshelf.mirror.tree import Tree

_READ_METHODS = ("GET", "HEAD")
_REFUSALS = {
    RouteKind.WHOAMI: json_answers.refusal(401, "this mirror knows no users"),
    RouteKind.UNKNOWN: json_answers.refusal(
        404, "this mirror serves models only, and does not know this path"
    ),
}


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorRequest:
    """One request to the mirror.

    Attributes:
        method: `GET`, `HEAD` or `POST`.
        route: What the path of the request asks for.
        url: The absolute URL that was sent, without the query.
        query: The query. If a name occurs twice, its last value counts.
        headers: The headers by lower-case name.
        body: The body. It is a list of paths, or empty.
    """

    method: str
    route: HubRoute
    url: str = ""
    query: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class OpenedFile:
    """An open file and the answer to send.

    Attributes:
        fd: The descriptor of the file. The receiver closes it.
        answer: The answer, which says which parts of the file to send.
    """

    fd: int
    answer: FileAnswer


class Hub:
    """Answers requests for the models of a shelf. It may be used from several threads."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def answer(self, request: MirrorRequest) -> JsonAnswer | OpenedFile:
        """Answer one request."""
        route = request.route
        allowed = ("POST",) if route.kind is RouteKind.PATHS else _READ_METHODS
        if request.method not in allowed:
            refusal = json_answers.refusal(405, "this mirror is read-only")
            return dataclasses.replace(
                refusal, headers={**refusal.headers, "allow": ", ".join(allowed)}
            )
        try:
            return _REFUSALS.get(route.kind) or self._read(request)
        except OSError:
            return json_answers.refusal(503, "the shelf cannot be read just now")

    def _read(self, request: MirrorRequest) -> JsonAnswer | OpenedFile:
        route = request.route
        if route.kind is RouteKind.SEARCH:
            return self._search(request.query)
        model = self._index.model(route.repo_id)
        if model is None:
            return json_answers.no_repo(route.repo_id)
        tree = model.tree(route.revision)
        if tree is None:
            return json_answers.no_revision(route.repo_id, route.revision)
        if route.kind is RouteKind.FILE:
            return _file(request, tree)
        return _metadata(request, model, tree)

    def _search(self, query: Mapping[str, str]) -> JsonAnswer:
        words, author = query.get("search", "").lower(), query.get("author", "").lower()
        limit = _limit(query)
        if limit is None:
            return _bad_limit()
        models: list[Model] = []
        for repo_id in self._index.repo_ids():
            matches = words in repo_id.lower() and author in ("", repo_id.partition("/")[0].lower())
            if matches and len(models) < limit and (model := self._index.model(repo_id)):
                models.append(model)
        return JsonAnswer(200, json_answers.search_result(models))


def _metadata(request: MirrorRequest, model: Model, tree: Tree) -> JsonAnswer:
    if request.route.kind is RouteKind.REFS:
        return JsonAnswer(200, json_answers.refs(model))
    if request.route.kind is RouteKind.TREE:
        return _page(request, tree)
    if request.route.kind is RouteKind.PATHS:
        paths = _paths(request)
        if paths is None:
            return json_answers.refusal(400, "the body is not a list of paths")
        entries = [entry for path in paths if (entry := tree.entry(path)) is not None]
        return JsonAnswer(200, json_answers.tree_entries(entries))
    blobs = _is_true(request.query.get("blobs"))
    return JsonAnswer(200, json_answers.model_info(model, tree, blobs=blobs))


def _page(request: MirrorRequest, tree: Tree) -> JsonAnswer:
    route, query = request.route, request.query
    limit = _limit(query)
    if limit is None:
        return _bad_limit()
    folder = route.path.strip("/")
    if folder and (tree.entry(folder) is None or tree.file(folder) is not None):
        return json_answers.no_entry(route.repo_id, route.revision, folder)
    recursive = _is_true(query.get("recursive"))
    entries, after = tree.page(folder, recursive=recursive, after=query.get("cursor"), limit=limit)
    headers = {"x-repo-commit": tree.commit}
    if after is not None:
        headers["link"] = json_answers.next_link(request.url, dict(query), after)
    return JsonAnswer(200, json_answers.tree_entries(entries), headers)


def _file(request: MirrorRequest, tree: Tree) -> JsonAnswer | OpenedFile:
    route = request.route
    entry = tree.file(route.path)
    if entry is None:
        return json_answers.no_entry(route.repo_id, route.revision, route.path)
    try:
        fd = open_published_file(entry)
    except FileNotFoundError:
        # The model was removed after the index was read.
        return json_answers.no_entry(route.repo_id, route.revision, route.path)
    except OSError:
        return json_answers.refusal(
            500, f"{route.path} of {route.repo_id} is damaged on this shelf"
        )
    boundary = secrets.token_hex(16)
    return OpenedFile(
        fd, answer_file(entry, tree.commit, request.method, request.headers, boundary)
    )


def _limit(query: Mapping[str, str]) -> int | None:
    text = query.get("limit", "") or str(json_answers.MAX_PAGE_ENTRIES)
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - digits
        return None
    return min(int(text), json_answers.MAX_PAGE_ENTRIES) or None


def _bad_limit() -> JsonAnswer:
    return json_answers.refusal(400, "limit is not a positive number")


def _paths(request: MirrorRequest) -> list[str] | None:
    """Read the list of paths in a body. huggingface_hub sends a form; other clients send JSON."""
    try:
        if "json" in request.headers.get("content-type", ""):
            paths = json.loads(request.body)["paths"]
        else:
            paths = parse_qs(request.body.decode(), keep_blank_values=True).get("paths")
    except (ValueError, TypeError, KeyError):
        return None
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return None
    return [path.strip("/") for path in paths]


def _is_true(text: str | None) -> bool:
    return (text or "").lower() in ("true", "1")

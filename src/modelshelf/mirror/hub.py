"""Every question of the Hub's protocol, answered from an index. Synchronous."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from modelshelf.mirror import answers
from modelshelf.mirror.answers import Answer
from modelshelf.mirror.delivery import Delivery, deliver
from modelshelf.mirror.index import Index
from modelshelf.mirror.models import Model
from modelshelf.mirror.opening import open_entry
from modelshelf.mirror.routes import Ask, Kind
from modelshelf.mirror.tree import Tree

_READS = ("GET", "HEAD")
_REFUSED = {
    Kind.WHOAMI: answers.refusal(401, "this mirror knows no users"),
    Kind.UNKNOWN: answers.refusal(404, "this mirror serves models only, and not this of them"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Attributes:
        method: `GET`, `HEAD` or `POST`.
        ask: What its path asks for.
        url: Its absolute URL as it was sent, without the query.
        query: Its query; the last value where a name is given twice.
        headers: By lower-case name.
        body: At most a list of paths.
    """

    method: str
    ask: Ask
    url: str = ""
    query: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that is to be sent: its descriptor, which the receiver closes, and what of it."""

    fd: int
    delivery: Delivery


class Hub:
    """Answers questions about the models of a shelf. Its one method may be called from threads."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def answer(self, question: Question) -> Answer | OpenFile:
        """Answer one question."""
        ask = question.ask
        allowed = ("POST",) if ask.kind is Kind.PATHS else _READS
        if question.method not in allowed:
            refused = answers.refusal(405, "this mirror is read-only")
            return dataclasses.replace(
                refused, headers={**refused.headers, "allow": ", ".join(allowed)}
            )
        try:
            return _REFUSED.get(ask.kind) or self._read(question)
        except OSError:
            return answers.refusal(503, "the shelf cannot be read just now")

    def _read(self, question: Question) -> Answer | OpenFile:
        ask = question.ask
        if ask.kind is Kind.SEARCH:
            return self._search(question.query)
        model = self._index.model(ask.repo_id)
        if model is None:
            return answers.no_repo(ask.repo_id)
        tree = model.tree(ask.revision)
        if tree is None:
            return answers.no_revision(ask.repo_id, ask.revision)
        if ask.kind is Kind.FILE:
            return _file(question, tree)
        return _metadata(question, model, tree)

    def _search(self, query: Mapping[str, str]) -> Answer:
        words, author = query.get("search", "").lower(), query.get("author", "").lower()
        limit = _limit(query)
        if limit is None:
            return _bad_limit()
        found: list[Model] = []
        for repo_id in self._index.repo_ids():
            fits = words in repo_id.lower() and author in ("", repo_id.partition("/")[0].lower())
            if fits and len(found) < limit and (model := self._index.model(repo_id)):
                found.append(model)
        return Answer(200, answers.search_result(found))


def _metadata(question: Question, model: Model, tree: Tree) -> Answer:
    if question.ask.kind is Kind.REFS:
        return Answer(200, answers.refs(model))
    if question.ask.kind is Kind.TREE:
        return _page(question, tree)
    if question.ask.kind is Kind.PATHS:
        paths = _paths(question)
        if paths is None:
            return answers.refusal(400, "the body is no list of paths")
        nodes = [node for path in paths if (node := tree.node(path)) is not None]
        return Answer(200, answers.tree_nodes(nodes))
    blobs = _true(question.query.get("blobs"))
    return Answer(200, answers.model_info(model, tree, blobs=blobs))


def _page(question: Question, tree: Tree) -> Answer:
    ask, query = question.ask, question.query
    limit = _limit(query)
    if limit is None:
        return _bad_limit()
    folder = ask.path.strip("/")
    if folder and (tree.node(folder) is None or tree.file(folder) is not None):
        return answers.no_entry(ask.repo_id, ask.revision, folder)
    recursive = _true(query.get("recursive"))
    nodes, after = tree.page(folder, recursive=recursive, after=query.get("cursor"), limit=limit)
    headers = {"x-repo-commit": tree.commit}
    if after is not None:
        headers["link"] = answers.next_link(question.url, dict(query), after)
    return Answer(200, answers.tree_nodes(nodes), headers)


def _file(question: Question, tree: Tree) -> Answer | OpenFile:
    ask = question.ask
    entry = tree.file(ask.path)
    if entry is None:
        return answers.no_entry(ask.repo_id, ask.revision, ask.path)
    try:
        fd = open_entry(entry)
    except FileNotFoundError:
        # Removed since the index was read.
        return answers.no_entry(ask.repo_id, ask.revision, ask.path)
    except OSError:
        return answers.refusal(500, f"{ask.path} of {ask.repo_id} is damaged on this shelf")
    boundary = secrets.token_hex(16)
    return OpenFile(fd, deliver(entry, tree.commit, question.method, question.headers, boundary))


def _limit(query: Mapping[str, str]) -> int | None:
    text = query.get("limit", "") or str(answers.PAGE)
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - digits
        return None
    return min(int(text), answers.PAGE) or None


def _bad_limit() -> Answer:
    return answers.refusal(400, "limit is no positive number")


def _paths(question: Question) -> list[str] | None:
    """The list of paths in a body, which huggingface_hub sends as a form and others as JSON."""
    try:
        if "json" in question.headers.get("content-type", ""):
            paths = json.loads(question.body)["paths"]
        else:
            paths = parse_qs(question.body.decode(), keep_blank_values=True).get("paths")
    except (ValueError, TypeError, KeyError):
        return None
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return None
    return [path.strip("/") for path in paths]


def _true(text: str | None) -> bool:
    return (text or "").lower() in ("true", "1")

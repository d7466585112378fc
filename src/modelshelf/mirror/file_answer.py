"""Deciding the answer to a request for a file: status, headers and bytes. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from modelshelf.mirror.byte_ranges import Span, multipart, requested_spans
from modelshelf.mirror.tree import FileEntry

_CONTENT_TYPE = "application/octet-stream"
_OK, _PARTIAL, _NOT_MODIFIED, _UNSATISFIABLE = 200, 206, 304, 416


@dataclasses.dataclass(frozen=True, slots=True)
class FileAnswer:
    """The answer to a request for a file.

    Attributes:
        status: 200, 206, 304 or 416.
        headers: The headers by lower-case name.
        pieces: The body, in order: literal bytes, and spans of the file. Empty for HEAD.
    """

    status: int
    headers: dict[str, str]
    pieces: tuple[bytes | Span, ...] = ()


def answer_file(
    entry: FileEntry, commit: str, method: str, request: Mapping[str, str], boundary: str
) -> FileAnswer:
    """Decide the answer to a GET or HEAD request for a file.

    Args:
        entry: The file.
        commit: The requested commit, 40 hex digits.
        method: `GET` or `HEAD`. Ranges do not apply to `HEAD` (RFC 9110, 14.2).
        request: The headers of the request.
        boundary: A text that no content contains. It separates the parts of the answer if the
            request asks for several ranges.
    """
    headers = _headers(entry, commit)
    if _lists_etag(request.get("if-none-match"), entry.etag):
        return FileAnswer(_NOT_MODIFIED, headers)
    spans = (
        requested_spans(request.get("range"), entry.size)
        if _ranges_apply(method, request, entry)
        else None
    )
    if spans is None:
        pieces: tuple[bytes | Span, ...] = (Span(0, entry.size),)
        status = _OK
    elif not spans:
        unsatisfied = {"content-range": f"bytes */{entry.size}", "content-length": "0"}
        return FileAnswer(_UNSATISFIABLE, {**headers, **unsatisfied})
    elif len(spans) == 1:
        pieces, status = spans, _PARTIAL
        headers["content-range"] = spans[0].content_range(entry.size)
    else:
        pieces, status = multipart(spans, entry.size, _CONTENT_TYPE, boundary), _PARTIAL
        headers["content-type"] = f"multipart/byteranges; boundary={boundary}"
    headers["content-length"] = str(sum(len(piece) for piece in pieces))
    return FileAnswer(status, headers, pieces if method == "GET" else ())


def _headers(entry: FileEntry, commit: str) -> dict[str, str]:
    headers = {
        "accept-ranges": "bytes",
        "content-type": _CONTENT_TYPE,
        "etag": f'"{entry.etag}"',
        "x-repo-commit": commit,
        "x-content-type-options": "nosniff",
    }
    if entry.lfs_sha256:
        headers["x-linked-etag"] = f'"{entry.etag}"'
        headers["x-linked-size"] = str(entry.size)
    return headers


def _lists_etag(condition: str | None, etag: str) -> bool:
    """Whether a list of entity tags has this one; weak tags count, too (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in (condition or "").split(",")]
    return "*" in tags or f'"{etag}"' in tags


def _ranges_apply(method: str, request: Mapping[str, str], entry: FileEntry) -> bool:
    """Whether Range applies: only to GET, and with If-Range only to unchanged content."""
    condition = request.get("if-range")
    return method == "GET" and condition in (None, f'"{entry.etag}"')

"""What a request for a file is answered with: status, headers, and which bytes. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from modelshelf.mirror.byteranges import Span, multipart, wanted
from modelshelf.mirror.tree import Entry

_TYPE = "application/octet-stream"
_OK, _PARTIAL, _NOT_MODIFIED, _UNSATISFIABLE = 200, 206, 304, 416


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """An answer about one file.

    Attributes:
        status: 200, 206, 304 or 416.
        headers: By lower-case name.
        pieces: The body in order: bytes as they are, and spans of the file. Empty for HEAD.
    """

    status: int
    headers: dict[str, str]
    pieces: tuple[bytes | Span, ...] = ()


def deliver(
    entry: Entry, commit: str, method: str, request: Mapping[str, str], boundary: str
) -> Delivery:
    """Decide the answer to GET or HEAD of a file.

    Args:
        entry: The file.
        commit: The commit it was asked of, 40 hex digits.
        method: `GET` or `HEAD`; the second has no ranges (RFC 9110, 14.2).
        request: The request's headers.
        boundary: Separates the parts if several ranges are asked for; not part of any content.
    """
    headers = _headers(entry, commit)
    if _names(request.get("if-none-match"), entry.etag):
        return Delivery(_NOT_MODIFIED, headers)
    whole = (Span(0, entry.size),)
    spans = wanted(request.get("range"), entry.size) if _may_range(method, request, entry) else None
    if spans is None:
        pieces: tuple[bytes | Span, ...] = whole
        status = _OK
    elif not spans:
        unsatisfied = {"content-range": f"bytes */{entry.size}", "content-length": "0"}
        return Delivery(_UNSATISFIABLE, {**headers, **unsatisfied})
    elif len(spans) == 1:
        pieces, status = spans, _PARTIAL
        headers["content-range"] = spans[0].content_range(entry.size)
    else:
        pieces, status = multipart(spans, entry.size, _TYPE, boundary), _PARTIAL
        headers["content-type"] = f"multipart/byteranges; boundary={boundary}"
    headers["content-length"] = str(sum(len(piece) for piece in pieces))
    return Delivery(status, headers, pieces if method == "GET" else ())


def _headers(entry: Entry, commit: str) -> dict[str, str]:
    headers = {
        "accept-ranges": "bytes",
        "content-type": _TYPE,
        "etag": f'"{entry.etag}"',
        "x-repo-commit": commit,
        "x-content-type-options": "nosniff",
    }
    if entry.lfs_sha256:
        headers["x-linked-etag"] = f'"{entry.etag}"'
        headers["x-linked-size"] = str(entry.size)
    return headers


def _names(condition: str | None, etag: str) -> bool:
    """Whether a list of entity tags names this one; a weak tag does too (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in (condition or "").split(",")]
    return "*" in tags or f'"{etag}"' in tags


def _may_range(method: str, request: Mapping[str, str], entry: Entry) -> bool:
    """Whether Range counts: for GET, and under If-Range only while the content is the same."""
    condition = request.get("if-range")
    return method == "GET" and condition in (None, f'"{entry.etag}"')

"""The `Range` header, which asks for parts of a file (RFC 9110, section 14). Pure."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

MAX_SPANS = 100
_SPEC = re.compile(r"[ \t]*(?P<first>[0-9]{0,19})-(?P<last>[0-9]{0,19})[ \t]*")


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file from `start` up to but not including `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Return the value of `Content-Range` for this part of a file of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def requested_spans(header: str | None, size: int) -> tuple[Span, ...] | None:
    """Return the spans of a file that a Range header asks for, in the order of the header.

    Args:
        header: The value of the header; None if there is no header.
        size: The size of the file in bytes.

    Returns:
        None if the whole file must be sent. That is so without a header, with a malformed header or
        another unit, and with a header that asks for the same bytes twice or for more than
        `MAX_SPANS` parts, which no ordinary client does. An empty tuple if the file has none of the
        requested bytes (status 416).
    """
    unit, _, specs = (header or "").partition("=")
    if unit.strip().lower() != "bytes":
        return None
    spans = []
    for spec in specs.split(","):
        if not spec.strip(" \t"):
            continue
        bounds = _bounds(spec, size)
        if bounds is None:
            return None
        if bounds[0] < bounds[1]:
            spans.append(Span(*bounds))
    if len(spans) > MAX_SPANS or _overlap(spans) or not specs.strip(" \t,"):
        return None
    return tuple(spans)


def _bounds(spec: str, size: int) -> tuple[int, int] | None:
    """Read one `first-last` and limit it to the file.

    Returns:
        The bounds, which are empty if the file has none of these bytes; None if it is malformed.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        return max(0, size - int(match["last"])), size
    first = int(match["first"])
    if not match["last"]:
        return first, size
    last = int(match["last"])
    return None if last < first else (first, min(last + 1, size))


def _overlap(spans: Sequence[Span]) -> bool:
    ordered = sorted(spans, key=lambda span: span.start)
    return any(before.stop > after.start for before, after in itertools.pairwise(ordered))


def multipart(
    spans: Sequence[Span], size: int, content_type: str, boundary: str
) -> tuple[bytes | Span, ...]:
    """Make the body of a `multipart/byteranges` answer: headers as bytes, content as spans."""
    pieces: list[bytes | Span] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {span.content_range(size)}\r\n\r\n"
        )
        pieces += [head.encode(), span]
    return (*pieces, f"\r\n--{boundary}--\r\n".encode())

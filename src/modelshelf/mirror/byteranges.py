"""The `Range` header: which bytes of a file are wanted (RFC 9110, section 14). Pure."""

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
        """The value of `Content-Range` for this part of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def wanted(header: str | None, size: int) -> tuple[Span, ...] | None:
    """The spans of a file that a Range header asks for, in its order.

    Args:
        header: The header's value; None if there was none.
        size: Bytes of the file.

    Returns:
        None if the whole file is to be sent: no header, one that is malformed or of another unit,
        or one that asks for bytes twice or for more than `MAX_SPANS` parts, which no honest
        client does. An empty tuple if nothing of what is asked for exists (status 416).
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
    """One `first-last`, cut to the file; empty bounds where it lies outside, None if malformed."""
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
    return any(one.stop > other.start for one, other in itertools.pairwise(ordered))


def multipart(
    spans: Sequence[Span], size: int, content_type: str, boundary: str
) -> tuple[bytes | Span, ...]:
    """The body of a `multipart/byteranges` answer: framing as bytes, content as spans."""
    pieces: list[bytes | Span] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {span.content_range(size)}\r\n\r\n"
        )
        pieces += [head.encode(), span]
    return (*pieces, f"\r\n--{boundary}--\r\n".encode())

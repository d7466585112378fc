"""Replies, and the faults that a test can put into them. Pure: `wire` sends the replies."""

from __future__ import annotations

import dataclasses
import fnmatch
import gzip
from typing import Any, Literal

from hub.content import Bytes, Content, read

Kind = Literal[
    "flip",
    "reset",
    "short",
    "stall",
    "long",
    "long-chunked",
    "long-close",
    "slow",
    "ignore-range",
    "part",
    "need-range",
    "status",
    "redirect",
    "wrong-start",
    "wrong-total",
    "wrong-length",
    "headers",
    "gzip",
    "refuse",
]
Ending = Literal["keep", "close", "reset", "stall"]
Framing = Literal["length", "chunked", "close"]

# These faults change a body, so a reply without one (a redirect, a refusal) is left alone.
_BODY_FAULTS = ("flip", "reset", "short", "stall", "long", "long-chunked", "long-close", "slow")
_RANGE_FAULTS = ("ignore-range", "part", "wrong-start", "wrong-total")


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What is sent: a range of content, and how to damage it.

    Attributes:
        status: HTTP status.
        headers: Sent as they are, also if they are wrong; the sender adds only framing.
        content: The source of the body; None for an empty body.
        start: First byte of the body in `content`.
        stop: One past the last byte.
        shift: Bytes that are added to the stated Content-Length.
        extra: How many bytes follow that were not requested.
        framing: How the client learns where the body ends.
        cut: How many body bytes come before `ending`; None for all.
        ending: What happens to the connection then.
        flips: Offsets in the content of the bytes that are sent wrong.
        delay: Seconds before the first byte.
        rate: Bytes a second; 0 for no limit.
    """

    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    content: Content | None = None
    start: int = 0
    stop: int = 0
    shift: int = 0
    extra: int = 0
    framing: Framing = "length"
    cut: int | None = None
    ending: Ending = "keep"
    flips: tuple[int, ...] = ()
    delay: float = 0.0
    rate: float = 0.0

    @property
    def length(self) -> int:
        """How many bytes of body were requested."""
        return self.stop - self.start


@dataclasses.dataclass(slots=True)
class Fault:
    """One kind of misbehaviour, for the requests that it matches.

    These are the kinds, and the fields that each uses:

    - `flip`: the byte at offset `at` of the file is sent wrong, in replies that hold it.
    - `reset`, `short`, `stall`: after `after` bytes of the body the connection is reset (RST),
      closed, or goes quiet until `hub.release()` or the client leaves. Replies with no more than
      `after` bytes are left alone.
    - `long`: `extra` bytes too many, counted in Content-Length; `long-chunked`, `long-close`: the
      same without a Content-Length.
    - `slow`: `delay` seconds before the first byte, then `rate` bytes a second on a connection.
    - `part`: no more than the first `after` bytes of the range, in a 206 that says so.
    - `ignore-range`: 200 and the whole file. `need-range`: `status` (403) to a GET without Range.
    - `status`: `status` instead of an answer, with `retry_after` and `error_code` as headers.
    - `redirect`: `status` (302) to `location`, as written; empty for the URL request for: a loop.
    - `wrong-start`, `wrong-total`, `wrong-length`: Content-Range or Content-Length off by `by`.
    - `headers`: `headers` replace the reply's own; an empty value removes one.
    - `gzip`: 200 and the whole file, compressed, although nobody asked for that.
    - `refuse`: a connection is reset as soon as it is accepted, whatever `path` says.

    Attributes:
        path: A glob. With a leading slash it is matched with the URL's path, otherwise with a
            file's name in its repository (also behind a signed URL).
        times: How many requests it affects; None for all.
        method: `GET`, `HEAD` or `*`.
        on: `hub`, `host` (the file host) or `*`.
        begins: Where in the file the reply's bytes begin; None for anywhere.
        hits: How many requests it has affected so far.
    """

    kind: Kind
    path: str = "*"
    times: int | None = None
    method: str = "GET"
    on: str = "*"
    begins: int | None = None
    at: int = 0
    after: int = 0
    extra: int = 1000
    by: int = 1
    delay: float = 0.0
    rate: float = 0.0
    status: int = 0
    retry_after: str | int | None = None
    error_code: str = ""
    location: str = ""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    hits: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class RequestFacts:
    """The parts of a request that decide whether a fault matches.

    Attributes:
        method: HTTP method.
        target: Path and query as sent.
        path: The URL's path, unquoted.
        file: The requested file, by its name in the repository; None for anything else.
        origin: `hub` or `host`.
        ranged: Whether a Range was sent.
    """

    method: str
    target: str
    path: str
    file: str | None
    origin: str
    ranged: bool


def affects(fault: Fault, request: RequestFacts, reply: Reply) -> bool:
    """Whether a fault affects the reply to a request."""
    if fault.kind == "refuse" or (fault.times is not None and fault.hits >= fault.times):
        return False
    if fault.method not in ("*", request.method) or fault.on not in ("*", request.origin):
        return False
    subject = request.path if fault.path.startswith("/") else request.file
    if subject is None or not fnmatch.fnmatchcase(subject, fault.path):
        return False
    return _is_possible(fault, request, reply)


def _is_possible(fault: Fault, request: RequestFacts, reply: Reply) -> bool:
    if fault.begins is not None and (reply.content is None or fault.begins != reply.start):
        return False
    if fault.kind == "need-range":
        return not request.ranged
    if fault.kind in _RANGE_FAULTS:
        return reply.status == 206
    if fault.kind == "flip":
        return reply.content is not None and reply.start <= fault.at < reply.stop
    if fault.kind in ("reset", "short", "stall"):
        return reply.content is not None and fault.after < reply.length
    return fault.kind not in _BODY_FAULTS or reply.content is not None


def damage(fault: Fault, request: RequestFacts, reply: Reply) -> Reply:
    """Put a fault into a reply."""
    changes = _changes(fault, reply)
    return (
        dataclasses.replace(reply, **changes) if changes else _replace_reply(fault, request, reply)
    )


def _changes(fault: Fault, reply: Reply) -> dict[str, Any]:
    """The fields of a reply that a fault changes; empty if it needs another reply."""
    stop: Ending = "close" if fault.by > 0 else "keep"
    table: dict[str, dict[str, Any]] = {
        "flip": {"flips": (*reply.flips, fault.at)},
        "reset": {"cut": fault.after, "ending": "reset"},
        "short": {"cut": fault.after, "ending": "close"},
        "stall": {"cut": fault.after, "ending": "stall"},
        "long": {"extra": fault.extra, "shift": fault.extra},
        "long-chunked": {"extra": fault.extra, "framing": "chunked"},
        "long-close": {"extra": fault.extra, "framing": "close"},
        "slow": {"delay": fault.delay, "rate": fault.rate},
        "wrong-length": {"shift": fault.by, "ending": stop},
    }
    return table.get(fault.kind, {})


def _replace_reply(fault: Fault, request: RequestFacts, reply: Reply) -> Reply:
    match fault.kind:
        case "status":
            return _refusal(fault, fault.status or 500)
        case "need-range":
            return _refusal(fault, fault.status or 403)
        case "redirect":
            hub_headers = {k: v for k, v in reply.headers.items() if k.startswith("X-")}
            location = fault.location or request.target
            return Reply(fault.status or 302, hub_headers | {"Location": location})
        case "headers":
            headers = {k: v for k, v in (reply.headers | fault.headers).items() if v}
            return dataclasses.replace(reply, headers=headers)
        case "ignore-range" | "gzip" if reply.content is not None:
            headers = {k: v for k, v in reply.headers.items() if k != "Content-Range"}
            content = reply.content
            if fault.kind == "gzip":
                content = Bytes(gzip.compress(read(content)))
                headers["Content-Encoding"] = "gzip"
            return dataclasses.replace(
                reply, status=200, headers=headers, content=content, start=0, stop=content.size
            )
        case _:
            return _misstate_range(fault, reply)


def _misstate_range(fault: Fault, reply: Reply) -> Reply:
    total = reply.content.size if reply.content is not None else 0
    first, last = reply.start, reply.stop - 1
    stop = reply.stop
    if fault.kind == "part":
        stop = min(reply.stop, reply.start + fault.after)
        last = stop - 1
    elif fault.kind == "wrong-start":
        first, last = first + fault.by, last + fault.by
    else:
        total += fault.by
    headers = reply.headers | {"Content-Range": f"bytes {first}-{last}/{total}"}
    return dataclasses.replace(reply, headers=headers, stop=stop)


def _refusal(fault: Fault, status: int) -> Reply:
    headers: dict[str, str] = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    if fault.error_code:
        headers["X-Error-Code"] = fault.error_code
        headers["X-Error-Message"] = f"refused on request: {fault.error_code}"
    return Reply(status, headers | fault.headers)

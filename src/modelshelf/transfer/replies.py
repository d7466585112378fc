"""What to read of a reply to a request for a range, or why not. Pure.

A source or a proxy before it may send anything: another range, a file of another size, the whole
file although a range was requested. Each case is told from status and headers before a byte of the
body is used.
"""

from __future__ import annotations

import dataclasses
import http.client
import re

from modelshelf.shelf.errors import (
    Error,
    IntegrityError,
    NotAuthorisedError,
    NotFoundError,
    SourceError,
)
from modelshelf.shelf.values import File
from modelshelf.transfer.connection import HttpReply
from modelshelf.transfer.ranges import Range
from modelshelf.transfer.retries import RETRYABLE_STATUSES, requested_wait_seconds

_KNOWN_ENCODINGS = ("identity", "gzip", "x-gzip")
_MAX_QUOTED = 200  # characters of what a server says
_URL_SECRETS = re.compile(r"(?<=://)[^/@\s]*@|\?\S*")  # userinfo, and the query
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class RetryableError(Exception):
    """A request failed in a way that may pass.

    Args:
        reason: For people; without URLs.
        server_seconds: The wait that the server asked for; None if it did not.
        status: The HTTP status; 0 if there was none.
    """

    def __init__(
        self, reason: str, *, server_seconds: float | None = None, status: int = 0
    ) -> None:
        super().__init__(reason)
        self.server_seconds = server_seconds
        self.status = status


class RangeIgnoredError(Exception):
    """The server answers with the whole file instead of a range."""


@dataclasses.dataclass(frozen=True, slots=True)
class BodySlice:
    """Which part of a reply's body to use.

    Attributes:
        skip: Bytes to read and throw away.
        length: Bytes to use after them.
        gzipped: Whether the body is compressed. `skip` and `length` count what is in it.
    """

    skip: int
    length: int
    gzipped: bool = False


def slice_partial(file: File, response: http.client.HTTPResponse, requested: Range) -> BodySlice:
    """What to read of a 206 reply (Partial Content).

    Raises:
        RetryableError: It is another range, does not say which, or is a part of something
            compressed.
        IntegrityError: The file has another size where it is served, or the body is too long.
    """
    if _is_gzipped(response):
        raise RetryableError("the reply is a part of a compressed file")
    match = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range") or "")
    if match is None:
        raise RetryableError("the reply does not say which range it is")
    start, end = int(match[1]), int(match[2]) + 1
    if match[3] not in ("*", str(file.size)):
        raise _other_size_error(file, int(match[3]))
    if start != requested.start or not start < end <= requested.end:
        raise RetryableError(
            f"the reply is another range than bytes {requested.start}-{requested.end - 1}"
        )
    if response.length is not None and response.length > end - start:
        raise too_long_error(file)
    return BodySlice(0, end - start)


def slice_whole(
    file: File, response: http.client.HTTPResponse, requested: Range, *, expected: bool
) -> BodySlice:
    """What to read of a 200 reply, which is the whole file although a range was requested.

    Args:
        file: The file.
        response: The reply.
        requested: The range.
        expected: Whether it is known by now that this server ignores ranges.

    Raises:
        RangeIgnoredError: The whole file comes, and that was not expected.
        RetryableError: It is compressed by something else than gzip.
        IntegrityError: The file has another size where it is served.
    """
    gzipped = _is_gzipped(response)
    if not gzipped and response.length is not None and response.length != file.size:
        raise _other_size_error(file, response.length)
    if not expected and requested != (0, file.size):
        raise RangeIgnoredError
    return BodySlice(requested.start, requested.end - requested.start, gzipped)


def _is_gzipped(response: http.client.HTTPResponse) -> bool:
    """Whether a body is compressed, although that was not asked for."""
    encoding = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if encoding not in _KNOWN_ENCODINGS:
        raise RetryableError(f"the reply is compressed by {encoding!r}, which was not asked for")
    return encoding != "identity"


def _other_size_error(file: File, size: int) -> IntegrityError:
    return IntegrityError(
        f"{file.path} has {size:,} bytes where it is served and {file.size:,} in its commit",
        hint="the source or a proxy before it is broken: try another endpoint",
    )


def too_long_error(file: File) -> IntegrityError:
    """The error for a body that goes on behind its end."""
    return IntegrityError(
        f"the body of {file.path} is longer than its commit and its headers state",
        hint="the source or a proxy before it is broken: try another endpoint",
    )


def quote_refusal(message: str | None) -> str:
    """Quote a Hub's own words about a refusal, as the end of a sentence.

    Args:
        message: The header X-Error-Message; None if there is none.

    Returns:
        `: “Access is restricted”`, in one line and without secrets of URLs; empty for no message.
    """
    text = "".join(c if c.isprintable() else " " for c in _URL_SECRETS.sub("", message or ""))
    text = " ".join(text.split())[:_MAX_QUOTED]
    return f": “{text}”" if text else ""


def refusal_error(path: str, reply: HttpReply) -> Error | RetryableError:
    """The error for a reply whose status is neither 200 nor 206."""
    host, status = reply.target.origin[1].rpartition("@")[2], reply.response.status
    if status in RETRYABLE_STATUSES:
        server_seconds = requested_wait_seconds(reply.response.getheader)
        return RetryableError(
            f"{host} answered {status}", server_seconds=server_seconds, status=status
        )
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        reason = quote_refusal(reply.response.getheader("X-Error-Message"))
        return NotAuthorisedError(
            f"{host} refuses {path} with {status}{reason}",
            hint="accept the model's licence on its page and set HF_TOKEN to a token that may read",
        )
    if status in (http.client.NOT_FOUND, http.client.GONE):
        return NotFoundError(f"{host} has no {path} at this commit (it answered {status})")
    if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        return IntegrityError(f"{path} is shorter where {host} serves it than in its commit")
    return SourceError(f"{host} answered {status} for {path}")

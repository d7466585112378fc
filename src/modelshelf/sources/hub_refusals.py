"""Translating a Hub's refusals into errors. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from modelshelf.shelf.errors import Error, NotAuthorisedError, NotFoundError, SourceError
from modelshelf.transfer.replies import quote_refusal

LOGIN = "set HF_TOKEN, or run: hf auth login"
_NOT_FOUND = 404
_UNAUTHORISED = 401
_DENIED = frozenset({401, 403})
_INVALID_TOKEN = re.compile(
    r"(invalid|expired|revoked).*(credential|token|password)|token.*expired"
)


@dataclasses.dataclass(frozen=True, slots=True)
class HubQuery:
    """What a Hub was asked.

    Attributes:
        repo: The repository, `org/name`.
        revision: The requested revision.
        base_url: The URL of the Hub, without a password.
        host: The host of the Hub, with its port.
        with_token: Whether a token was sent.
    """

    repo: str
    revision: str
    base_url: str
    host: str
    with_token: bool


def refusal(query: HubQuery, status: int, headers: Mapping[str, str]) -> Error:
    """Translate a reply that is not a success into an error.

    Args:
        query: What the Hub was asked.
        status: The HTTP status.
        headers: The headers of the reply, by lower-case name. X-Error-Code says more than the
            status: the status is 401 both for a model that does not exist and for one that this
            account may not see. X-Error-Message is for people, and says if the token is wrong.
    """
    message = headers.get("x-error-message", "")
    if status == _UNAUTHORISED and query.with_token and _INVALID_TOKEN.search(message.lower()):
        return NotAuthorisedError(
            f"{query.host} says that the token which was sent is not valid{quote_refusal(message)}",
            hint="set HF_TOKEN to a valid token, or unset it: a public model needs none",
        )
    return _by_code(query, headers.get("x-error-code", "")) or _by_status(query, status, message)


def _by_code(query: HubQuery, code: str) -> Error | None:
    """Translate X-Error-Code; None for a code that says no more than the status."""
    match code:
        case "GatedRepo":
            return NotAuthorisedError(
                f"{query.repo} is gated, and this account has no access",
                hint=f"accept its licence at {query.base_url}/{query.repo}, then {LOGIN}",
            )
        case "RevisionNotFound":
            return NotFoundError(
                f"{query.repo} has no revision {query.revision!r}",
                hint="name a branch, tag or commit that it has",
            )
        case "EntryNotFound":
            return NotFoundError(f"{query.repo} lacks a file that it lists")
        case "RepoNotFound":
            return _unknown(query)
    return None


def _by_status(query: HubQuery, status: int, message: str) -> Error:
    if "is disabled" in message:
        return NotAuthorisedError(f"{query.host} has disabled {query.repo} for everyone")
    said = quote_refusal(message)
    if status == _NOT_FOUND:
        return _unknown(query)
    if status in _DENIED:
        reader = (
            "the token that was sent may not" if query.with_token else "nobody without a token may"
        )
        return NotAuthorisedError(
            f"{query.host} answers {status} for {query.repo}, which {reader} read{said}",
            hint=f"check the name and your rights, then {LOGIN}",
        )
    return SourceError(
        f"{query.host} answers {status} for {query.repo}{said}",
        hint="check that HF_ENDPOINT names a Hub",
    )


def _unknown(query: HubQuery) -> NotFoundError:
    return NotFoundError(
        f"{query.host} knows no model {query.repo}",
        hint="check the name; a private model looks the same without a token that may read it: "
        f"{LOGIN}",
    )

"""Translating a Hub's refusals into errors. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from modelshelf.shelf.errors import Error, NotAuthorisedError, NotFoundError, SourceError

LOGIN = "set HF_TOKEN, or run: hf auth login"
_NOT_FOUND = 404
_DENIED = frozenset({401, 403})


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
            account may not see.
    """
    match headers.get("x-error-code", ""):
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
    if "is disabled" in headers.get("x-error-message", ""):
        return NotAuthorisedError(f"{query.host} has disabled {query.repo} for everyone")
    return _by_status(query, status)


def _by_status(query: HubQuery, status: int) -> Error:
    if status == _NOT_FOUND:
        return _unknown(query)
    if status in _DENIED:
        reader = (
            "the token that was sent may not" if query.with_token else "nobody without a token may"
        )
        return NotAuthorisedError(
            f"{query.host} answers {status} for {query.repo}: {reader} read it",
            hint=f"check the name and your rights, then {LOGIN}",
        )
    return SourceError(
        f"{query.host} answers {status} for {query.repo}",
        hint="check that HF_ENDPOINT names a Hub",
    )


def _unknown(query: HubQuery) -> NotFoundError:
    return NotFoundError(
        f"{query.host} knows no model {query.repo}",
        hint="check the name; a private model looks the same without a token that may read it: "
        f"{LOGIN}",
    )

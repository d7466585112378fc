"""What a Hub's refusal means for whoever asked. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from modelshelf.shelf.errors import Error, NotAuthorisedError, NotFoundError, SourceError

LOGIN = "set HF_TOKEN, or run: hf auth login"
_NOT_FOUND = 404
_DENIED = frozenset({401, 403})


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, of whom, and as whom.

    Attributes:
        repo: `org/name`.
        revision: Its revision, as asked for.
        base_url: The Hub's, without a password.
        host: The Hub's host, with port.
        with_token: Whether a token was sent.
    """

    repo: str
    revision: str
    base_url: str
    host: str
    with_token: bool


def refusal(asked: Asked, status: int, headers: Mapping[str, str]) -> Error:
    """The error for a reply that is no success.

    Args:
        asked: The question.
        status: HTTP status.
        headers: The reply's, by lower-case name. X-Error-Code says more than the status, which
            is 401 for what does not exist and for what may not be seen alike.
    """
    match headers.get("x-error-code", ""):
        case "GatedRepo":
            return NotAuthorisedError(
                f"{asked.repo} is gated, and this account has not been let in",
                hint=f"accept its licence at {asked.base_url}/{asked.repo}, then {LOGIN}",
            )
        case "RevisionNotFound":
            return NotFoundError(
                f"{asked.repo} has no revision {asked.revision!r}",
                hint="name a branch, tag or commit that it has",
            )
        case "EntryNotFound":
            return NotFoundError(f"{asked.repo} lacks a file that it lists")
        case "RepoNotFound":
            return _unknown(asked)
    if "is disabled" in headers.get("x-error-message", ""):
        return NotAuthorisedError(f"{asked.host} has disabled {asked.repo} for everyone")
    return _by_status(asked, status)


def _by_status(asked: Asked, status: int) -> Error:
    if status == _NOT_FOUND:
        return _unknown(asked)
    if status in _DENIED:
        who = (
            "the token that was sent may not" if asked.with_token else "nobody without a token may"
        )
        return NotAuthorisedError(
            f"{asked.host} answers {status} for {asked.repo}: {who} read it",
            hint=f"check the name and your rights, then {LOGIN}",
        )
    return SourceError(
        f"{asked.host} answers {status} for {asked.repo}",
        hint="check that HF_ENDPOINT names a Hub",
    )


def _unknown(asked: Asked) -> NotFoundError:
    return NotFoundError(
        f"{asked.host} knows no model {asked.repo}",
        hint="check the name; a private model looks the same to those without a token that may "
        f"read it: {LOGIN}",
    )

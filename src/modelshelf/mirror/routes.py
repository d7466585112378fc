"""The URL paths of the Hub's protocol that the mirror answers. Pure.

A path is split at its slashes before it is percent-decoded, because clients quote the slashes
inside a revision (`refs%2Fpr%2F1`) or a folder.
"""

from __future__ import annotations

import dataclasses
import enum
from urllib.parse import unquote


class RouteKind(enum.Enum):
    """The kind of a request."""

    INFO = "info"
    TREE = "tree"
    REFS = "refs"
    PATHS = "paths-info"
    FILE = "file"
    SEARCH = "search"
    WHOAMI = "whoami"
    COUNTERS = "counters"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class HubRoute:
    """What the URL path of a request asks for.

    Attributes:
        kind: The kind of the request.
        repo_id: The name of the model as it was sent. It may be malformed.
        revision: The revision; `main` if the URL does not name one.
        path: The path of a file or folder; empty for the whole tree.
    """

    kind: RouteKind
    repo_id: str = ""
    revision: str = "main"
    path: str = ""


UNKNOWN = HubRoute(RouteKind.UNKNOWN)
_FIXED_PATHS: dict[tuple[str, ...], HubRoute] = {
    ("api", "models"): HubRoute(RouteKind.SEARCH),
    ("api", "whoami-v2"): HubRoute(RouteKind.WHOAMI),
    ("_modelshelf", "counters"): HubRoute(RouteKind.COUNTERS),
}


def parse_route(raw_path: bytes) -> HubRoute:
    """Read the path of a request, exactly as it was sent and without its query."""
    try:
        parts = [unquote(part, errors="strict") for part in raw_path.decode("ascii").split("/")[1:]]
    except UnicodeDecodeError:
        return UNKNOWN
    if parts[:1] == ["api"] and not parts[-1]:
        parts.pop()
    match parts:
        case ["api", "models", *rest] if rest:
            return _parse_api(rest)
        case [org, name, "resolve", revision, *path] if path:
            return HubRoute(RouteKind.FILE, f"{org}/{name}", revision, "/".join(path))
        case [name, "resolve", revision, *path] if path:
            return HubRoute(RouteKind.FILE, name, revision, "/".join(path))
    return _FIXED_PATHS.get(tuple(parts), UNKNOWN)


def _parse_api(parts: list[str]) -> HubRoute:
    """Read the part after `/api/models/`.

    A name without an organisation is accepted here, so that the answer is "no such model".
    """
    match parts:
        case [org, name]:
            return HubRoute(RouteKind.INFO, f"{org}/{name}")
        case [org, name, verb, *rest] if (
            route := _parse_repo_verb(f"{org}/{name}", verb, rest)
        ) != UNKNOWN:
            return route
        case [name] | [name, "revision" | "tree" | "refs" | "paths-info", *_]:
            return HubRoute(RouteKind.INFO, name)
    return UNKNOWN


def _parse_repo_verb(repo_id: str, verb: str, rest: list[str]) -> HubRoute:
    match verb, rest:
        case "revision", [revision]:
            return HubRoute(RouteKind.INFO, repo_id, revision)
        case "tree", [revision, *path]:
            return HubRoute(RouteKind.TREE, repo_id, revision, "/".join(path))
        case "refs", []:
            return HubRoute(RouteKind.REFS, repo_id)
        case "paths-info", [revision]:
            return HubRoute(RouteKind.PATHS, repo_id, revision)
    return UNKNOWN

"""What a URL asks for (pure): the paths of the Hub's protocol that the mirror answers.

The path is split before it is percent-decoded, once, because clients quote the slashes of a
revision (`refs%2Fpr%2F1`) and of a folder.
"""

from __future__ import annotations

import dataclasses
import enum
from urllib.parse import unquote


class Kind(enum.Enum):
    """What is asked for."""

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
class Ask:
    """One request's path, understood.

    Attributes:
        kind: What is asked for.
        repo_id: The model as written; it may be malformed.
        revision: `main` where the path names none.
        path: A file or folder; empty for the whole tree.
    """

    kind: Kind
    repo_id: str = ""
    revision: str = "main"
    path: str = ""


UNKNOWN = Ask(Kind.UNKNOWN)
_WHOLE: dict[tuple[str, ...], Ask] = {
    ("api", "models"): Ask(Kind.SEARCH),
    ("api", "whoami-v2"): Ask(Kind.WHOAMI),
    ("_modelshelf", "counters"): Ask(Kind.COUNTERS),
}


def parse(raw_path: bytes) -> Ask:
    """Read the path of a request as it was sent, without its query."""
    try:
        parts = [unquote(part, errors="strict") for part in raw_path.decode("ascii").split("/")[1:]]
    except UnicodeDecodeError:
        return UNKNOWN
    if parts[:1] == ["api"] and not parts[-1]:
        parts.pop()
    match parts:
        case ["api", "models", *rest] if rest:
            return _api(rest)
        case [org, name, "resolve", revision, *path] if path:
            return Ask(Kind.FILE, f"{org}/{name}", revision, "/".join(path))
        case [name, "resolve", revision, *path] if path:
            return Ask(Kind.FILE, name, revision, "/".join(path))
    return _WHOLE.get(tuple(parts), UNKNOWN)


def _api(parts: list[str]) -> Ask:
    """The part behind `/api/models/`; a name without an organisation is one that is not here."""
    match parts:
        case [org, name]:
            return Ask(Kind.INFO, f"{org}/{name}")
        case [org, name, verb, *rest] if (ask := _of_repo(f"{org}/{name}", verb, rest)) != UNKNOWN:
            return ask
        case [name] | [name, "revision" | "tree" | "refs" | "paths-info", *_]:
            return Ask(Kind.INFO, name)
    return UNKNOWN


def _of_repo(repo_id: str, verb: str, rest: list[str]) -> Ask:
    match verb, rest:
        case "revision", [revision]:
            return Ask(Kind.INFO, repo_id, revision)
        case "tree", [revision, *path]:
            return Ask(Kind.TREE, repo_id, revision, "/".join(path))
        case "refs", []:
            return Ask(Kind.REFS, repo_id)
        case "paths-info", [revision]:
            return Ask(Kind.PATHS, repo_id, revision)
    return UNKNOWN

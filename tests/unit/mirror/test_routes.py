"""What a URL of the Hub's protocol asks for."""

import pytest

from modelshelf.mirror.routes import UNKNOWN, Ask, Kind, parse


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("/api/models", Ask(Kind.SEARCH)),
        ("/api/whoami-v2", Ask(Kind.WHOAMI)),
        ("/_modelshelf/counters", Ask(Kind.COUNTERS)),
        ("/api/models/o/n", Ask(Kind.INFO, "o/n")),
        ("/api/models/o/n/", Ask(Kind.INFO, "o/n")),
        ("/api/models/o/tree", Ask(Kind.INFO, "o/tree")),
        ("/api/models/o/n/revision/v1", Ask(Kind.INFO, "o/n", "v1")),
        ("/api/models/o/n/revision/refs%2Fpr%2F1", Ask(Kind.INFO, "o/n", "refs/pr/1")),
        ("/api/models/o/n/refs", Ask(Kind.REFS, "o/n")),
        ("/api/models/o/n/tree/main", Ask(Kind.TREE, "o/n")),
        ("/api/models/o/n/tree/v1/a%2Fb", Ask(Kind.TREE, "o/n", "v1", "a/b")),
        ("/api/models/o/n/tree/v1/a/b", Ask(Kind.TREE, "o/n", "v1", "a/b")),
        ("/api/models/o/n/paths-info/main", Ask(Kind.PATHS, "o/n")),
        ("/o/n/resolve/main/a/b", Ask(Kind.FILE, "o/n", "main", "a/b")),
        ("/o/n/resolve/refs%2Fpr%2F1/a%20b", Ask(Kind.FILE, "o/n", "refs/pr/1", "a b")),
        ("/o/n/resolve/main/%2e%2e/x", Ask(Kind.FILE, "o/n", "main", "../x")),
        ("/gpt2/resolve/main/x", Ask(Kind.FILE, "gpt2", "main", "x")),
        ("/api/models/gpt2", Ask(Kind.INFO, "gpt2")),
        ("/api/models/gpt2/tree/main", Ask(Kind.INFO, "gpt2")),
    ],
)
def test_paths_are_understood(path: str, ask: Ask) -> None:
    """Each path of the protocol is one question, its parts decoded after they were split."""
    assert parse(path.encode()) == ask


def test_names_are_decoded_once() -> None:
    """A percent sign that was itself quoted stays one."""
    assert parse(b"/o/n/resolve/main/%252e%252e") == Ask(Kind.FILE, "o/n", "main", "%2e%2e")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/o/n",
        "/o/n/resolve/main",
        "/o/n/raw/main/x",
        "/api/agent-harnesses",
        "/api/models/o/n/discussions",
        "/api/models/o/n/xet-read-token/main",
        "/api/datasets/o/n",
        "/datasets/o/n/resolve/main/x",
        "/o/n/resolve/main/%ff",
    ],
)
def test_everything_else_is_unknown(path: str) -> None:
    """Paths that the mirror does not serve, and names that are no UTF-8, ask for nothing."""
    assert parse(path.encode()) == UNKNOWN

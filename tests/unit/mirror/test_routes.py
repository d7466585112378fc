"""What a URL of the Hub's protocol asks for."""

import pytest

from modelshelf.mirror.routes import UNKNOWN, HubRoute, RouteKind, parse_route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/models", HubRoute(RouteKind.SEARCH)),
        ("/api/whoami-v2", HubRoute(RouteKind.WHOAMI)),
        ("/_modelshelf/counters", HubRoute(RouteKind.COUNTERS)),
        ("/api/models/o/n", HubRoute(RouteKind.INFO, "o/n")),
        ("/api/models/o/n/", HubRoute(RouteKind.INFO, "o/n")),
        ("/api/models/o/tree", HubRoute(RouteKind.INFO, "o/tree")),
        ("/api/models/o/n/revision/v1", HubRoute(RouteKind.INFO, "o/n", "v1")),
        ("/api/models/o/n/revision/refs%2Fpr%2F1", HubRoute(RouteKind.INFO, "o/n", "refs/pr/1")),
        ("/api/models/o/n/refs", HubRoute(RouteKind.REFS, "o/n")),
        ("/api/models/o/n/tree/main", HubRoute(RouteKind.TREE, "o/n")),
        ("/api/models/o/n/tree/v1/a%2Fb", HubRoute(RouteKind.TREE, "o/n", "v1", "a/b")),
        ("/api/models/o/n/tree/v1/a/b", HubRoute(RouteKind.TREE, "o/n", "v1", "a/b")),
        ("/api/models/o/n/paths-info/main", HubRoute(RouteKind.PATHS, "o/n")),
        ("/o/n/resolve/main/a/b", HubRoute(RouteKind.FILE, "o/n", "main", "a/b")),
        ("/o/n/resolve/refs%2Fpr%2F1/a%20b", HubRoute(RouteKind.FILE, "o/n", "refs/pr/1", "a b")),
        ("/o/n/resolve/main/%2e%2e/x", HubRoute(RouteKind.FILE, "o/n", "main", "../x")),
        ("/gpt2/resolve/main/x", HubRoute(RouteKind.FILE, "gpt2", "main", "x")),
        ("/api/models/gpt2", HubRoute(RouteKind.INFO, "gpt2")),
        ("/api/models/gpt2/tree/main", HubRoute(RouteKind.INFO, "gpt2")),
    ],
)
def test_paths_are_understood(path: str, route: HubRoute) -> None:
    """Each path is split first, and its parts are decoded afterwards."""
    assert parse_route(path.encode()) == route


def test_names_are_decoded_once() -> None:
    """A quoted percent sign is decoded only once."""
    assert parse_route(b"/o/n/resolve/main/%252e%252e") == HubRoute(
        RouteKind.FILE, "o/n", "main", "%2e%2e"
    )


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
    """Paths that the mirror does not serve, and names that are not UTF-8, are unknown."""
    assert parse_route(path.encode()) == UNKNOWN

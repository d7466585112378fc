"""Which cluster a command works on: kubeconfig files as people have them, and a real API server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.cluster import Cluster
from support.cluster_project import SERVER, Done, Project

pytestmark = pytest.mark.timeout(120)

_DEAD = "https://10.77.0.1:1"  # where nobody listens


def _named(name: str, part: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, part: value}


def _file(folder: Path, name: str, **content: Any) -> str:
    path = folder / name
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    return str(path)


@pytest.fixture
def admin(cluster: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `cluster` and the `user` of the administrator's own kubeconfig."""
    view = cluster.kubectl("config", "view", "--raw", "--flatten", "--minify")
    conf = yaml.safe_load(view)
    return conf["clusters"][0]["cluster"], conf["users"][0]["user"]


def _status(project: Project, kubeconfig: str, *options: str, code: int = 0) -> Done:
    """Run `status` with nothing but KUBECONFIG to say where."""
    project.kubeconfig = None
    return project.run("status", *options, code=code, env={"KUBECONFIG": kubeconfig})


@pytest.fixture
def two(tmp_path: Path, admin: tuple[dict[str, Any], dict[str, Any]]) -> str:
    """Contexts in one file, their users in another, which calls one of the clusters otherwise."""
    server, user = admin
    first = _file(
        tmp_path,
        "first",
        clusters=[
            _named("here", "cluster", server),
            _named("gone", "cluster", {"server": _DEAD}),
        ],
        contexts=[
            _named("old", "context", {"cluster": "gone", "user": "ann"}),
            _named("new", "context", {"cluster": "here", "user": "ann"}),
        ],
    )
    second = _file(
        tmp_path,
        "second",
        clusters=[_named("here", "cluster", {"server": _DEAD})],
        users=[_named("ann", "user", user)],
        **{"current-context": "old"},
    )
    return os.pathsep.join((first, f"{tmp_path}/not-there", second))


def test_files_are_merged_and_a_context_is_chosen(project: Project, two: str) -> None:
    """Contexts find clusters and users of another file; of two with one name the first counts."""
    (said,) = _status(project, two, "--context=new").events
    assert [server["name"] for server in said["servers"]] == [SERVER]
    (error,) = _status(project, two, code=20).of("error")
    assert _DEAD in error["message"]
    assert "context old" in error["message"]


def test_a_context_that_is_not_there_is_named_with_those_that_are(
    project: Project, two: str
) -> None:
    """Exit 2, before anybody is asked."""
    (error,) = _status(project, two, "--context=newer", code=2).of("error")
    assert "has no context 'newer'" in error["message"]
    assert "new, old" in error["hint"]


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("cluster", "proxy-url"),
        ("cluster", "tls-server-name"),
        ("user", "auth-provider"),
        ("user", "as"),
    ],
)
def test_a_key_that_is_not_supported_is_refused_by_name(
    project: Project,
    admin: tuple[dict[str, Any], dict[str, Any]],
    tmp_path: Path,
    part: str,
    key: str,
) -> None:
    """What would lead elsewhere than kubectl's way if it were left out is exit 2 with its key."""
    parts = dict(zip(("cluster", "user"), admin, strict=True))
    parts[part] = parts[part] | {key: "x"}
    path = _file(
        tmp_path,
        "config",
        clusters=[_named("here", "cluster", parts["cluster"])],
        users=[_named("ann", "user", parts["user"])],
        contexts=[_named("new", "context", {"cluster": "here", "user": "ann"})],
        **{"current-context": "new"},
    )
    (error,) = _status(project, path, code=2).of("error")
    assert key in error["message"]
    assert path in error["message"]

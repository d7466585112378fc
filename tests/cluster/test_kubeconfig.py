"""How a command chooses its cluster from kubeconfig files as people write them."""

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


def _with_name(name: str, part: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, part: value}


def _write_kubeconfig(folder: Path, name: str, **content: Any) -> str:
    path = folder / name
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    return str(path)


@pytest.fixture
def admin(cluster: Cluster) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `cluster` and the `user` of the administrator's kubeconfig."""
    view = cluster.kubectl("config", "view", "--raw", "--flatten", "--minify")
    conf = yaml.safe_load(view)
    return conf["clusters"][0]["cluster"], conf["users"][0]["user"]


def _run_status(project: Project, kubeconfig: str, *options: str, code: int = 0) -> Done:
    """Run `status` with KUBECONFIG as the only hint at a cluster."""
    project.kubeconfig = None
    return project.run("status", *options, code=code, env={"KUBECONFIG": kubeconfig})


@pytest.fixture
def two_files(tmp_path: Path, admin: tuple[dict[str, Any], dict[str, Any]]) -> str:
    """Two files: contexts in one, users in the other, and a cluster name that is in both."""
    server, user = admin
    first = _write_kubeconfig(
        tmp_path,
        "first",
        clusters=[
            _with_name("here", "cluster", server),
            _with_name("gone", "cluster", {"server": _DEAD}),
        ],
        contexts=[
            _with_name("old", "context", {"cluster": "gone", "user": "ann"}),
            _with_name("new", "context", {"cluster": "here", "user": "ann"}),
        ],
    )
    second = _write_kubeconfig(
        tmp_path,
        "second",
        clusters=[_with_name("here", "cluster", {"server": _DEAD})],
        users=[_with_name("ann", "user", user)],
        **{"current-context": "old"},
    )
    return os.pathsep.join((first, f"{tmp_path}/not-there", second))


def test_files_are_merged_and_a_context_is_chosen(project: Project, two_files: str) -> None:
    """Contexts find users in another file, and the first of two clusters with one name counts."""
    (status,) = _run_status(project, two_files, "--context=new").events
    assert [server["name"] for server in status["servers"]] == [SERVER]
    (error,) = _run_status(project, two_files, code=20).of("error")
    assert _DEAD in error["message"]
    assert "context old" in error["message"]


def test_a_missing_context_is_named_beside_the_existing_ones(
    project: Project, two_files: str
) -> None:
    """A missing context is exit 2 before any request; the error lists the existing ones."""
    (error,) = _run_status(project, two_files, "--context=newer", code=2).of("error")
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
def test_an_unsupported_key_is_refused_by_name(
    project: Project,
    admin: tuple[dict[str, Any], dict[str, Any]],
    tmp_path: Path,
    part: str,
    key: str,
) -> None:
    """An unsupported key that would change where requests go is exit 2, and the error names it."""
    parts = dict(zip(("cluster", "user"), admin, strict=True))
    parts[part] = parts[part] | {key: "x"}
    path = _write_kubeconfig(
        tmp_path,
        "config",
        clusters=[_with_name("here", "cluster", parts["cluster"])],
        users=[_with_name("ann", "user", parts["user"])],
        contexts=[_with_name("new", "context", {"cluster": "here", "user": "ann"})],
        **{"current-context": "new"},
    )
    (error,) = _run_status(project, path, code=2).of("error")
    assert key in error["message"]
    assert path in error["message"]

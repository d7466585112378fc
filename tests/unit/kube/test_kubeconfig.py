"""Which cluster is meant, and what of a kubeconfig is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelshelf.kube import kubeconfig
from modelshelf.kube.kubeconfig import (
    KubeContext,
    find_context,
    read_context,
    service_account_context,
)
from modelshelf.shelf.errors import UsageError

SERVER = "https://10.0.0.1:6443"
EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "login"}


def conf(
    name: str = "a", *, user: Any = None, cluster: Any = None, current: str | None = None
) -> dict[str, Any]:
    """A kubeconfig whose context, cluster and user have one name."""
    about = {"cluster": name, "user": name}
    return {
        "current-context": current,
        "contexts": [{"name": name, "context": about}],
        "clusters": [{"name": name, "cluster": {"server": SERVER} | (cluster or {})}],
        "users": [{"name": name, "user": user or {}}],
    }


def write(path: Path, content: Any) -> str:
    """A kubeconfig on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return os.fspath(path)


def test_paths_are_relative_to_their_own_file(tmp_path: Path) -> None:
    """Each path is made absolute; a program without a folder is looked up in PATH."""
    user = {"client-certificate": "me.crt", "client-key": "/abs/me.key", "tokenFile": "t"}
    path = write(tmp_path / "x" / "config", conf(user=user, cluster={"certificate-authority": "c"}))
    folder = tmp_path / "x"
    assert read_context([path], "a") == KubeContext(
        "a",
        SERVER,
        {"server": SERVER, "certificate-authority": f"{folder}/c"},
        {
            "client-certificate": f"{folder}/me.crt",
            "client-key": "/abs/me.key",
            "tokenFile": f"{folder}/t",
        },
    )
    for command, found in (("login", "login"), ("./login", f"{folder}/./login")):
        write(folder / "config", conf(user={"exec": EXEC | {"command": command}}))
        assert read_context([path], "a").user == {"exec": EXEC | {"command": found}}


def test_what_is_inside_counts_before_the_file_beside_it(tmp_path: Path) -> None:
    """As with kubectl, `-data` wins over the path of the same name."""
    both = {"certificate-authority": "c", "certificate-authority-data": "Y2E="}
    path = write(tmp_path / "config", conf(cluster=both))
    assert read_context([path], "a").cluster == {
        "server": SERVER,
        "certificate-authority-data": "Y2E=",
    }


def test_files_are_merged_and_the_first_entry_of_a_name_counts_whole(tmp_path: Path) -> None:
    """The second file adds entries, but adds no field to an entry of the first file."""
    first = write(tmp_path / "1", conf("a", user={"token": "one"}))
    second = conf("a", user={"token": "two", "username": "u"}, current="b")
    for part in ("contexts", "clusters", "users"):
        second[part] += conf("b", user={"token": "b"})[part]
    paths = [first, write(tmp_path / "2", second)]
    assert read_context(paths, "a").user == {"token": "one"}
    chosen = read_context(paths, None)
    assert (chosen.name, chosen.user) == ("b", {"token": "b"})


def test_a_context_of_one_file_may_use_a_cluster_of_another(tmp_path: Path) -> None:
    """A path in it is relative to the file that the cluster is in."""
    parts = conf(cluster={"certificate-authority": "ca.crt"}, current="a")
    paths = [
        write(tmp_path / "x" / "config", {"contexts": parts.pop("contexts")}),
        write(tmp_path / "y" / "config", parts),
    ]
    found = read_context(paths, None).cluster["certificate-authority"]
    assert found == os.fspath(tmp_path / "y" / "ca.crt")


@pytest.mark.parametrize(
    ("content", "context", "message", "hint"),
    [
        (conf(), None, "{path} has no current context", "choose one with --context: a"),
        (conf(), "b", "{path} has no context 'b'", "it has: a"),
        ({}, "b", "{path} has no context 'b'", "it has: none"),
        ("", "b", "{path} has no context 'b'", "it has: none"),
        ("a: [\nkey: SECRET", None, "the kubeconfig {path}, line 2 is not YAML", ""),
        ("- a", None, "the kubeconfig {path} is not a mapping", ""),
        (
            {"users": ["SECRET"]},
            "a",
            "the kubeconfig {path} has an entry of users without user",
            "",
        ),
        (
            conf() | {"users": []},
            "a",
            "context a in {path} names user 'a', which no kubeconfig has",
            "users there: none",
        ),
        (
            conf(user={"auth-provider": {"name": "gcp"}}),
            "a",
            "user a in {path} has auth-provider, which modelshelf does not support",
            "use the provider's exec plugin, as kubectl itself wants since 1.26",
        ),
        (
            conf(user={"as": "admin"}),
            "a",
            "user a in {path} has as, which modelshelf does not support",
            "impersonation is not supported: use a user of your own",
        ),
        (
            conf(user={"as-groups": ["x"]}),
            "a",
            "user a in {path} has as-groups, which modelshelf does not support",
            "impersonation is not supported: use a user of your own",
        ),
        (
            conf(cluster={"proxy-url": "http://user:SECRET@p"}),
            "a",
            "cluster a in {path} has proxy-url, which modelshelf does not support",
            "remove it there, and set HTTPS_PROXY instead",
        ),
        (
            conf(cluster={"tls-server-name": "x"}),
            "a",
            "cluster a in {path} has tls-server-name, which modelshelf does not support",
            "give `server` a name that its certificate has",
        ),
        (
            conf(cluster={"new-in-1.50": {"x": 1}}),
            "a",
            "cluster a in {path} has new-in-1.50, which modelshelf does not support",
            "remove it there, or use another context",
        ),
        (
            conf(user={"exec": EXEC | {"apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
            "a",
            "exec of user a in {path} has apiVersion client.authentication.k8s.io/v1alpha1",
            (
                "modelshelf and kubectl speak client.authentication.k8s.io/v1 and "
                "client.authentication.k8s.io/v1beta1"
            ),
        ),
        (
            conf(user={"exec": EXEC | {"shiny": 1}}),
            "a",
            "exec of user a in {path} has shiny, which modelshelf does not support",
            "remove it there, or use another context",
        ),
        (conf(user={"exec": {"command": ""}}), "a", "exec of user a in {path} has no command", ""),
        (
            conf(user={"client-key-data": "S.E.C.R.E.T"}),
            "a",
            "user a in {path} has a client-key-data that is not base64",
            "",
        ),
        (
            conf(cluster={"server": "10.0.0.1"}),
            "a",
            "cluster a in {path} has no server with http:// or https://",
            "",
        ),
        (
            conf(cluster={"server": "https://me:SECRET@host"}),
            "a",
            "cluster a in {path} has a password in its server's URL",
            "give it to the user there",
        ),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, content: Any, context: str | None, message: str, hint: str
) -> None:
    """File, entry and key are named, with what to do; a secret is not."""
    path = write(tmp_path / "config", content)
    with pytest.raises(UsageError) as raised:
        read_context([path], context)
    assert (str(raised.value), raised.value.hint) == (message.format(path=path), hint)


def test_keys_that_say_nothing_are_nothing(tmp_path: Path) -> None:
    """A key without a value is ignored, since tools write such keys; `extensions` are allowed."""
    empty = {"proxy-url": "", "tls-server-name": None, "extensions": [{"name": "minikube"}]}
    path = write(tmp_path / "config", conf(cluster=empty, user={"auth-provider": None}))
    chosen = read_context([path], "a")
    assert (chosen.cluster, chosen.user) == (
        {"server": SERVER, "extensions": [{"name": "minikube"}]},
        {},
    )


def test_only_the_chosen_context_is_judged(tmp_path: Path) -> None:
    """A key that is not supported is no error in the entry of another context."""
    both = conf("a")
    for part in ("contexts", "clusters", "users"):
        both[part] += conf("b", cluster={"proxy-url": "http://p"})[part]
    assert read_context([write(tmp_path / "config", both)], "a").server == SERVER


def test_a_context_does_not_show_its_user(tmp_path: Path) -> None:
    """The token is not in the context's repr."""
    path = write(tmp_path / "config", conf(user={"token": "SECRET"}))
    assert "SECRET" not in repr(read_context([path], "a"))


def test_the_files_are_those_that_kubectl_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is --kubeconfig, the existing files of KUBECONFIG, the file in the home folder."""
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    write(tmp_path / ".kube" / "config", conf("home", current="home"))
    assert find_context(None, None).name == "home"
    one, two = (write(tmp_path / name, conf(name, current=name)) for name in ("one", "two"))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/missing::{one}:{two}")
    assert (find_context(None, None).name, find_context(None, "two").name) == ("one", "two")
    assert find_context("~/two", None).name == "two"


def test_a_kubeconfig_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a named file is missing, the service account of the pod is not used instead."""
    account(tmp_path, monkeypatch)
    with pytest.raises(UsageError) as raised:
        find_context(f"{tmp_path}/nope", None)
    assert str(raised.value) == f"there is no kubeconfig: {tmp_path}/nope cannot be found"
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/x:{tmp_path}/y")
    with pytest.raises(UsageError, match=f"{tmp_path}/x, {tmp_path}/y cannot be found"):
        find_context(None, None)


def account(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod's environment."""
    monkeypatch.setenv("HOME", os.fspath(folder))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT", os.fspath(folder / "account"))
    write(folder / "account" / "token", "t")


def test_a_pod_uses_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod without a kubeconfig uses its service account."""
    account(tmp_path, monkeypatch)
    assert find_context(None, None) == KubeContext(
        "in-cluster",
        "https://10.96.0.1:443",
        {
            "server": "https://10.96.0.1:443",
            "certificate-authority": f"{tmp_path}/account/ca.crt",
        },
        {"tokenFile": f"{tmp_path}/account/token"},
    )
    with pytest.raises(UsageError, match="there is no context 'x' in a pod"):
        find_context(None, "x")


def test_an_address_of_version_6_is_written_in_brackets() -> None:
    """The URL of an IPv6 address has it in brackets."""
    assert service_account_context("fd00::1", "443").server == "https://[fd00::1]:443"


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """The error has the system's reason."""
    with pytest.raises(UsageError, match=f"{tmp_path} cannot be read: Is a directory"):
        read_context([os.fspath(tmp_path)], None)

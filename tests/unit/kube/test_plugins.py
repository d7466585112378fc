"""What credential plugins are told, and what they may answer."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from modelshelf.kube.kubeconfig import KubeContext
from modelshelf.kube.plugins import Credential, exec_info, parse_credential, run_plugin
from modelshelf.shelf.errors import TargetError

V1 = "client.authentication.k8s.io/v1"
CONTEXT = KubeContext("prod", "https://c", {"server": "https://c"}, {})


def test_a_plugin_learns_of_the_cluster_only_if_it_asks(tmp_path: Path) -> None:
    """The cluster's address, certificate authority and settings are sent if the plugin asks."""
    (tmp_path / "ca.crt").write_bytes(b"CA")
    cluster: dict[str, Any] = {
        "server": "https://c",
        "certificate-authority": f"{tmp_path}/ca.crt",
        "extensions": [
            {"name": "other", "extension": 1},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}},
        ],
    }
    plain = {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False}}
    assert exec_info({"apiVersion": V1}, cluster, interactive=False) == plain
    asking = {"apiVersion": V1, "provideClusterInfo": True}
    told = {
        "server": "https://c",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
        "config": {"audience": "x"},
    }
    assert exec_info(asking, cluster, interactive=True) == plain | {
        "spec": {"interactive": True, "cluster": told}
    }


def printed(**status: Any) -> bytes:
    """An ExecCredential."""
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status}).encode()


@pytest.mark.parametrize(
    ("output", "credential"),
    [
        (printed(token="t"), Credential("t")),
        (
            printed(token="t", expirationTimestamp="1970-01-01T00:01:00Z"),
            Credential("t", expires=60.0),
        ),
        (
            printed(clientCertificateData="C", clientKeyData="K"),
            Credential(certificate="C", key="K"),
        ),
    ],
)
def test_a_plugin_gives_a_token_or_a_certificate(output: bytes, credential: Credential) -> None:
    """A token or a certificate with its key is accepted, with or without a time of expiry."""
    assert parse_credential(output) == credential


def test_a_certificate_becomes_a_user() -> None:
    """A certificate becomes the data fields of a kubeconfig's user."""
    assert Credential(certificate="C", key="K").user() == {
        "client-certificate-data": "Qw==",
        "client-key-data": "Sw==",
    }


def test_credentials_do_not_show() -> None:
    """The repr of credentials has neither token nor certificate nor key."""
    assert repr(Credential("T0KEN", "CERT", "K3Y")) == "Credential(expires=None)"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("raise SystemExit(4)", "ended with exit code 4"),
        ("print('SECRET')", "printed no ExecCredential"),
        ("print('[]')", "printed no ExecCredential"),
        ('print(\'{"status": {"token": ""}}\')', "printed no ExecCredential"),
        (
            'print(\'{"status": {"clientCertificateData": "SECRET"}}\')',
            "printed no ExecCredential",
        ),
        (
            'print(\'{"status": {"token": "SECRET", "expirationTimestamp": "soon"}}\')',
            "printed no ExecCredential",
        ),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_hint(code: str, what: str) -> None:
    """The error has the plugin's hint, but not what it printed: that may be a credential."""
    plugin = {
        "apiVersion": V1,
        "command": sys.executable,
        "args": ["-I", "-c", code],
        "installHint": "install it\n",
    }
    with pytest.raises(TargetError) as raised:
        run_plugin(plugin, CONTEXT)
    assert (str(raised.value), raised.value.hint) == (
        f"{sys.executable}, which context prod gets its credentials from, {what}",
        "install it",
    )


def test_a_plugin_that_is_not_installed_is_named() -> None:
    """The error has the system's reason."""
    with pytest.raises(TargetError, match="started: No such file or directory: /no") as raised:
        run_plugin({"apiVersion": V1, "command": "/no/such/login"}, CONTEXT)
    assert raised.value.hint == "run it by hand: it says more"
    unread = KubeContext("prod", "https://c", {"certificate-authority": "/no/ca.crt"}, {})
    with pytest.raises(TargetError, match=r"No such file or directory: /no/ca\.crt"):
        run_plugin({"apiVersion": V1, "command": "true", "provideClusterInfo": True}, unread)

"""Credentials from a program that the kubeconfig names.

The protocol is client-go's credential plugins (client.authentication.k8s.io/v1 and v1beta1):
KUBERNETES_EXEC_INFO tells the program what is wanted, and it prints an ExecCredential.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from modelshelf.kube.kubeconfig import KubeContext
from modelshelf.shelf.errors import TargetError

_PATIENCE = 300.0  # seconds: somebody may have to log in with a browser
_EXTENSION = "client.authentication.k8s.io/exec"


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """What a plugin gave: a token, or a certificate with its key (PEM).

    Attributes:
        expires: Seconds since 1970 when it stops being good; None if that is not known.
    """

    token: str = dataclasses.field(default="", repr=False)
    certificate: str = dataclasses.field(default="", repr=False)
    key: str = dataclasses.field(default="", repr=False)
    expires: float | None = None

    def user(self) -> dict[str, str]:
        """The certificate as a kubeconfig's `user` has it."""
        return {
            "client-certificate-data": base64.b64encode(self.certificate.encode()).decode(),
            "client-key-data": base64.b64encode(self.key.encode()).decode(),
        }


def run(plugin: Mapping[str, Any], context: KubeContext) -> Credential:
    """Run a plugin; its stderr, where it may ask somebody to log in, is this process's.

    Args:
        plugin: The kubeconfig's `exec`.
        context: The cluster that the credentials are for.

    Raises:
        TargetError: It is not installed, fails, or prints something else.
    """
    command = str(plugin["command"])
    interactive = plugin.get("interactiveMode") != "Never" and sys.stdin.isatty()
    added = {str(item["name"]): str(item["value"]) for item in plugin.get("env") or []}
    try:
        about = json.dumps(exec_info(plugin, context.cluster, interactive=interactive))
        done = subprocess.run(  # noqa: S603 - the user's own kubeconfig names it
            [command, *map(str, plugin.get("args") or [])],
            env={**os.environ, **added, "KUBERNETES_EXEC_INFO": about},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_PATIENCE,
            check=False,
        )
    except OSError as error:
        raise _failed(
            plugin, context, f"cannot be started: {error.strerror}: {error.filename}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(plugin, context, f"did not end within {_PATIENCE:g} s") from error
    if done.returncode:
        raise _failed(plugin, context, f"ended with exit code {done.returncode}")
    try:
        return parse(done.stdout)
    except (ValueError, TypeError, KeyError, AttributeError):
        # Neither what it printed nor what was expected of it belongs in a message.
        raise _failed(plugin, context, "printed no ExecCredential") from None


def exec_info(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], *, interactive: bool
) -> dict[str, Any]:
    """What a plugin is told in KUBERNETES_EXEC_INFO.

    Args:
        plugin: The kubeconfig's `exec`.
        cluster: The kubeconfig's `cluster`, which is told only if `exec` wants it.
        interactive: Whether the plugin may ask somebody.
    """
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        told = {
            key: cluster[key]
            for key in ("server", "certificate-authority-data", "insecure-skip-tls-verify")
            if key in cluster
        }
        if "certificate-authority" in cluster:
            with open(cluster["certificate-authority"], "rb") as file:
                told["certificate-authority-data"] = base64.b64encode(file.read()).decode()
        for item in cluster.get("extensions") or []:
            if item.get("name") == _EXTENSION:
                told["config"] = item.get("extension")
        spec["cluster"] = told
    return {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}


def parse(printed: bytes) -> Credential:
    """What a plugin printed.

    Args:
        printed: An ExecCredential as JSON.

    Raises:
        ValueError: It holds neither a token nor a certificate with its key.
    """
    status = json.loads(printed)["status"]
    found = Credential(
        token=status.get("token") or "",
        certificate=status.get("clientCertificateData") or "",
        key=status.get("clientKeyData") or "",
        expires=_seconds(status.get("expirationTimestamp")),
    )
    if not found.token and not (found.certificate and found.key):
        raise ValueError("no credentials")
    return found


def _seconds(timestamp: str | None) -> float | None:
    return dt.datetime.fromisoformat(timestamp).timestamp() if timestamp else None


def _failed(plugin: Mapping[str, Any], context: KubeContext, what: str) -> TargetError:
    return TargetError(
        f"{plugin['command']}, which context {context.name} gets its credentials from, {what}",
        hint=str(plugin.get("installHint") or "run it by hand: it says more").strip(),
    )

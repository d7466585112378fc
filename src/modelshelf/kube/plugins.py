"""Credentials from a program that the kubeconfig names, a credential plugin.

The protocol is client-go's (client.authentication.k8s.io/v1 and v1beta1): the environment variable
KUBERNETES_EXEC_INFO tells the program for which cluster it is asked, and the program prints an
ExecCredential.
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

_PLUGIN_SECONDS = 300.0  # the user may have to log in with a browser
_EXTENSION = "client.authentication.k8s.io/exec"


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """What a plugin printed: a token, or a certificate with its key.

    Attributes:
        token: A bearer token; empty if there is none.
        certificate: A client certificate, as PEM; empty if there is none.
        key: Its private key, as PEM.
        expires: When the credential expires, in seconds since 1970; None if that is not known.
    """

    token: str = dataclasses.field(default="", repr=False)
    certificate: str = dataclasses.field(default="", repr=False)
    key: str = dataclasses.field(default="", repr=False)
    expires: float | None = None

    def user(self) -> dict[str, str]:
        """The certificate and its key as a kubeconfig's `user` has them."""
        return {
            "client-certificate-data": base64.b64encode(self.certificate.encode()).decode(),
            "client-key-data": base64.b64encode(self.key.encode()).decode(),
        }


def run_plugin(plugin: Mapping[str, Any], context: KubeContext) -> Credential:
    """Run a plugin.

    The plugin writes to the standard error of this process, since it may ask the user to log in.

    Args:
        plugin: The kubeconfig's `exec`.
        context: The cluster that the credentials are for.

    Raises:
        TargetError: The plugin is not installed, fails, or prints something else.
    """
    command = str(plugin["command"])
    interactive = plugin.get("interactiveMode") != "Never" and sys.stdin.isatty()
    variables = {str(item["name"]): str(item["value"]) for item in plugin.get("env") or []}
    try:
        info = json.dumps(exec_info(plugin, context.cluster, interactive=interactive))
        done = subprocess.run(  # noqa: S603 - the user's own kubeconfig names it
            [command, *map(str, plugin.get("args") or [])],
            env={**os.environ, **variables, "KUBERNETES_EXEC_INFO": info},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_PLUGIN_SECONDS,
            check=False,
        )
    except OSError as error:
        raise _plugin_error(
            plugin, context, f"cannot be started: {error.strerror}: {error.filename}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise _plugin_error(plugin, context, f"did not end within {_PLUGIN_SECONDS:g} s") from error
    if done.returncode:
        raise _plugin_error(plugin, context, f"ended with exit code {done.returncode}")
    try:
        return parse_credential(done.stdout)
    except (ValueError, TypeError, KeyError, AttributeError):
        # What it printed is not quoted: it may hold credentials.
        raise _plugin_error(plugin, context, "printed no ExecCredential") from None


def exec_info(
    plugin: Mapping[str, Any], cluster: Mapping[str, Any], *, interactive: bool
) -> dict[str, Any]:
    """Make the value of KUBERNETES_EXEC_INFO, before it becomes JSON.

    Args:
        plugin: The kubeconfig's `exec`.
        cluster: The kubeconfig's `cluster`; it is included only if `exec` asks for it.
        interactive: Whether the plugin may ask the user.
    """
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        cluster_info = {
            key: cluster[key]
            for key in ("server", "certificate-authority-data", "insecure-skip-tls-verify")
            if key in cluster
        }
        if "certificate-authority" in cluster:
            with open(cluster["certificate-authority"], "rb") as file:
                cluster_info["certificate-authority-data"] = base64.b64encode(file.read()).decode()
        for item in cluster.get("extensions") or []:
            if item.get("name") == _EXTENSION:
                cluster_info["config"] = item.get("extension")
        spec["cluster"] = cluster_info
    return {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}


def parse_credential(printed: bytes) -> Credential:
    """Read what a plugin printed.

    Args:
        printed: An ExecCredential as JSON.

    Raises:
        ValueError: It holds neither a token nor a certificate with its key.
    """
    status = json.loads(printed)["status"]
    credential = Credential(
        token=status.get("token") or "",
        certificate=status.get("clientCertificateData") or "",
        key=status.get("clientKeyData") or "",
        expires=_parse_time(status.get("expirationTimestamp")),
    )
    if not credential.token and not (credential.certificate and credential.key):
        raise ValueError("no credentials")
    return credential


def _parse_time(timestamp: str | None) -> float | None:
    return dt.datetime.fromisoformat(timestamp).timestamp() if timestamp else None


def _plugin_error(plugin: Mapping[str, Any], context: KubeContext, what: str) -> TargetError:
    return TargetError(
        f"{plugin['command']}, which context {context.name} gets its credentials from, {what}",
        hint=str(plugin.get("installHint") or "run it by hand: it says more").strip(),
    )

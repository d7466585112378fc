"""Which cluster is meant, and as whom: kubeconfig files, read and merged as kubectl does.

What the client below cannot do is refused by name, and never left out in silence: a cluster that
is reached without the proxy or the identity that its file asks for is the wrong one.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from modelshelf.shelf.errors import UsageError

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_DEFAULT = "~/.kube/config"

# k8s.io/client-go/tools/clientcmd/api/v1/types.go
_PATHS = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
_KNOWN = {
    "cluster": {
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "insecure-skip-tls-verify",
        "disable-compression",
        "extensions",
    },
    "user": {
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "token",
        "tokenFile",
        "username",
        "password",
        "exec",
        "extensions",
    },
    "exec": {
        "apiVersion",
        "command",
        "args",
        "env",
        "installHint",
        "interactiveMode",
        "provideClusterInfo",
    },
}
_INSTEAD = {
    "auth-provider": "use the provider's exec plugin, as kubectl itself wants since 1.26",
    "proxy-url": "remove it there, and set HTTPS_PROXY instead",
    "tls-server-name": "give `server` a name that its certificate has",
}
_IMPERSONATION = "impersonation is not supported: use a user of your own"
EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclasses.dataclass(frozen=True, slots=True)
class KubeContext:
    """A cluster and a user of it.

    Attributes:
        name: The context's name.
        server: The API server's base URL.
        cluster: The file's `cluster`, with absolute paths.
        user: The file's `user`, with absolute paths; empty for none.
    """

    name: str
    server: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """A named entry, and the file that it is from."""

    value: Mapping[str, Any]
    path: str


def find(kubeconfig: str | None, context: str | None) -> KubeContext:
    """The cluster that is meant, from the environment of this process.

    Args:
        kubeconfig: A file; default: those of KUBECONFIG, then ~/.kube/config, then a pod's own
            service account.
        context: Its context; default: the current one.

    Raises:
        UsageError: There is none, or it asks for something that is not supported.
    """
    listed = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    asked = [kubeconfig] if kubeconfig else listed or [_DEFAULT]
    paths = [os.path.abspath(os.path.expanduser(path)) for path in asked]
    there = [path for path in paths if os.path.exists(path)]
    if there:
        return read(there, context)
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if host and not kubeconfig and not listed and os.path.exists(f"{_ACCOUNT}/token"):
        return in_cluster(host, os.environ.get("KUBERNETES_SERVICE_PORT", "443"), context)
    raise UsageError(
        f"there is no kubeconfig: {', '.join(paths)} cannot be found",
        hint="name one with --kubeconfig or KUBECONFIG; your cluster's provider gives it",
    )


def in_cluster(host: str, port: str, context: str | None = None) -> KubeContext:
    """The cluster that this pod runs in, as its service account.

    Args:
        host: KUBERNETES_SERVICE_HOST.
        port: KUBERNETES_SERVICE_PORT.
        context: Must not be given: there are no contexts here.

    Raises:
        UsageError: A context was asked for.
    """
    if context:
        raise UsageError(
            f"there is no context {context!r} in a pod that has no kubeconfig",
            hint="leave `context` out, or name a file with --kubeconfig",
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = {"server": server, "certificate-authority": f"{_ACCOUNT}/ca.crt"}
    return KubeContext("in-cluster", server, cluster, {"tokenFile": f"{_ACCOUNT}/token"})


def read(paths: Sequence[str], context: str | None) -> KubeContext:
    """A context of some kubeconfig files; of entries with the same name the first counts.

    Args:
        paths: Files, absolute, the most important one first.
        context: A context's name; None for the first `current-context`.

    Raises:
        UsageError: A file cannot be read, there is no such context, or what it names is not there
            or has a key that is not supported.
    """
    files = {path: _load(path) for path in paths}
    contexts, clusters, users = (_merged(files, part) for part in ("context", "cluster", "user"))
    current = (file.get("current-context") for file in files.values())
    name = context or next((str(found) for found in current if found), None)
    if name is None:
        raise UsageError(
            f"{', '.join(paths)} has no current context",
            hint=f"choose one with --context: {_names(contexts)}",
        )
    if name not in contexts:
        raise UsageError(
            f"{', '.join(paths)} has no context {name!r}", hint=f"it has: {_names(contexts)}"
        )
    chosen = contexts[name]
    cluster = _named(clusters, chosen, name, "cluster")
    user = _named(users, chosen, name, "user") if chosen.value.get("user") else {}
    return KubeContext(name, str(cluster["server"]), cluster, user)


def _load(path: str) -> Mapping[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except OSError as error:
        raise UsageError(f"the kubeconfig {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # PyYAML's own message quotes the file, and with it perhaps a key.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"the kubeconfig {path}{where} is not YAML") from None
    if not isinstance(found or {}, dict):
        raise UsageError(f"the kubeconfig {path} is not a mapping")
    return found or {}


def _merged(files: Mapping[str, Mapping[str, Any]], part: str) -> dict[str, _Entry]:
    merged: dict[str, _Entry] = {}
    for path, file in files.items():
        for entry in file.get(f"{part}s") or []:
            if not isinstance(entry, dict) or not isinstance(entry.get(part) or {}, dict):
                raise UsageError(f"the kubeconfig {path} has an entry of {part}s without {part}")
            merged.setdefault(str(entry.get("name")), _Entry(entry.get(part) or {}, path))
    return merged


def _names(entries: Mapping[str, _Entry]) -> str:
    return ", ".join(sorted(entries)) or "none"


def _named(entries: Mapping[str, _Entry], context: _Entry, name: str, part: str) -> dict[str, Any]:
    wanted = str(context.value.get(part))
    entry = entries.get(wanted)
    if entry is None:
        raise UsageError(
            f"context {name} in {context.path} names {part} {wanted!r}, which no kubeconfig has",
            hint=f"{part}s there: {_names(entries)}",
        )
    where = f"{part} {wanted} in {entry.path}"
    value = {key: item for key, item in entry.value.items() if item not in (None, "", False, [])}
    _refuse(value, part, where)
    if part == "cluster":
        _check_server(value, where)
    return _absolute(value, part, os.path.dirname(entry.path))


def _refuse(value: Mapping[str, Any], part: str, where: str) -> None:
    for key in value:
        if key not in _KNOWN[part]:
            hint = _IMPERSONATION if key == "as" or key.startswith("as-") else _INSTEAD.get(key, "")
            raise UsageError(
                f"{where} has {key}, which modelshelf does not support",
                hint=hint or "remove it there, or use another context",
            )
        if key.endswith("-data") and not _is_base64(value[key]):
            raise UsageError(f"{where} has a {key} that is not base64")
    plugin = value.get("exec")
    if plugin is None:
        return
    if not isinstance(plugin, dict) or not plugin.get("command"):
        raise UsageError(f"exec of {where} has no command")
    _refuse(plugin, "exec", f"exec of {where}")
    if plugin.get("apiVersion") not in EXEC_VERSIONS:
        raise UsageError(
            f"exec of {where} has apiVersion {plugin.get('apiVersion')}",
            hint=f"modelshelf and kubectl speak {' and '.join(EXEC_VERSIONS)}",
        )


def _is_base64(text: object) -> bool:
    try:
        return bool(base64.b64decode("".join(str(text).split()), validate=True))
    except ValueError:
        return False


def _check_server(value: Mapping[str, Any], where: str) -> None:
    url = urllib.parse.urlsplit(str(value.get("server") or ""))
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise UsageError(f"{where} has no server with http:// or https://")
    if url.username or url.password:
        raise UsageError(
            f"{where} has a password in its server's URL", hint="give it to the user there"
        )


def _absolute(value: dict[str, Any], part: str, folder: str) -> dict[str, Any]:
    """The entry with absolute paths, and no file where there is its content, which counts."""
    kept = {key: item for key, item in value.items() if f"{key}-data" not in value}
    kept |= {key: os.path.join(folder, kept[key]) for key in _PATHS[part] if key in kept}
    plugin = kept.get("exec")
    if plugin and os.path.dirname(plugin["command"]):
        kept["exec"] = plugin | {"command": os.path.join(folder, plugin["command"])}
    return kept

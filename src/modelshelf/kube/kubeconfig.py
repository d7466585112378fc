"""Find the cluster to use, and the user to be: read and merge kubeconfig files as kubectl does.

A key that the client does not support is refused by its name. Ignoring it would be worse: a request
that does not use the proxy or the identity of the file may reach another cluster, or act as another
user.
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

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_DEFAULT_PATH = "~/.kube/config"

# The keys of each part: k8s.io/client-go/tools/clientcmd/api/v1/types.go
_PATH_KEYS = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}
_SUPPORTED_KEYS = {
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
_HINTS = {
    "auth-provider": "use the provider's exec plugin, as kubectl itself wants since 1.26",
    "proxy-url": "remove it there, and set HTTPS_PROXY instead",
    "tls-server-name": "give `server` a name that its certificate has",
}
_IMPERSONATION_HINT = "impersonation is not supported: use a user of your own"
EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclasses.dataclass(frozen=True, slots=True)
class KubeContext:
    """A context: a cluster, and the user to be there.

    Attributes:
        name: The context's name.
        server: The API server's base URL.
        cluster: The `cluster` of the kubeconfig, with absolute paths.
        user: The `user` of the kubeconfig, with absolute paths; empty if there is none.
    """

    name: str
    server: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a kubeconfig, and the path of that file."""

    value: Mapping[str, Any]
    path: str


def find_context(kubeconfig: str | None, context: str | None) -> KubeContext:
    """Find the context to use, as kubectl does.

    Args:
        kubeconfig: The path of a kubeconfig; None for the files in the variable KUBECONFIG, or else
            ~/.kube/config, or else the service account of the pod that this process runs in.
        context: The name of a context; None for the current context of the files.

    Raises:
        UsageError: There is no kubeconfig or context, or it has a key that is not supported.
    """
    from_variable = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    wanted = [kubeconfig] if kubeconfig else from_variable or [_DEFAULT_PATH]
    paths = [os.path.abspath(os.path.expanduser(path)) for path in wanted]
    existing = [path for path in paths if os.path.exists(path)]
    if existing:
        return read_context(existing, context)
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if (
        host
        and not kubeconfig
        and not from_variable
        and os.path.exists(f"{_SERVICE_ACCOUNT}/token")
    ):
        return service_account_context(
            host, os.environ.get("KUBERNETES_SERVICE_PORT", "443"), context
        )
    raise UsageError(
        f"there is no kubeconfig: {', '.join(paths)} cannot be found",
        hint="name one with --kubeconfig or KUBECONFIG; your cluster's provider gives it",
    )


def service_account_context(host: str, port: str, context: str | None = None) -> KubeContext:
    """Make the context of a pod: the cluster that it runs in, as its service account.

    Args:
        host: KUBERNETES_SERVICE_HOST.
        port: KUBERNETES_SERVICE_PORT.
        context: Must be None: without a kubeconfig there is no context to choose.

    Raises:
        UsageError: A context was asked for.
    """
    if context:
        raise UsageError(
            f"there is no context {context!r} in a pod that has no kubeconfig",
            hint="leave `context` out, or name a file with --kubeconfig",
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = {"server": server, "certificate-authority": f"{_SERVICE_ACCOUNT}/ca.crt"}
    return KubeContext("in-cluster", server, cluster, {"tokenFile": f"{_SERVICE_ACCOUNT}/token"})


def read_context(paths: Sequence[str], context: str | None) -> KubeContext:
    """Read a context from kubeconfig files. Of entries with the same name the first one counts.

    Args:
        paths: Absolute paths, the most important file first.
        context: A context's name; None for the first `current-context`.

    Raises:
        UsageError: A file cannot be read, there is no such context, or the cluster or user that it
            names does not exist or has a key that is not supported.
    """
    files = {path: _load(path) for path in paths}
    contexts, clusters, users = (_merged(files, part) for part in ("context", "cluster", "user"))
    current_names = (file.get("current-context") for file in files.values())
    name = context or next((str(current) for current in current_names if current), None)
    if name is None:
        raise UsageError(
            f"{', '.join(paths)} has no current context",
            hint=f"choose one with --context: {_names(contexts)}",
        )
    if name not in contexts:
        raise UsageError(
            f"{', '.join(paths)} has no context {name!r}", hint=f"it has: {_names(contexts)}"
        )
    entry = contexts[name]
    cluster = _resolve(clusters, entry, name, "cluster")
    user = _resolve(users, entry, name, "user") if entry.value.get("user") else {}
    return KubeContext(name, str(cluster["server"]), cluster, user)


def _load(path: str) -> Mapping[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except OSError as error:
        raise UsageError(f"the kubeconfig {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # PyYAML's own message quotes the file, which may hold private keys.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"the kubeconfig {path}{where} is not YAML") from None
    if not isinstance(value or {}, dict):
        raise UsageError(f"the kubeconfig {path} is not a mapping")
    return value or {}


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


def _resolve(
    entries: Mapping[str, _Entry], context: _Entry, name: str, part: str
) -> dict[str, Any]:
    """Get the cluster or user that a context names, checked and with absolute paths."""
    wanted = str(context.value.get(part))
    entry = entries.get(wanted)
    if entry is None:
        raise UsageError(
            f"context {name} in {context.path} names {part} {wanted!r}, which no kubeconfig has",
            hint=f"{part}s there: {_names(entries)}",
        )
    where = f"{part} {wanted} in {entry.path}"
    value = {key: item for key, item in entry.value.items() if item not in (None, "", False, [])}
    _check_keys(value, part, where)
    if part == "cluster":
        _check_server(value, where)
    return _with_absolute_paths(value, part, os.path.dirname(entry.path))


def _check_keys(value: Mapping[str, Any], part: str, where: str) -> None:
    """Refuse keys that are not supported, and data that is not base64."""
    for key in value:
        if key not in _SUPPORTED_KEYS[part]:
            hint = (
                _IMPERSONATION_HINT if key == "as" or key.startswith("as-") else _HINTS.get(key, "")
            )
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
    _check_keys(plugin, "exec", f"exec of {where}")
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


def _with_absolute_paths(value: dict[str, Any], part: str, folder: str) -> dict[str, Any]:
    """Make paths absolute, and drop the path of a file whose content is in the entry as well."""
    kept = {key: item for key, item in value.items() if f"{key}-data" not in value}
    kept |= {key: os.path.join(folder, kept[key]) for key in _PATH_KEYS[part] if key in kept}
    plugin = kept.get("exec")
    if plugin and os.path.dirname(plugin["command"]):
        kept["exec"] = plugin | {"command": os.path.join(folder, plugin["command"])}
    return kept

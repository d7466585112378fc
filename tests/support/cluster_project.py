"""A user's project on a real cluster: a modelshelf.yaml, its lock, and commands on it."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from hub import FileContent, Hub, Repo, safetensors
from lab import vllm
from support.real_model import FILE, REPO_ID, smollm2

SERVER, MODEL = "smol", "smollm2"
TINY_MODEL, TINY_ID, WEIGHTS = "tiny", "org/tiny", "model.safetensors"
_NOT_PASSED_ON = ("HF_", "KUBECONFIG", "SSL_CERT_", "REQUESTS_CA_")
# Small enough for a test's node, and ending soon after its last answer.
TINY = {
    "model": MODEL,
    "engine": "llamacpp",
    "contextLength": 2048,
    "parallel": 2,
    "drain": 5,
    "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}},
}
# Real vLLM on a node of two processors: the defaults are for models of gigabytes.
VLLM = {
    "model": MODEL,
    "engine": "vllm",
    "gpus": 0,
    "contextLength": 512,
    "args": ["--enforce-eager", "--dtype=float32"],
    "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    "shm": "256Mi",
    "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "6Gi"}},
}


class Place(Protocol):
    """A cluster for a project: the one with one node, or the one with two."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        ...

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """The result of a command.

    Attributes:
        code: Its exit code.
        events: The JSON lines of its output.
        stderr: Its text for people.
    """

    code: int
    events: list[dict[str, Any]]
    stderr: str

    def of(self, kind: str, /, **fields: object) -> list[dict[str, Any]]:
        """The events of that kind whose fields have these values."""
        return [
            event
            for event in self.events
            if event.get("event") == kind and all(event.get(k) == v for k, v in fields.items())
        ]

    @property
    def changed(self) -> list[dict[str, Any]]:
        """The objects that the command created, changed, took back or removed."""
        return [event for event in self.of("applied") if event["how"] != "unchanged"]

    @property
    def answer(self) -> str:
        """The server's answer at the end of `up`."""
        (answered,) = self.of("answered")
        return str(answered["answer"])


class Project:
    """A folder with a modelshelf.yaml that a test can change, for one namespace of a cluster.

    Args:
        folder: An empty folder.
        cluster: The cluster on which commands run.
        namespace: The namespace of the file.
        hub: The Hub that has the models.
        shelf: The section `shelf` of the file.

    Attributes:
        file: The content of modelshelf.yaml, which `run` writes before the command.
        path: The path of modelshelf.yaml.
        kubeconfig: The kubeconfig that commands use; None for the one of the environment.
    """

    def __init__(
        self,
        folder: Path,
        cluster: Place,
        namespace: str,
        hub: Hub,
        shelf: Mapping[str, Any],
    ) -> None:
        self.cluster, self.namespace, self.hub = cluster, namespace, hub
        self.path = folder / "modelshelf.yaml"
        self.kubeconfig: Path | None = cluster.kubeconfig
        self.file: dict[str, Any] = {
            "namespace": namespace,
            "shelf": dict(shelf),
            "hub": {"endpoint": hub.url},
            "models": {MODEL: {"source": f"hf://{REPO_ID}"}},
            "servers": {SERVER: copy.deepcopy(TINY)},
        }

    def run(self, *argv: str, code: int | None = 0, env: Mapping[str, str] | None = None) -> Done:
        """Run `modelshelf VERB … --json` on the file.

        Args:
            argv: The verb and its arguments.
            code: The expected exit code; None for any.
            env: Additional environment variables.
        """
        run = subprocess.run(
            self.command(*argv),
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        done = Done(run.returncode, list(_objects(run.stdout)), run.stderr)
        assert code is None or done.code == code, f"{argv} ended with {run.returncode}:\n" + (
            run.stderr + "\n".join(run.stdout.splitlines()[-20:])
        )
        return done

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command and let it run; its output goes to a pipe."""
        return subprocess.Popen(
            self.command(*argv),
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], code: int | None = 0) -> Done:
        """Wait for a started command, and return its result with what was read before."""
        stdout, stderr = process.communicate(timeout=1500)
        done = Done(process.returncode, list(_objects(stdout)), stderr)
        assert code is None or done.code == code, f"it ended with {done.code}:\n{stdout}{stderr}"
        return done

    def command(self, *argv: str) -> list[str]:
        """Write modelshelf.yaml and return the command line."""
        self.write()
        verb, *rest = argv
        named = self.kubeconfig is not None and verb not in {"lock", "render"}
        options = ["--kubeconfig", str(self.kubeconfig)] if named else []
        program = [sys.executable, "-m", "modelshelf", verb, *rest]
        return [*program, "--file", str(self.path), *options, "--json"]

    def write(self) -> None:
        """Write `file` to modelshelf.yaml."""
        self.path.write_text(yaml.safe_dump(self.file, sort_keys=False))

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """A command's environment: no token, endpoint or authority but those of the test."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED_ON)}
        return {**kept, **(env or {})}

    def kubectl(self, *argv: str) -> str:
        """Run kubectl in the project's namespace, as the cluster's administrator."""
        return self.cluster.kubectl("--namespace", self.namespace, *argv)

    def get(self, kind: str, name: str | None = None, *argv: str) -> dict[str, Any]:
        """An object of the namespace, or the list of a kind."""
        one = [name] if name else []
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, *one, *argv, "-o=json"))
        return found

    def pods(self, server: str = SERVER) -> list[dict[str, Any]]:
        """The pods of a server that are not being deleted."""
        label = f"app.kubernetes.io/component=server,app.kubernetes.io/name={server}"
        return [
            pod
            for pod in self.get("pods", None, "-l", label)["items"]
            if not pod["metadata"].get("deletionTimestamp")
        ]


def next_of(process: subprocess.Popen[str], kind: str) -> dict[str, Any]:
    """Read a command's output up to the next event of that kind, and return the event."""
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == kind:
            return event
    raise AssertionError(f"it ended without {kind}: {process.communicate()[1]}")


def add_tiny(hub: Hub, repo_id: str = TINY_ID, size: int = 3_000_000, seed: int = 1) -> Repo:
    """Add a model to a Hub that is small to pull and that no engine could load."""
    files: dict[str, Any] = {WEIGHTS: safetensors(size, seed)}
    files["config.json"] = b'{"model_type": "llama"}'
    return hub.add(repo_id, files, lfs={WEIGHTS})


def add_smollm2(hub: Hub, repo_id: str = REPO_ID, note: bytes = b"") -> Repo:
    """Add the real model to a Hub; another note gives another commit with the same weights."""
    return hub.add(repo_id, smollm2_files(note), lfs={FILE})


def add_vllm(hub: Hub, repo_id: str = REPO_ID) -> Repo:
    """Add the real model to a Hub in the format that vLLM loads."""
    files = {path.name: FileContent(path) for path in vllm.model().iterdir()}
    return hub.add(repo_id, files, lfs={WEIGHTS})


def smollm2_files(note: bytes = b"") -> dict[str, Any]:
    """The files of the real model's repository."""
    return {FILE: FileContent(smollm2()), "README.md": b"# SmolLM2\n" + note}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Parse a verb's output: JSON lines, or one JSON document."""
    lines: Sequence[str] = text.splitlines()
    try:
        for line in lines:
            yield json.loads(line)
    except ValueError:
        yield json.loads(text)

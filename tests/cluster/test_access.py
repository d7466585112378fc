"""What a user may do who has the documented role and nothing else, and where a token goes."""

from __future__ import annotations

import base64
import http
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.cluster import Cluster
from lab.control import AUDITED
from support.cluster_project import MODEL, SERVER, Project, smollm2_files
from support.real_model import FILE, REPO_ID

pytestmark = pytest.mark.timeout(300)

_ROLE = Path(__file__).resolve().parents[2] / "examples" / "rbac" / "role.yaml"
_TOKEN = "hf_aTokenThatNobodyShallSee"
# For a pod that hangs on a node that died (tests/cluster/test_dead_nodes.py), and in a slow run.
_FOR_THE_DEAD = {("", "nodes", "list"), ("", "pods", "delete"), ("", "pods/status", "patch")}


@pytest.fixture
def limited(project: Project, cluster: Cluster, restricted: str) -> Project:
    """The project of a user who has the documented role in a namespace that is there."""
    if not cluster.own:
        pytest.skip("somebody's own cluster signs no users for us")
    roles = list(yaml.safe_load_all(_ROLE.read_text(encoding="utf-8")))
    objects = [_named(role, restricted) for role in roles]
    objects += [_binding(role, restricted) for role in objects]
    for obj in objects:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    project.kubeconfig = cluster.kubeconfig_for(f"ann-{restricted}", [AUDITED])
    return project


def _named(role: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = {"name": f"modelshelf-{namespace}"}
    if role["kind"] == "Role":
        metadata["namespace"] = namespace
    return role | {"metadata": metadata}


def _binding(role: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": role["metadata"],
        "roleRef": {"apiGroup": group, "kind": role["kind"], "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": group, "kind": "User", "name": f"ann-{namespace}"}],
    }


def _granted() -> set[tuple[str, str, str]]:
    """What the documented role allows, each as (API group, resource, verb)."""
    return {
        (group, resource, verb)
        for role in yaml.safe_load_all(_ROLE.read_text(encoding="utf-8"))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _used(logs: Path, user: str) -> Iterator[tuple[str, str, str]]:
    """What a user did, by the API server's own record."""
    for line in (logs / "audit.log").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        about = event.get("objectRef")
        if event["user"]["username"] != user or about is None:
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        yield about.get("apiGroup", ""), resource, event["verb"]
        if event["verb"] == "patch" and event["responseStatus"]["code"] == http.HTTPStatus.CREATED:
            # Who applies what is not there needs both rights.
            yield about.get("apiGroup", ""), resource, "create"


def test_the_documented_role_is_enough_for_every_verb_and_has_nothing_else(
    limited: Project, cluster: Cluster
) -> None:
    """From up to down, in a namespace of somebody else's, which stays, each right is used."""
    assert "Paris" in limited.run("up", env={"HF_TOKEN": _TOKEN}).answer
    assert limited.run("up").changed == []
    limited.run("scale", SERVER, "0")
    limited.hub.add(REPO_ID, smollm2_files(b"2"), lfs={FILE})
    limited.run("lock", "--upgrade", MODEL)
    changes: Any = limited.run("diff").events[0]
    assert [each["name"] for each in changes if each["how"] == "changed"] == [SERVER]
    limited.run("up")
    limited.run("rollback", SERVER)
    assert limited.run("status").events[0]["servers"][0]["wanted"] == 0
    assert limited.run("logs", MODEL).events
    limited.run("down", "--yes", "--purge")
    namespaces = limited.cluster.kubectl("get", "namespaces", "-o=name").split()
    assert f"namespace/{limited.namespace}" in namespaces
    assert limited.get("deployments,jobs,persistentvolumeclaims,secrets")["items"] == []
    assert cluster.logs is not None
    used = set(_used(cluster.logs, f"ann-{limited.namespace}"))
    assert sorted(_granted() - used - _FOR_THE_DEAD) == []


def test_a_right_that_is_missing_is_named_with_its_rule(limited: Project) -> None:
    """The error says which verb on which resource, and the rule to ask for."""
    name = f"modelshelf-{limited.namespace}"
    limited.cluster.kubectl("delete", "clusterrolebinding", name)
    refused = limited.run("up", code=20).events[-1]
    assert "persistentvolumes in the whole cluster" in refused["message"]
    assert 'resources: ["persistentvolumes"], verbs: ["get"]' in refused["hint"]


@pytest.fixture
def gated(project: Project) -> Project:
    """A project of a model that the hub gives only for a token."""
    project.hub.add(REPO_ID, smollm2_files(), lfs={FILE}, token=_TOKEN)
    project.file["servers"] = {}
    project.file["models"][MODEL]["engine"] = "llamacpp"
    return project


def test_a_token_reaches_the_pull_and_nothing_else(gated: Project, tmp_path: Path) -> None:
    """It is in a Secret of the namespace; no other object, output, lock or log has it."""
    (tmp_path / "token").write_text(f"{_TOKEN}\n")
    done = gated.run("up", f"--token-file={tmp_path}/token", env={"HF_TOKEN": _TOKEN})
    assert [event["how"] for event in done.of("published")] == ["pulled"]
    (secret,) = gated.get("secrets")["items"]
    encoded = base64.b64encode(_TOKEN.encode()).decode()
    assert secret["data"] == {"token": encoded}
    objects = gated.get("configmaps,jobs,pods,events,persistentvolumeclaims")
    logs = gated.run("logs", MODEL)
    texts = [json.dumps(objects), done.stderr, json.dumps(done.events), json.dumps(logs.events)]
    texts += [path.read_text() for path in tmp_path.glob("modelshelf.*")]
    for text in texts:
        assert _TOKEN not in text
        assert encoded not in text


def test_without_the_token_the_pull_fails_as_its_pod_does(gated: Project) -> None:
    """The lock may be resolved with a token; the Job that has none ends at once, with exit 10."""
    gated.run("lock", env={"HF_TOKEN": _TOKEN})
    refused = gated.run("up", code=10)
    assert f"model {MODEL}: " in refused.events[-1]["message"]
    (job,) = gated.get("jobs")["items"]
    assert job["status"].get("failed") == 1
    again = gated.run("up", env={"HF_TOKEN": _TOKEN})
    assert [event["how"] for event in again.of("pull-started")] == ["replaced"]
    assert again.of("published", how="pulled")

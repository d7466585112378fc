"""What a user with the documented role and no other right can do, and where a token goes."""

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
def limited_project(project: Project, cluster: Cluster, restricted: str) -> Project:
    """A project whose user has the documented role alone, in a namespace that exists."""
    if not cluster.own:
        pytest.skip("a cluster that the tests did not start signs no certificates for users")
    roles = list(yaml.safe_load_all(_ROLE.read_text(encoding="utf-8")))
    objects = [_with_name(role, restricted) for role in roles]
    objects += [_binding(role, restricted) for role in objects]
    for obj in objects:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    project.kubeconfig = cluster.kubeconfig_for(f"ann-{restricted}", [AUDITED])
    return project


def _with_name(role: dict[str, Any], namespace: str) -> dict[str, Any]:
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


def _granted_rights() -> set[tuple[str, str, str]]:
    """The rights that the documented role grants, each as (API group, resource, verb)."""
    return {
        (group, resource, verb)
        for role in yaml.safe_load_all(_ROLE.read_text(encoding="utf-8"))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _used_rights(logs: Path, user: str) -> Iterator[tuple[str, str, str]]:
    """The rights that a user used, according to the API server's audit log."""
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
    limited_project: Project, cluster: Cluster
) -> None:
    """Every verb works with the role in an existing namespace, and together they use each right."""
    assert "Paris" in limited_project.run("up", env={"HF_TOKEN": _TOKEN}).answer
    assert limited_project.run("up").changed == []
    limited_project.run("scale", SERVER, "0")
    limited_project.hub.add(REPO_ID, smollm2_files(b"2"), lfs={FILE})
    limited_project.run("lock", "--upgrade", MODEL)
    changes: Any = limited_project.run("diff").events[0]
    assert [each["name"] for each in changes if each["how"] == "changed"] == [SERVER]
    limited_project.run("up")
    limited_project.run("rollback", SERVER)
    assert limited_project.run("status").events[0]["servers"][0]["wanted"] == 0
    assert limited_project.run("logs", MODEL).events
    limited_project.run("down", "--yes", "--purge")
    namespaces = limited_project.cluster.kubectl("get", "namespaces", "-o=name").split()
    assert f"namespace/{limited_project.namespace}" in namespaces
    assert limited_project.get("deployments,jobs,persistentvolumeclaims,secrets")["items"] == []
    assert cluster.logs is not None
    used = set(_used_rights(cluster.logs, f"ann-{limited_project.namespace}"))
    assert sorted(_granted_rights() - used - _FOR_THE_DEAD) == []


def test_the_error_names_the_missing_right_and_its_rule(limited_project: Project) -> None:
    """The error names the verb and the resource that were refused, and the rule to ask for."""
    name = f"modelshelf-{limited_project.namespace}"
    limited_project.cluster.kubectl("delete", "clusterrolebinding", name)
    refused = limited_project.run("up", code=20).events[-1]
    assert "persistentvolumes in the whole cluster" in refused["message"]
    assert 'resources: ["persistentvolumes"], verbs: ["get"]' in refused["hint"]


@pytest.fixture
def gated_project(project: Project) -> Project:
    """A project with a model that the hub sends only to a client with a token."""
    project.hub.add(REPO_ID, smollm2_files(), lfs={FILE}, token=_TOKEN)
    project.file["servers"] = {}
    project.file["models"][MODEL]["engine"] = "llamacpp"
    return project


def test_a_token_reaches_the_pull_and_nothing_else(gated_project: Project, tmp_path: Path) -> None:
    """A Secret holds the token; no other object, no output, no lock and no log holds it."""
    (tmp_path / "token").write_text(f"{_TOKEN}\n")
    done = gated_project.run("up", f"--token-file={tmp_path}/token", env={"HF_TOKEN": _TOKEN})
    assert [event["how"] for event in done.of("published")] == ["pulled"]
    (secret,) = gated_project.get("secrets")["items"]
    encoded = base64.b64encode(_TOKEN.encode()).decode()
    assert secret["data"] == {"token": encoded}
    objects = gated_project.get("configmaps,jobs,pods,events,persistentvolumeclaims")
    logs = gated_project.run("logs", MODEL)
    texts = [json.dumps(objects), done.stderr, json.dumps(done.events), json.dumps(logs.events)]
    texts += [path.read_text() for path in tmp_path.glob("modelshelf.*")]
    for text in texts:
        assert _TOKEN not in text
        assert encoded not in text


def test_a_pull_without_the_token_fails_with_its_pods_exit_code(gated_project: Project) -> None:
    """A pull Job without the token ends at once with exit 10, even after a lock with a token."""
    gated_project.run("lock", env={"HF_TOKEN": _TOKEN})
    refused = gated_project.run("up", code=10)
    assert f"model {MODEL}: " in refused.events[-1]["message"]
    (job,) = gated_project.get("jobs")["items"]
    assert job["status"].get("failed") == 1
    again = gated_project.run("up", env={"HF_TOKEN": _TOKEN})
    assert [event["how"] for event in again.of("pull-started")] == ["replaced"]
    assert again.of("published", how="pulled")

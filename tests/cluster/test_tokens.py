"""The Hub's token on a real cluster: pull Jobs get it, and nothing else ever holds it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from hub import Hub
from support.cluster_project import Project, add_tiny

TOKEN = "hf_" + "Ab3dE6" * 6


def places_with_text(project: Project, *secrets: str) -> list[str]:
    """The objects and logs of a namespace, without its Secrets, that contain one of the texts."""
    kinds = "pods,jobs,deployments,replicasets,services,configmaps,events,persistentvolumeclaims"
    places = {
        f"{obj['kind']}/{obj['metadata']['name']}": json.dumps(obj)
        for obj in project.get(kinds)["items"]
    }
    for pod in project.get("pods")["items"]:
        name = pod["metadata"]["name"]
        places[f"log of {name}"] = project.kubectl("logs", name, "--all-containers")
    assert len(places) > 5
    return [place for place, text in places.items() if any(secret in text for secret in secrets)]


def test_a_token_file_alone_locks_and_pulls_a_gated_model(
    unserved_project: Project, hub: Hub, tmp_path: Path
) -> None:
    """The token is in one Secret, and in no manifest, log, event or output of the command."""
    repo = add_tiny(hub)
    repo.token, repo.gated = TOKEN, True
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    done = unserved_project.run("up", "--token-file", str(file))
    assert done.of("published", how="pulled")
    encoded = base64.b64encode(TOKEN.encode()).decode()
    assert places_with_text(unserved_project, TOKEN, encoded) == []
    assert TOKEN not in done.stderr + json.dumps(done.events)
    assert TOKEN not in "".join(path.read_text() for path in tmp_path.glob("modelshelf.*"))
    (secret,) = unserved_project.get("secrets")["items"]
    assert secret["data"] == {"token": encoded}
    # A later up without a token leaves it there for the pulls to come.
    assert unserved_project.run("up").of("done", changed=0)
    assert unserved_project.get("secrets")["items"][0]["data"] == {"token": encoded}


def test_a_server_never_sees_the_token(project: Project) -> None:
    """A server's pod neither names the Secret nor has the token in its environment."""
    project.run("up", "--no-ask", env={"HF_TOKEN": TOKEN})
    (secret,) = project.get("secrets")["items"]
    (pod,) = project.pods()
    text = json.dumps(pod)
    assert secret["metadata"]["name"] not in text
    assert "HF_TOKEN" not in text
    seen = project.kubectl("exec", pod["metadata"]["name"], "-c", "engine", "--", "env")
    assert "PATH=" in seen
    assert TOKEN not in seen


def test_an_existing_secret_is_used_and_a_missing_one_is_named(
    unserved_project: Project, restricted: str, hub: Hub
) -> None:
    """`hub.secret` gives the token; a missing Secret or key is exit 20 and is named."""
    repo = add_tiny(hub)
    repo.token, repo.gated = TOKEN, True
    unserved_project.file["hub"]["secret"] = {"name": "mine", "key": "hub"}
    unserved_project.run("lock", env={"HF_TOKEN": TOKEN})
    (error,) = unserved_project.run("up", code=20).of("error")
    assert f"{restricted}/mine" in error["message"]

    unserved_project.kubectl("create", "secret", "generic", "mine", f"--from-literal=other={TOKEN}")
    (error,) = unserved_project.run("up", code=20).of("error")
    assert f"{restricted}/mine" in error["message"]
    assert "hub" in error["message"]
    assert "other" in error["message"]
    assert TOKEN not in json.dumps(error)

    unserved_project.kubectl("delete", "secret", "mine")
    unserved_project.kubectl("create", "secret", "generic", "mine", f"--from-literal=hub={TOKEN}")
    assert unserved_project.run("up").of("published", how="pulled")
    assert len(unserved_project.get("secrets")["items"]) == 1

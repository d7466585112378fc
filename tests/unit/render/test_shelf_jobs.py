"""The Jobs that write to the shelf."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.render_inputs import COMMIT, config, lock, snapshot

from modelshelf.config.file import Config
from modelshelf.engines.images import IMAGES
from modelshelf.render import code
from modelshelf.render.code import Package
from modelshelf.render.hub_token import token_secret
from modelshelf.render.jobs import FINAL_EXIT_CODES
from modelshelf.render.names import key
from modelshelf.render.rendered import render
from modelshelf.render.shelf_jobs import pull_objects, purge_objects
from modelshelf.render.storage import claims
from modelshelf.shelf.errors import (
    BusyError,
    IntegrityError,
    NoSpaceError,
    NotAuthorisedError,
    NotFoundError,
    NotWritableError,
    SourceError,
    UsageError,
)

CODE: Mapping[Package, str] = {"shelf": "shelf-code-1", "transfer": "transfer-code-1"}


def _pull(file: Config, *, size: int = 1000) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, job = pull_objects(file, "tiny", lock(file, size=size).models["tiny"], CODE)
    return spec, job


def _pod(file: Config) -> dict[str, Any]:
    pod: dict[str, Any] = _pull(file)[1]["spec"]["template"]["spec"]
    return pod


def _container(file: Config) -> dict[str, Any]:
    (container,) = _pod(file)["containers"]
    assert isinstance(container, dict)
    return container


def test_a_pull_is_a_job_that_never_restarts_a_container() -> None:
    """A file with nothing but defaults renders to this whole Job."""
    file = config()
    spec, job = _pull(file)
    own = {
        "app.kubernetes.io/name": "tiny",
        "app.kubernetes.io/component": "pull",
        "app.kubernetes.io/part-of": "models",
        "app.kubernetes.io/managed-by": "modelshelf",
    }
    away = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}

    assert job == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job["metadata"]["name"],
            "namespace": "llm",
            "labels": own,
            "annotations": {
                "modelshelf.dev/snapshot": f"acme/tiny@{snapshot().id}",
                "modelshelf.dev/source": "hf://acme/tiny@main",
                "modelshelf.dev/commit": COMMIT,
                "modelshelf.dev/bytes": "1000",
            },
        },
        "spec": {
            "backoffLimit": 4,
            "activeDeadlineSeconds": 21600,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "pull",
                            "operator": "In",
                            "values": [2, 10, 11, 12, 13, 14],
                        },
                    },
                ]
            },
            "template": {
                "metadata": {"labels": own},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 60,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 1000,
                        "runAsGroup": 1000,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "tolerations": [
                        {"key": "node.kubernetes.io/not-ready", **away},
                        {"key": "node.kubernetes.io/unreachable", **away},
                    ],
                    "containers": [
                        {
                            "name": "pull",
                            "image": IMAGES["python"],
                            "imagePullPolicy": "IfNotPresent",
                            "command": code.command("pull"),
                            "env": [
                                {"name": "HOME", "value": "/tmp"},
                                {
                                    "name": "HF_TOKEN",
                                    "valueFrom": {
                                        "secretKeyRef": {
                                            "name": "models-hub-token",
                                            "key": "token",
                                            "optional": True,
                                        }
                                    },
                                },
                            ],
                            "resources": {
                                "requests": {
                                    "cpu": "500m",
                                    "ephemeral-storage": "128Mi",
                                    "memory": "512Mi",
                                },
                                "limits": {"ephemeral-storage": "1Gi", "memory": "2Gi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "volumeMounts": [
                                {"name": "shelf", "mountPath": "/shelf"},
                                {
                                    "name": "code-shelf",
                                    "mountPath": "/modelshelf/shelf",
                                    "readOnly": True,
                                },
                                {
                                    "name": "code-transfer",
                                    "mountPath": "/modelshelf/transfer",
                                    "readOnly": True,
                                },
                                {"name": "spec", "mountPath": "/spec", "readOnly": True},
                                {"name": "tmp", "mountPath": "/tmp"},
                            ],
                        }
                    ],
                    "volumes": [
                        {
                            "name": "shelf",
                            "persistentVolumeClaim": {"claimName": claims(file).rw},
                        },
                        {"name": "code-shelf", "configMap": {"name": "shelf-code-1"}},
                        {"name": "code-transfer", "configMap": {"name": "transfer-code-1"}},
                        {"name": "spec", "configMap": {"name": key(spec).name}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                    ],
                },
            },
        },
    }


def test_a_spec_has_the_locked_files() -> None:
    """A pod gets the locked files and their checksums, and asks the Hub for no metadata."""
    spec, _ = _pull(config())

    assert json.loads(spec["data"]["pull.json"]) == {
        "shelf": "/shelf",
        "endpoint": "https://huggingface.co",
        "snapshot": snapshot().to_json(),
    }


def test_an_earlier_download_is_named_by_its_folder() -> None:
    """`from` names a folder below the share's root."""
    spec, _ = _pull(config(models="tiny: {source: hf://acme/tiny, from: old/tiny}"))

    assert json.loads(spec["data"]["pull.json"])["from"] == "/shelf/old/tiny"


def test_another_endpoint_is_asked() -> None:
    """A pull asks the mirror that the file names instead of the Hub."""
    spec, _ = _pull(config(more="hub: {endpoint: http://mirror:8080}"))

    assert json.loads(spec["data"]["pull.json"])["endpoint"] == "http://mirror:8080"


def test_without_an_endpoint_pods_ask_the_hub_that_the_lock_was_made_with() -> None:
    """A lock made with a mirror has pods ask the mirror, unless the file names another one."""
    mirror, own = "http://mirror:8090", "http://own:8090"
    for more, expected in (("", mirror), (f"hub: {{endpoint: '{own}'}}", own)):
        file = config(more=more)
        locked = dataclasses.replace(lock(file).models["tiny"], endpoint=mirror)
        spec, _ = pull_objects(file, "tiny", locked, CODE)
        assert json.loads(spec["data"]["pull.json"])["endpoint"] == expected


@pytest.mark.parametrize(
    "other",
    [
        config(more="pull: {image: 'python:3.14'}"),
        config(more="pull: {deadline: 60}"),
        config(more="pull: {nodeSelector: {disk: fast}}"),
        config(more="hub: {endpoint: 'http://mirror:8080'}"),
        config("nfs: {server: nas, path: /other}"),
        config("nfs: {server: 10.0.0.2, path: /export/models}\nuser: 2000"),
    ],
    ids=["image", "deadline", "node", "endpoint", "share", "user"],
)
def test_another_template_is_another_job(other: Config) -> None:
    """A Job whose template differs has another name, since a template cannot be changed."""
    assert key(_pull(other)[1]) != key(_pull(config())[1])


def test_another_code_is_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Job with newer code has another name, and so runs again."""
    file = config()
    before = render(file, lock(file)).pulls["tiny"][1]
    monkeypatch.setattr(code, "files", lambda _package: {"__main__.py": "# another version"})

    assert key(render(file, lock(file)).pulls["tiny"][1]) != key(before)


def test_the_same_file_is_the_same_job() -> None:
    """The same file renders to the same Job, so a second `up` finds it."""
    assert _pull(config()) == _pull(config())


def test_final_failures_are_those_that_retrying_cannot_mend() -> None:
    """An unreachable Hub and another pull at work are not among the final failures."""
    final = (
        UsageError,
        NotAuthorisedError,
        NotFoundError,
        NoSpaceError,
        NotWritableError,
        IntegrityError,
    )

    assert tuple(error.exit_code for error in final) == FINAL_EXIT_CODES
    assert not {1, SourceError.exit_code, BusyError.exit_code} & set(FINAL_EXIT_CODES)


def test_a_large_model_has_more_time() -> None:
    """The default deadline allows 5 MB/s, and the file's deadline replaces it."""
    assert _pull(config(), size=200 * 10**9)[1]["spec"]["activeDeadlineSeconds"] == 40_000
    limited = config(more="pull: {deadline: 60}")
    assert _pull(limited, size=200 * 10**9)[1]["spec"]["activeDeadlineSeconds"] == 60


def test_a_named_secret_must_exist() -> None:
    """A Secret that the file names must exist; ours may be missing, as few models need it."""
    token = _container(config(more="hub: {secret: {name: hf, key: pat}}"))["env"][-1]

    assert token["valueFrom"]["secretKeyRef"] == {"name": "hf", "key": "pat", "optional": False}


def test_a_proxy_is_named_by_the_variables_that_everything_reads() -> None:
    """The proxy's variables are set as the file says, and none is set to an empty value."""
    file = config(more="pull: {proxy: {https: 'http://proxy:3128', no: 'mirror,.local'}}")

    assert _container(file)["env"][:-1] == [
        {"name": "HOME", "value": "/tmp"},
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "NO_PROXY", "value": "mirror,.local"},
    ]


def test_certificates_come_from_a_config_map() -> None:
    """The file's certificates are mounted, and Python's TLS is pointed to them."""
    file = config(more="pull: {ca: {configMap: corp, key: root.pem}}")
    container = _container(file)

    assert {"name": "SSL_CERT_FILE", "value": "/ca/root.pem"} in container["env"]
    assert {"name": "ca", "mountPath": "/ca", "readOnly": True} in container["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "corp"}} in _pod(file)["volumes"]


def test_the_file_says_where_pulls_run() -> None:
    """The Job has the file's node selector and tolerations."""
    taint = {"key": "pool", "operator": "Exists"}
    file = config(
        more="pull: {nodeSelector: {disk: fast}, tolerations: [{key: pool, operator: Exists}]}"
    )

    assert _pod(file)["nodeSelector"] == {"disk": "fast"}
    assert _pod(file)["tolerations"][2:] == [taint]


@pytest.mark.parametrize(
    ("given", "memory"),
    [
        ("{limits: {memory: 256Mi}}", {"requests": "256Mi", "limits": "256Mi"}),
        ("{requests: {memory: 4Gi}}", {"requests": "4Gi", "limits": "4Gi"}),
        (
            "{requests: {memory: 1Gi}, limits: {memory: 8Gi}}",
            {"requests": "1Gi", "limits": "8Gi"},
        ),
    ],
)
def test_resources_of_the_file_replace_ours(given: str, memory: dict[str, str]) -> None:
    """The file's resources replace ours so that no request is above its limit."""
    resources = _container(config(more=f"pull: {{resources: {given}}}"))["resources"]

    assert {side: quantities["memory"] for side, quantities in resources.items()} == memory
    assert resources["requests"]["cpu"] == "500m"


def test_the_file_says_owner_and_image() -> None:
    """The Job runs as the file's uid and with the file's image."""
    file = config(
        "nfs: {server: nas, path: /m}\nuser: 2000\ngroup: 3000",
        more="registry: mirror.example/hub",
    )

    assert _pod(file)["securityContext"]["runAsUser"] == 2000
    assert _pod(file)["securityContext"]["runAsGroup"] == 3000
    assert _container(file)["image"] == "mirror.example/hub/library/python:3.13-slim"


def test_a_purge_is_a_job_that_gets_no_token() -> None:
    """The purge's Job mounts the share for writing and gets no token and no proxy."""
    made, spec, job = purge_objects(config(), ("acme/tiny", "acme/other"))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert json.loads(spec["data"]["purge.json"]) == {
        "shelf": "/shelf",
        "repo_ids": ["acme/other", "acme/tiny"],
    }
    assert container["command"] == code.command("purge")
    assert container["env"] == [{"name": "HOME", "value": "/tmp"}]
    assert pod["volumes"][1] == {"name": "code-shelf", "configMap": {"name": key(made).name}}


def test_a_token_is_in_the_secret_alone() -> None:
    """The Job names the Secret, and no rendered text contains the token."""
    secret = token_secret(config(), "hf_secret")

    assert secret["data"] == {"token": "aGZfc2VjcmV0"}
    assert secret["metadata"]["name"] == "models-hub-token"
    assert "hf_secret" not in json.dumps(_pull(config()))

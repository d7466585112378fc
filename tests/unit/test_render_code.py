"""Our code in ConfigMaps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rendering import config

import modelshelf.core
from modelshelf.core.errors import UsageError
from modelshelf.targets.render import code
from modelshelf.targets.render.names import PULL, SERVER, key

_CORE = Path(modelshelf.core.__path__[0])
_MAPS: tuple[code.Which, ...] = ("pull", "gate", "start", "purge")


def test_a_map_holds_the_files_of_the_installed_package() -> None:
    """Each key is a file of `core`, byte for byte."""
    for verb in _MAPS:
        data = code.code_map(config(), verb)["data"]

        assert data
        assert data == {name: (_CORE / name).read_text() for name in data}


def test_a_gate_mounts_what_it_imports_alone() -> None:
    """A change in how models are pulled changes no pod that serves."""
    gate = set(code.code_map(config(), "gate")["data"])
    pull = set(code.code_map(config(), "pull")["data"])

    assert {"__init__.py", "__main__.py", "gate.py", "model.py"} <= gate
    assert {"pull.py", "fetch.py", "connection.py", "staging.py"} <= pull
    assert not {"pull.py", "fetch.py", "connection.py", "staging.py", "purge.py"} & gate
    assert not {"purge.py", "gate.py"} & pull


def test_a_map_is_named_by_what_it_holds() -> None:
    """The same files have the same name; another verb, file or namespace has another."""
    maps = [
        *(code.code_map(config(), verb) for verb in _MAPS),
        code.code_map(config(more="name: others"), "gate"),
    ]

    assert code.code_map(config(), "gate") == maps[1]
    assert len({key(one) for one in maps}) == 5
    assert maps[1]["metadata"]["name"].startswith("modelshelf-gate-")
    assert len(maps[1]["metadata"]["name"]) == len("modelshelf-gate-") + 10
    assert all(one["immutable"] is True for one in maps)


def test_gitops_keeps_what_a_kept_replica_set_names() -> None:
    """Flux and Argo CD delete no map of a server; those of a Job go with the Job."""
    spec = {"shelf": "/shelf"}
    for verb in _MAPS:
        made = code.code_map(config(), verb)
        told = code.spec_map(config(), SERVER, "mistral", {verb: spec})

        kept = {
            "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
            "argocd.argoproj.io/sync-options": "Prune=false,ServerSideApply=true",
            "kustomize.toolkit.fluxcd.io/prune": "disabled",
        }
        applied = {"argocd.argoproj.io/sync-options": "ServerSideApply=true"}
        expected = kept if verb in ("gate", "start") else applied
        assert made["metadata"]["annotations"] == told["metadata"]["annotations"] == expected


def test_a_map_fits_where_kubectl_writes_it_down_once_more() -> None:
    """`kubectl apply` copies the object into an annotation of at most 256 KiB."""
    for verb in _MAPS:
        assert len(json.dumps(code.code_map(config(), verb))) < 256 * 1024 - 1024


def test_a_spec_is_one_json_file() -> None:
    """The file is named for its verb, and lies where the command looks for it."""
    made = code.spec_map(config(), SERVER, "mistral", {"gate": {"shelf": "/shelf", "timeout": 5}})

    assert json.loads(made["data"]["gate.json"]) == {"shelf": "/shelf", "timeout": 5}
    assert made["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    assert made["metadata"]["name"].startswith("gate-mistral-spec-")
    assert code.command("gate") == [
        "python3",
        "-I",
        "-S",
        "/modelshelf/core/__main__.py",
        "gate",
        "/spec/gate.json",
    ]


def test_another_spec_has_another_name() -> None:
    """A spec cannot be changed in place, so that a pod never sees half of a change."""
    names = {
        key(code.spec_map(config(), PULL, name, {"pull": {"shelf": shelf}}))
        for name in ("a", "b")
        for shelf in ("/1", "/2")
    }

    assert len(names) == 4


def test_a_list_of_files_that_fits_no_config_map_is_refused() -> None:
    """The error says which model it is, and what to do."""
    with pytest.raises(
        UsageError, match="what the pull of huge needs is more than the 1 MiB"
    ) as caught:
        code.spec_map(config(), PULL, "huge", {"pull": {"shelf": "/" + "x" * (1 << 20)}})

    assert "include" in caught.value.hint

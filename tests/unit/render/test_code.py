"""Our packages in ConfigMaps, and the specs that their programs read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.render_inputs import config

import modelshelf
from modelshelf.render import code
from modelshelf.render.names import PRIME, PULL, SERVER, key
from modelshelf.shelf.errors import UsageError

_SOURCE = Path(modelshelf.__file__).parent


@pytest.mark.parametrize("package", code.PACKAGES)
def test_a_map_holds_the_files_of_the_installed_package(package: code.Package) -> None:
    """Each key of a map is one file of the package, byte for byte, and no file is missing."""
    data = code.code_map(config(), package)["data"]

    assert data == {path.name: path.read_text() for path in (_SOURCE / package).glob("*.py")}
    assert "__main__.py" in data


def test_a_pod_mounts_the_packages_that_its_verbs_need() -> None:
    """A pod mounts the packages of its verbs alone, so a change in pulls changes no server."""
    assert code.packages_for(["gate"]) == ("shelf",)
    assert code.packages_for(["purge"]) == ("shelf",)
    assert code.packages_for(["pull"]) == ("shelf", "transfer")
    assert code.packages_for(["gate", "start", "drain"]) == ("shelf", "start")
    assert code.packages_for(["prime", "gate"]) == ("shelf", "start")


def test_a_map_is_named_for_its_content() -> None:
    """The same files give the same name; other files, packages or users give another."""
    maps = [
        *(code.code_map(config(), package) for package in code.PACKAGES),
        code.code_map(config(more="name: others"), "shelf"),
    ]

    assert code.code_map(config(), "shelf") == maps[0]
    assert len({key(one) for one in maps}) == 4
    assert maps[0]["metadata"]["name"].startswith("modelshelf-shelf-")
    assert len(maps[0]["metadata"]["name"]) == len("modelshelf-shelf-") + 10
    assert all(one["immutable"] is True for one in maps)


def test_gitops_keeps_what_a_kept_replica_set_names() -> None:
    """Flux and Argo CD delete no map of a server, and delete a Job's map with its Job."""
    kept = {
        "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
        "argocd.argoproj.io/sync-options": "Prune=false,ServerSideApply=true",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    }
    applied = {"argocd.argoproj.io/sync-options": "ServerSideApply=true"}
    for package in code.PACKAGES:
        made = code.code_map(config(), package)
        assert made["metadata"]["annotations"] == (applied if package == "transfer" else kept)
    for component in (SERVER, PULL, PRIME):
        spec = code.spec_map(config(), component, "mistral", {"gate": {"shelf": "/shelf"}})
        assert spec["metadata"]["annotations"] == (kept if component == SERVER else applied)


@pytest.mark.parametrize("package", code.PACKAGES)
def test_a_map_fits_into_kubectls_annotation(package: code.Package) -> None:
    """A map fits into the annotation of at most 256 KiB that `kubectl apply` writes."""
    assert len(json.dumps(code.code_map(config(), package))) < 256 * 1024 - 1024


def test_a_spec_is_one_json_file() -> None:
    """A spec is one file named for its verb, at the path that the command reads."""
    made = code.spec_map(config(), SERVER, "mistral", {"gate": {"shelf": "/shelf", "timeout": 5}})

    assert json.loads(made["data"]["gate.json"]) == {"shelf": "/shelf", "timeout": 5}
    assert made["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    assert made["metadata"]["name"].startswith("gate-mistral-spec-")
    assert code.command("gate") == [
        "python3",
        "-I",
        "-S",
        "/modelshelf/shelf/__main__.py",
        "gate",
        "/spec/gate.json",
    ]


def test_another_spec_has_another_name() -> None:
    """A changed spec is a new object, so a pod never reads half of a change."""
    names = {
        key(code.spec_map(config(), PULL, name, {"pull": {"shelf": shelf}}))
        for name in ("a", "b")
        for shelf in ("/1", "/2")
    }

    assert len(names) == 4


def test_a_list_of_files_that_fits_no_config_map_is_refused() -> None:
    """The error names the model with too many files and says what to do."""
    with pytest.raises(
        UsageError, match="list of files for the pull of huge is larger than the 1 MiB"
    ) as caught:
        code.spec_map(config(), PULL, "huge", {"pull": {"shelf": "/" + "x" * (1 << 20)}})

    assert "include" in caught.value.hint

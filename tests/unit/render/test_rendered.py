"""Everything that a modelshelf.yaml comes to."""

from __future__ import annotations

import time

import pytest
from support.render_inputs import config, lock

from modelshelf.config.lock import Lock
from modelshelf.render.names import key, of_file
from modelshelf.render.rendered import render
from modelshelf.shelf.errors import UsageError

_WAVE = "argocd.argoproj.io/sync-wave"
_SERVER = "mistral: {model: tiny}"


def test_pulls_come_before_servers() -> None:
    """A server that changes before its model is there would take the last ready pod down."""
    file = config(servers=_SERVER)
    rendered = render(file, lock(file))

    kinds = [obj["kind"] for obj in rendered.pull_folder()]
    assert kinds == [
        "Namespace",
        "PersistentVolume",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PersistentVolumeClaim",
        "ConfigMap",
        "ConfigMap",
        "ConfigMap",
        "ConfigMap",
        "Job",
    ]
    served = [obj["kind"] for obj in rendered.serve_folder()]
    assert {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"} < set(served)
    assert {obj["metadata"]["annotations"][_WAVE] for obj in rendered.pull_folder()} == {"0"}
    assert {obj["metadata"]["annotations"][_WAVE] for obj in rendered.serve_folder()} == {"1"}


def test_waves_are_for_files_alone() -> None:
    """What `up` applies has no annotation of Argo CD's order."""
    file = config(servers=_SERVER)
    rendered = render(file, lock(file))
    rendered.pull_folder()

    assert all(_WAVE not in obj["metadata"].get("annotations", {}) for obj in rendered.storage)


def test_every_object_is_labelled_as_the_files() -> None:
    """What leaves the file can be found, and nothing else is ever removed."""
    file = config(servers=_SERVER, more="name: others")
    rendered = render(file, lock(file))

    for obj in (*rendered.pull_folder(), *rendered.serve_folder()):
        assert obj["metadata"]["labels"].items() >= of_file(file).items(), key(obj)


def test_no_two_objects_are_one() -> None:
    """Kind, namespace and name are an object's identity."""
    file = config(
        models="a: {source: hf://acme/a}\nb: {source: hf://acme/b}",
        servers="one: {model: a}\ntwo: {model: a}\nthree: {model: b}",
    )
    rendered = render(file, lock(file))
    keys = [key(obj) for obj in (*rendered.pull_folder(), *rendered.serve_folder())]

    assert len(set(keys)) == len(keys)
    assert list(rendered.pulls) == ["a", "b"]
    assert list(rendered.servers) == ["one", "three", "two"]


def test_a_server_mounts_the_map_that_is_rendered() -> None:
    """The gate's code is there under the name that pods ask for."""
    file = config(servers=_SERVER)
    rendered = render(file, lock(file))
    (deployment,) = (obj for obj in rendered.servers["mistral"] if obj["kind"] == "Deployment")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]

    shelf = {"name": key(rendered.code["shelf"]).name}
    assert {"name": "code-shelf", "configMap": shelf} in volumes


def test_models_without_servers_need_no_code_of_servers() -> None:
    """A file may do nothing but fill the shelf."""
    file = config()
    rendered = render(file, lock(file))

    assert list(rendered.code) == ["shelf", "transfer"]
    assert rendered.serve_folder() == []


def test_a_model_that_is_not_locked_is_refused() -> None:
    """What is rendered names checksums, which only a lock has."""
    with pytest.raises(UsageError, match="lacks the model tiny"):
        render(config(), Lock())


def test_rendering_is_deterministic() -> None:
    """The same file and lock are the same objects, in the same order."""
    file = config(servers=_SERVER)

    assert render(file, lock(file)) == render(file, lock(file))


def test_two_hundred_servers_take_less_than_two_seconds() -> None:
    """Rendering reads our code once, not once for each server."""
    file = config(servers="\n".join(f"server-{n}: {{model: tiny}}" for n in range(200)))
    locked = lock(file)
    began = time.perf_counter()
    rendered = render(file, locked)

    assert time.perf_counter() - began < 2
    assert len(rendered.servers) == 200

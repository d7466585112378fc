"""All objects that a modelshelf.yaml renders to."""

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
    """Pulls are rendered before servers, so that a server's model is there when it changes."""
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


def test_only_files_have_argo_cds_waves() -> None:
    """Objects that `up` applies have no annotation for Argo CD's order."""
    file = config(servers=_SERVER)
    rendered = render(file, lock(file))
    rendered.pull_folder()

    assert all(_WAVE not in obj["metadata"].get("annotations", {}) for obj in rendered.storage)


def test_every_object_has_the_files_labels() -> None:
    """Every object has the file's labels, by which objects of removed entries are found."""
    file = config(servers=_SERVER, more="name: others")
    rendered = render(file, lock(file))

    for obj in (*rendered.pull_folder(), *rendered.serve_folder()):
        assert obj["metadata"]["labels"].items() >= of_file(file).items(), key(obj)


def test_no_two_objects_share_an_identity() -> None:
    """No two objects have the same kind, namespace and name."""
    file = config(
        models="a: {source: hf://acme/a}\nb: {source: hf://acme/b}",
        servers="one: {model: a}\ntwo: {model: a}\nthree: {model: b}",
    )
    rendered = render(file, lock(file))
    keys = [key(obj) for obj in (*rendered.pull_folder(), *rendered.serve_folder())]

    assert len(set(keys)) == len(keys)
    assert list(rendered.pulls) == ["a", "b"]
    assert list(rendered.servers) == ["one", "three", "two"]


def test_a_server_mounts_rendered_maps() -> None:
    """Each ConfigMap that a server's pods mount is rendered under that name."""
    file = config(servers=_SERVER)
    rendered = render(file, lock(file))
    (deployment,) = (obj for obj in rendered.servers["mistral"] if obj["kind"] == "Deployment")
    volumes = deployment["spec"]["template"]["spec"]["volumes"]

    shelf = {"name": key(rendered.code["shelf"]).name}
    assert {"name": "code-shelf", "configMap": shelf} in volumes


def test_models_without_servers_need_no_code_of_servers() -> None:
    """A file without servers renders no ConfigMap of the packages that servers mount."""
    file = config()
    rendered = render(file, lock(file))

    assert list(rendered.code) == ["shelf", "transfer"]
    assert rendered.serve_folder() == []


def test_a_model_that_is_not_locked_is_refused() -> None:
    """A model without a lock is refused, since only the lock has checksums."""
    with pytest.raises(UsageError, match="lacks the model tiny"):
        render(config(), Lock())


def test_rendering_is_deterministic() -> None:
    """The same file and lock render to the same objects in the same order."""
    file = config(servers=_SERVER)

    assert render(file, lock(file)) == render(file, lock(file))


def test_two_hundred_servers_take_less_than_two_seconds() -> None:
    """Rendering two hundred servers takes less than two seconds of processor time."""
    file = config(servers="\n".join(f"server-{n}: {{model: tiny}}" for n in range(200)))
    locked = lock(file)
    began = time.process_time()
    rendered = render(file, locked)

    assert time.process_time() - began < 2
    assert len(rendered.servers) == 200

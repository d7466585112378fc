"""The rendered examples, compared with their golden files and with Kubernetes' own schemas."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from modelshelf.config import lock
from modelshelf.config.file import load
from modelshelf.render.names import Object, key
from modelshelf.render.rendered import render
from modelshelf.shelf.errors import UsageError

ROOT = Path(__file__).parents[3]
# The oldest version that is promised to work, and the newest that there are schemas for.
_VERSIONS = ("1.31", "1.37")


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden", ROOT / "scripts" / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["golden"] = module
    spec.loader.exec_module(module)
    return module


_GOLDEN = _script()
every_example = pytest.mark.parametrize("example", _GOLDEN.EXAMPLES, ids=lambda path: path.name)


def _objects(example: Path) -> list[Object]:
    rendered = render(
        load(example / "modelshelf.yaml"), lock.read_lock(example / "modelshelf.lock")
    )
    return rendered.in_order()


@every_example
def test_an_example_renders_to_its_golden_files(example: Path) -> None:
    """An example renders to its golden files, so that git shows every change of them."""
    folder = _GOLDEN.folder(example)
    found = {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }

    assert found == _GOLDEN.golden(example), "run python scripts/golden.py, and look at git diff"


def test_no_golden_folder_is_left_over() -> None:
    """Each golden folder belongs to an example."""
    examples = {example.name for example in _GOLDEN.EXAMPLES}

    assert {path.name for path in (ROOT / "tests" / "golden").iterdir()} == examples


@every_example
@pytest.mark.parametrize("version", _VERSIONS)
def test_kubernetes_knows_every_field(example: Path, version: str) -> None:
    """The strict schemas of old and new versions of Kubernetes know every field."""
    for obj in _objects(example):
        kubernetes_validate.validate(obj, version, strict=True)


@every_example
def test_no_secret_is_rendered(example: Path) -> None:
    """Rendered objects name Secrets and contain none."""
    assert "Secret" not in {obj["kind"] for obj in _objects(example)}


@every_example
def test_pods_are_restricted(example: Path) -> None:
    """Each pod has every field that Pod Security *restricted* requires."""
    for obj in _objects(example):
        if obj["kind"] not in ("Job", "Deployment"):
            continue
        pod = obj["spec"]["template"]["spec"]
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, key(obj)
        assert security["runAsUser"] > 0, key(obj)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, key(obj)
        assert "fsGroup" not in security, key(obj)
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, key(obj)
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, key(obj)
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim"}, key(obj)


@every_example
def test_images_have_versions(example: Path) -> None:
    """Each image has a tag, and none has the tag `latest`."""
    for obj in _objects(example):
        if obj["kind"] not in ("Job", "Deployment"):
            continue
        pod = obj["spec"]["template"]["spec"]
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            assert tag not in ("", "latest"), container["image"]


def test_every_image_is_pulled_from_the_mirror() -> None:
    """Every image comes from the registry that the file names."""
    objects = json.dumps(_objects(ROOT / "examples" / "two-models"))

    assert "docker.io" not in objects
    assert "ghcr.io" not in objects
    assert objects.count("mirror.example:5000/images/") >= 5


def test_examples_need_no_network() -> None:
    """Each lock fits its file, so rendering asks no Hub."""
    for example in _GOLDEN.EXAMPLES:
        locked = lock.read_lock(example / "modelshelf.lock")
        lock.refuse_stale(load(example / "modelshelf.yaml"), locked)


def test_a_lock_that_does_not_fit_is_refused() -> None:
    """A lock of another file is refused, so the test before this one can fail."""
    example = ROOT / "examples" / "mistral-nfs"

    with pytest.raises(UsageError, match="does not fit"):
        lock.refuse_stale(load(example / "modelshelf.yaml"), lock.Lock())

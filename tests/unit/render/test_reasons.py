"""docs/reference/rendered-server.md gives a reason for all that engines are started with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.render_inputs import config, snapshot

from modelshelf.config.lock import LockedModel, choice_for
from modelshelf.render.names import Object
from modelshelf.render.server_objects import server_objects
from modelshelf.shelf.values import File, Snapshot

_PAGE = (Path(__file__).parents[3] / "docs/reference/rendered-server.md").read_text("utf-8")
_LARGE = snapshot(size=14_000_000_000)
_GGUF = snapshot(name="tiny.Q4_K_M.gguf")
_SEEING = Snapshot(
    *("hf://acme/tiny@main", "acme/tiny", "main", "c0ffee00" * 5),
    (*_GGUF.files[1:], File("mmproj-tiny-f16.gguf", 1, lfs_sha256="2" * 64)),
)
_SERVERS = [
    pytest.param(_LARGE, "prime: true", id="vllm"),
    pytest.param(_LARGE, "{gpus: 0, contextLength: 9, parallel: 2}", id="vllm on processors"),
    pytest.param(_LARGE, "{gpus: 2, resources: {limits: {memory: 9Gi}}}", id="vllm streams"),
    pytest.param(_SEEING, "engine: llamacpp", id="llamacpp"),
    pytest.param(
        *(_GGUF, "{engine: llamacpp, contextLength: 9, resources: {limits: {cpu: 2}}}"),
        id="llamacpp with its own context",
    ),
    pytest.param(
        *(_LARGE, "{engine: custom, image: 'a/b:1', command: ['{model}'], args: [--theirs]}"),
        id="custom",
    ),
]


def _objects(of: Snapshot, server: str) -> list[Object]:
    settings = {"model": "tiny", **yaml.safe_load(server)}
    file = config(servers=f"mine: {json.dumps(settings)}")
    locked = LockedModel("hf://acme/tiny", choice_for(file, "tiny"), of)
    return server_objects(file, "mine", locked, {"shelf": "a", "start": "b"})


def _text_below_heading(title: str) -> str:
    """The text below a heading, up to the next heading of any level."""
    found = re.search(rf"(?ms)^#+ {re.escape(title)}[^\n]*\n(.*?)(?=^#|\Z)", _PAGE)
    assert found, title
    return found[1]


def _explained_names(section: str) -> set[str]:
    """The names in the first cells of a section's tables whose rows give a reason."""
    names: set[str] = set()
    for row in section.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if row.startswith("|") and cells[-1]:
            names.update(re.findall(r"(?<![\w-])(?:--[a-z-]+|[A-Z][A-Z_]+)", cells[0]))
    return names


def _given(engine: Object) -> Iterator[str]:
    for argument in engine["args"]:
        if argument.startswith("--") and argument != "--theirs":
            yield argument.partition("=")[0]
    yield from (variable["name"] for variable in engine["env"])


@pytest.mark.parametrize(("of", "server"), _SERVERS)
def test_every_argument_and_variable_has_a_reason(of: Snapshot, server: str) -> None:
    """The table of each engine has a reason for each argument and variable."""
    deployment = _objects(of, server)[1]
    (engine,) = deployment["spec"]["template"]["spec"]["containers"]
    kind = yaml.safe_load(server).get("engine", "vllm")
    assert set(_given(engine)) - _explained_names(_text_below_heading(kind)) == set()


@pytest.mark.parametrize(("of", "server"), _SERVERS)
def test_every_key_of_a_spec_has_a_reason(of: Snapshot, server: str) -> None:
    """The table of the ConfigMap has a reason for each key of each spec."""
    table = _text_below_heading("ConfigMap: the specs of our code")
    rows = {row.split("|")[1].strip(): row for row in table.splitlines() if row.startswith("| ")}
    for name, text in _objects(of, server)[0]["data"].items():
        verb = name.removesuffix(".json")
        named = {
            key for cell in rows if cell.startswith(verb) for key in re.findall("`(.*?)`", cell)
        }
        assert set(json.loads(text)) <= named


@pytest.mark.parametrize(("of", "server"), _SERVERS)
def test_every_field_of_a_pod_is_named(of: Snapshot, server: str) -> None:
    """The page names every field of the pod and its engine, and our annotations."""
    deployment = _objects(of, server)[1]
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    (engine,) = pod["containers"]
    obvious = {"initContainers", "containers", "volumes", "securityContext", "name", "ports"}
    obvious |= {"volumeMounts", "env", "imagePullPolicy"}
    fields = {*pod, *engine, *deployment["spec"]} - obvious - {"selector", "template"}
    fields |= {name.partition("/")[2] for name in deployment["metadata"]["annotations"]}
    assert {field for field in fields if field not in _PAGE} == set()

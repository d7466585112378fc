"""Our code as pods get it: `core`'s files, and what is to be done, in ConfigMaps.

Both are immutable and named by what they hold. Nothing secret is in them.
"""

import ast
import functools
import importlib.resources
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from modelshelf.config.file import Config
from modelshelf.core.errors import UsageError
from modelshelf.targets.render.names import CODE, MANAGER, NAME, Object, fitted, labels, short_hash

Verb = Literal["pull", "gate", "prime", "start", "drain", "purge"]
"""What a container does: a verb of `core/__main__.py`."""
Which = Literal["pull", "gate", "prime", "start", "purge"]
"""Whose map of code it is: that of a kind of pods, named by its first or its main verb."""

OF_SERVERS: tuple[Which, ...] = ("gate", "start")
CODE_PATH = "/modelshelf/core"
SPEC_PATH = "/spec"
# Argo CD applies on the client by default, which writes all of it once more, into an annotation.
_APPLIED = {"argocd.argoproj.io/sync-options": "ServerSideApply=true"}
# A ReplicaSet that is kept for a rollback names its maps long after git has forgotten them. Flux
# would delete them in the middle of a rollout, Argo CD at its end.
_KEPT = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false,ServerSideApply=true",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
_PACKAGE = "modelshelf.core"
_VERBS: Mapping[Which, tuple[Verb, ...]] = {
    "pull": ("pull",),
    "gate": ("gate",),
    "prime": ("gate", "prime"),
    "start": ("gate", "start", "drain"),
    "purge": ("purge",),
}
_MOST_BYTES = 1 << 20  # of a ConfigMap: `MaxSecretSize` of Kubernetes' validation


def code_map(config: Config, which: Which) -> Object:
    """The files of `core` that some pods need, read from the installed package.

    A server's pods mount `start`'s where our code starts their engine, else the gate's alone, so
    that a change in how models are pulled leaves them as they are.

    Raises:
        UsageError: There are more bytes than a ConfigMap takes.
    """
    own = labels(config, CODE, which)
    return _map(config, which, f"{MANAGER}-{which}", own, dict(files(which)))


def spec_map(config: Config, component: str, name: str, specs: Mapping[Verb, Object]) -> Object:
    """What a pod is to do, as files `<verb>.json` at `SPEC_PATH`.

    Args:
        config: The file.
        component: As in its labels.
        name: The key of the server or the model.
        specs: Verb → the JSON object that `core/__main__.py` documents; the first names the map.

    Raises:
        UsageError: A model has so many files that their list does not fit into a ConfigMap.
    """
    texts = {
        f"{verb}.json": json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for verb, spec in specs.items()
    }
    first = next(iter(specs))
    own = labels(config, component, name)
    return _map(config, first, f"{first}-{name}-spec", own, texts)


def command(which: Verb, spec_path: str = "") -> list[str]:
    """The command of a container that runs our code.

    `-I -S` keeps whatever the image has in its own Python folders out.
    """
    return ["python3", "-I", "-S", f"{CODE_PATH}/__main__.py", which, spec_path or spec_file(which)]


def spec_file(which: Verb) -> str:
    """The path of a spec in a pod."""
    return f"{SPEC_PATH}/{which}.json"


@functools.cache
def files(which: Which) -> tuple[tuple[str, str], ...]:
    """The files of `core` that some pods need: (name, text), sorted.

    Found by following imports from `__main__.py`, in which a verb's function imports what it needs.
    """
    main = _parsed("__main__")
    needed = {"__init__", "__main__"}
    waiting = [*_imports(main.body)]
    for verb in _VERBS[which]:
        waiting += _imports(ast.walk(_function(main, f"_{verb}")))
    while waiting:
        module = waiting.pop()
        if module not in needed:
            needed.add(module)
            waiting += _imports(ast.walk(_parsed(module)))
    return tuple((f"{module}.py", _text(module)) for module in sorted(needed))


def _function(main: ast.Module, name: str) -> ast.FunctionDef:
    found = [node for node in main.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found[0]


def _imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules of `core` that some statements import."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == _PACKAGE:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{_PACKAGE}."):
            yield str(node.module).removeprefix(f"{_PACKAGE}.")
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            yield from (
                name.removeprefix(f"{_PACKAGE}.")
                for name in names
                if name.startswith(f"{_PACKAGE}.")
            )


@functools.cache
def _parsed(module: str) -> ast.Module:
    return ast.parse(_text(module))


@functools.cache
def _text(module: str) -> str:
    return importlib.resources.files(_PACKAGE).joinpath(f"{module}.py").read_text(encoding="utf-8")


def _map(config: Config, which: str, prefix: str, own: dict[str, str], data: Object) -> Object:
    """An immutable ConfigMap. Its labels are hashed too: two files must not share an object."""
    if sum(len(name) + len(text.encode()) for name, text in data.items()) > _MOST_BYTES:
        raise UsageError(
            f"what the {which} of {own[NAME]} needs is more than the 1 MiB that a ConfigMap takes",
            hint="choose fewer files of the model, by include and exclude",
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": fitted(prefix, short_hash([own, data], digits=10)),
            "namespace": config.namespace,
            "labels": own,
            "annotations": dict(_KEPT if which in OF_SERVERS else _APPLIED),
        },
        "immutable": True,
        "data": data,
    }

"""Our code as pods get it: one ConfigMap for each package, and one with what a pod is to do. Pure.

Pods run `shelf`, `transfer` and `start` from ConfigMaps, by the Python that their image has. A pod
mounts the packages that its verbs need, so that a change in how models are pulled leaves the pods
of servers as they are. All of these ConfigMaps are immutable and named by what they hold. Nothing
secret is in them.
"""

import functools
import importlib.resources
import json
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from modelshelf.config.file import Config
from modelshelf.render.names import (
    CODE,
    MANAGER,
    SERVER,
    Object,
    fitted,
    labels,
    short_hash,
)
from modelshelf.shelf.errors import UsageError

Package = Literal["shelf", "start", "transfer"]
"""A package of ours that pods run."""
Verb = Literal["gate", "purge", "pull", "start", "drain", "prime"]
"""What a container does; the `__main__` of the verb's package documents it."""

PACKAGES: tuple[Package, ...] = get_args(Package)
CODE_FOLDER = "/modelshelf"
SPEC_FOLDER = "/spec"
SPEC_VOLUME = "spec"
_CODE_VOLUME = "code-"  # and the name of the package
_PACKAGE_OF: Mapping[Verb, Package] = {
    "gate": "shelf",
    "purge": "shelf",
    "pull": "transfer",
    "start": "start",
    "drain": "start",
    "prime": "start",
}
_OF_SERVERS: tuple[Package, ...] = ("shelf", "start")
# Argo CD applies on the client by default, which writes all of it once more, into an annotation.
_APPLIED = {"argocd.argoproj.io/sync-options": "ServerSideApply=true"}
# A ReplicaSet that is kept for a rollback names its maps long after git has forgotten them. Flux
# would delete them in the middle of a rollout, Argo CD at its end.
_KEPT = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false,ServerSideApply=true",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
_MAX_BYTES = 1 << 20  # of a ConfigMap: `MaxSecretSize` of Kubernetes' validation


def code_map(config: Config, package: Package) -> Object:
    """The ConfigMap with the files of a package, read from the installed modelshelf."""
    own = labels(config, CODE, package)
    return _map(f"{MANAGER}-{package}", config, own, files(package), kept=package in _OF_SERVERS)


def spec_map(config: Config, component: str, name: str, specs: Mapping[Verb, Object]) -> Object:
    """The ConfigMap that says what a pod is to do, as files `<verb>.json` in `SPEC_FOLDER`.

    Args:
        config: The file.
        component: As in its labels.
        name: The key of the server or the model.
        specs: Verb → its spec, a JSON object; the first verb names the map.

    Raises:
        UsageError: A model has so many files that their list does not fit into a ConfigMap.
    """
    texts = {
        f"{verb}.json": json.dumps(spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for verb, spec in specs.items()
    }
    first = next(iter(specs))
    if sum(len(name) + len(text.encode()) for name, text in texts.items()) > _MAX_BYTES:
        raise UsageError(
            f"the list of files for the {first} of {fitted(name)} is larger than the 1 MiB that a "
            "ConfigMap takes",
            hint="choose fewer files of the model, by include and exclude",
        )
    own = labels(config, component, name)
    return _map(f"{first}-{name}-spec", config, own, texts, kept=component == SERVER)


def packages_for(verbs: Iterable[Verb]) -> tuple[Package, ...]:
    """The packages that a pod needs which runs some verbs: theirs, and `shelf` below them."""
    needed = {"shelf", *(_PACKAGE_OF[verb] for verb in verbs)}
    return tuple(package for package in PACKAGES if package in needed)


def volumes(code_maps: Mapping[Package, str]) -> list[Object]:
    """The volumes of a pod that mounts our code.

    Args:
        code_maps: Package → the name of its ConfigMap.
    """
    return [
        {"name": f"{_CODE_VOLUME}{package}", "configMap": {"name": name}}
        for package, name in code_maps.items()
    ]


def mounts(verbs: Iterable[Verb]) -> list[Object]:
    """The mounts of a container that runs some verbs: its packages, and what it is to do."""
    return [
        *(
            {
                "name": f"{_CODE_VOLUME}{package}",
                "mountPath": f"{CODE_FOLDER}/{package}",
                "readOnly": True,
            }
            for package in packages_for(verbs)
        ),
        {"name": SPEC_VOLUME, "mountPath": SPEC_FOLDER, "readOnly": True},
    ]


def package_of_volume(volume: Object) -> Package | None:
    """The package that a volume of a pod holds; None for any other volume."""
    for package in PACKAGES:
        if volume["name"] == f"{_CODE_VOLUME}{package}":
            return package
    return None


def command(verb: Verb, spec_path: str = "") -> list[str]:
    """The command of a container that runs our code.

    `-I -S` keeps out what the image has in its own Python folders.

    Args:
        verb: What it does.
        spec_path: The file that says how; the verb's own in `SPEC_FOLDER` by default.
    """
    main = f"{CODE_FOLDER}/{_PACKAGE_OF[verb]}/__main__.py"
    return ["python3", "-I", "-S", main, verb, spec_path or f"{SPEC_FOLDER}/{verb}.json"]


@functools.cache
def files(package: Package) -> Mapping[str, str]:
    """The files of a package: name → text, sorted by name."""
    folder = importlib.resources.files(f"modelshelf.{package}")
    found = (each for each in folder.iterdir() if each.name.endswith(".py"))
    return {each.name: each.read_text("utf-8") for each in sorted(found, key=lambda f: f.name)}


def _map(
    prefix: str, config: Config, own: dict[str, str], data: Mapping[str, str], *, kept: bool
) -> Object:
    """An immutable ConfigMap. Its labels are hashed too: two files must not share an object."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": fitted(prefix, short_hash([own, data], digits=10)),
            "namespace": config.namespace,
            "labels": own,
            "annotations": dict(_KEPT if kept else _APPLIED),
        },
        "immutable": True,
        "data": dict(data),
    }

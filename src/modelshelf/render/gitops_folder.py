"""Rendered objects as a folder of files for GitOps.

The texts are decided purely, and written where they differ from the files that are there.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from modelshelf.render.carry_over import code_maps_of, deployment_of, keep_code
from modelshelf.render.jobs import job_of
from modelshelf.render.names import PART_OF, Object, key
from modelshelf.render.prime_job import same_work
from modelshelf.render.rendered import Rendered, in_wave
from modelshelf.render.yaml_text import from_yaml, to_yaml
from modelshelf.shelf.errors import UsageError

_OURS = "# Written by `modelshelf render`"
_HEADER = f"{_OURS}, which rewrites and removes it. Change modelshelf.yaml instead.\n"
# The name does not end in .yaml, or kubectl and Argo CD would apply the file.
FLUX_FILE = "flux.yaml.example"
_FLUX_HEADER = f"""{_HEADER}#
# Flux Kustomizations as an example: each waits until all of the one before is done. Copy them to
# where yours are, with your GitRepository's name and this folder's path in it.
"""
_SPARE_SECONDS = 600  # before and after the work that has a deadline

How = Literal["created", "changed", "unchanged", "removed"]


@dataclass(frozen=True, slots=True)
class Written:
    """What happened to one file.

    Attributes:
        path: Relative to the folder.
        how: Whether it was created, changed, left unchanged, or removed.
    """

    path: str
    how: How


def write(rendered: Rendered, folder: str, *, refresh_code: bool = False) -> list[Written]:
    """Bring a folder up to date: write what differs, and remove files of ours that are obsolete.

    Other files stay. A Deployment that the folder has already keeps the code that it names while
    nothing else in its pods changes, so that another version of modelshelf restarts nothing.

    Args:
        rendered: What to write.
        folder: Made if it is missing.
        refresh_code: Name the newest code in every Deployment all the same.

    Returns:
        Every file of ours, sorted by path.

    Raises:
        UsageError: The folder cannot be written, or somebody else's file is in the way.
    """
    try:
        texts = _read(folder)
        ours = {path: text for path, text in texts.items() if text.startswith(_OURS)}
        wanted = files(rendered, ours, refresh_code=refresh_code)
        for path in wanted:
            if path in texts and path not in ours:
                raise UsageError(
                    f"{os.path.join(folder, path)} is in the way, and modelshelf did not write it",
                    hint="move it away, or render into another folder",
                )
        changes = [_change(path, wanted, ours) for path in sorted({*wanted, *ours})]
        for change in changes:
            _carry_out(change, folder, wanted)
    except OSError as error:
        where = error.filename or folder
        raise UsageError(f"{where} cannot be written: {error.strerror}") from error
    return changes


def files(
    rendered: Rendered, old: Mapping[str, str], *, refresh_code: bool = False
) -> dict[str, str]:
    """The files of a folder: path → text. Pure.

    Args:
        rendered: What to write.
        old: The files that we wrote there before: path → text.
        refresh_code: Name the newest code in every Deployment all the same.
    """
    kept = _with_kept_code(rendered, old, refresh_code=refresh_code)
    texts = {
        path: _HEADER + to_yaml(in_wave(wave, obj) for obj in objects)
        for wave, folder in enumerate(_folders(kept).values())
        for path, objects in folder.items()
        if objects
    }
    # What a kept Deployment or Job names was rendered by an earlier version, and is there already.
    texts |= {path: old[path] for path in map(_map_path, _named_maps(kept)) if path not in texts}
    return texts | {FLUX_FILE: _FLUX_HEADER + to_yaml(flux_example(kept))}


def flux_example(rendered: Rendered) -> list[Object]:
    """Flux Kustomizations for the folders, each of which waits for the one before."""
    name = rendered.namespace["metadata"]["labels"][PART_OF]
    kustomizations: list[Object] = []
    for folder, files in _folders(rendered).items():
        every = (obj for objects in files.values() for obj in objects)
        kustomization = _kustomization(
            f"{name}-{folder}", folder, max(map(_deadline, every), default=0)
        )
        if kustomizations:
            previous = kustomizations[-1]["metadata"]["name"]
            kustomization["spec"]["dependsOn"] = [{"name": previous}]
        kustomizations.append(kustomization)
    return kustomizations


def _deadline(obj: Object) -> int:
    """Seconds that an object may take until it is as it should be."""
    spec = obj.get("spec", {})
    seconds: int = spec.get("activeDeadlineSeconds") or spec.get("progressDeadlineSeconds") or 0
    return seconds


def _kustomization(name: str, folder: str, seconds: int) -> Object:
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {
            "sourceRef": {"kind": "GitRepository", "name": "REPOSITORY"},
            "path": f"./PATH/{folder}",
            "interval": "10m",
            "prune": True,
            "wait": True,
            "timeout": f"{seconds + _SPARE_SECONDS}s",
        },
    }


def _folders(rendered: Rendered) -> dict[str, dict[str, list[Object]]]:
    """Folder → its files, in the order in which they are applied; the second may be left out."""
    primes = _prime_files(rendered)
    return {
        "pull": _pull_files(rendered),
        **({"prime": primes} if primes else {}),
        "serve": _serve_files(rendered),
    }


def _prime_files(rendered: Rendered) -> dict[str, list[Object]]:
    return {_prime_path(server): objects for server, objects in rendered.primes.items()}


def _prime_path(server: str) -> str:
    return f"prime/30-{server}.yaml"


def _pull_files(rendered: Rendered) -> dict[str, list[Object]]:
    """The files of the first folder. kubectl applies them by name, hence the numbers."""
    return {
        "pull/00-namespace.yaml": [rendered.namespace],
        "pull/10-storage.yaml": rendered.storage,
        **{_map_path(key(obj).name): [obj] for obj in rendered.code_named(_named_maps(rendered))},
        **{f"pull/30-{model}.yaml": objects for model, objects in rendered.pulls.items()},
    }


def _serve_files(rendered: Rendered) -> dict[str, list[Object]]:
    return {_server_path(server): objects for server, objects in rendered.servers.items()}


def _map_path(name: str) -> str:
    return f"pull/20-{name}.yaml"


def _server_path(server: str) -> str:
    return f"serve/30-{server}.yaml"


def _named_maps(rendered: Rendered) -> frozenset[str]:
    """The ConfigMaps with our code that Deployments and Jobs name."""
    jobs = map(job_of, (*rendered.pulls.values(), *rendered.primes.values()))
    deployments = map(deployment_of, rendered.servers.values())
    return frozenset(name for each in (*jobs, *deployments) for name in code_maps_of(each).values())


def _with_kept_code(rendered: Rendered, old: Mapping[str, str], *, refresh_code: bool) -> Rendered:
    def kept(server: str, obj: Object) -> Object:
        newest = code_maps_of(obj).values() if obj["kind"] == "Deployment" else ()
        # Parsing the old file takes most of the time, and is of no use if it names the newest code.
        if all(name in old.get(_server_path(server), "") for name in newest):
            return obj
        return keep_code(obj, _live(old, server), refresh=refresh_code)

    return replace(
        rendered,
        servers={
            server: [kept(server, obj) for obj in objects]
            for server, objects in rendered.servers.items()
        },
        primes={
            server: objects if refresh_code else _kept_prime(old, server, objects)
            for server, objects in rendered.primes.items()
        },
    )


def _kept_prime(old: Mapping[str, str], server: str, objects: list[Object]) -> list[Object]:
    """The objects that prime a server, as the folder has them if our code alone is new."""
    before = from_yaml(old.get(_prime_path(server), ""))
    for obj in before:
        if obj["kind"] == "Job" and _has_code(old, obj) and same_work(obj, job_of(objects)):
            return before
    return objects


def _live(old: Mapping[str, str], server: str) -> Object | None:
    """The Deployment that a folder has, if the folder has the code that it names, too."""
    for obj in from_yaml(old.get(_server_path(server), "")):
        if obj.get("kind") == "Deployment":
            return obj if _has_code(old, obj) else None
    return None


def _has_code(old: Mapping[str, str], workload: Object) -> bool:
    """Whether a folder has every ConfigMap with our code that a Deployment or a Job names."""
    return all(_map_path(name) in old for name in code_maps_of(workload).values())


def _read(folder: str) -> dict[str, str]:
    """The YAML files of the folders that we write to, by us and by others: path → text."""
    texts = {}
    for below in ("", "pull", "prime", "serve"):
        try:
            names = os.listdir(os.path.join(folder, below))
        except FileNotFoundError:
            continue
        for name in names:
            path = f"{below}/{name}" if below else name
            if name.endswith(".yaml") or path == FLUX_FILE:
                with open(os.path.join(folder, path), encoding="utf-8", errors="replace") as file:
                    texts[path] = file.read()
    return texts


def _change(path: str, wanted: Mapping[str, str], ours: Mapping[str, str]) -> Written:
    if path not in wanted:
        return Written(path, "removed")
    if path not in ours:
        return Written(path, "created")
    return Written(path, "unchanged" if wanted[path] == ours[path] else "changed")


def _carry_out(change: Written, folder: str, wanted: Mapping[str, str]) -> None:
    path = os.path.join(folder, change.path)
    if change.how == "removed":
        os.unlink(path)
    elif change.how != "unchanged":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Another program that reads the folder meanwhile sees the old file or the new one.
        part_file = f"{path}.part"
        with open(part_file, "w", encoding="utf-8", newline="\n") as file:
            file.write(wanted[change.path])
        os.replace(part_file, path)

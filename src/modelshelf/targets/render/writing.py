"""What was rendered as files for GitOps: decided purely, then written where they differ."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from modelshelf.core.errors import UsageError
from modelshelf.targets.render import serving
from modelshelf.targets.render.documents import from_yaml, to_yaml
from modelshelf.targets.render.keeping import deployment_of
from modelshelf.targets.render.names import PART_OF, Object, key
from modelshelf.targets.render.plan import Rendered, in_wave
from modelshelf.targets.render.priming import job_of, same_work

_OURS = "# Written by `modelshelf render`"
_HEADER = f"{_OURS}, which rewrites and removes it. Change modelshelf.yaml instead.\n"
# Not .yaml: kubectl and Argo CD would apply it.
FLUX_FILE = "flux.yaml.example"
_FLUX_HEADER = f"""{_HEADER}#
# Flux Kustomizations as an example: each waits until all of the one before is done. Copy them to
# where yours are, with your GitRepository's name and this folder's path in it.
"""
_SPARE_SECONDS = 600  # for what comes before and after the work that has a deadline

How = Literal["created", "changed", "unchanged", "removed"]


@dataclass(frozen=True, slots=True)
class Written:
    """What happened to a file.

    Attributes:
        path: Relative to the folder.
        how: In which way.
    """

    path: str
    how: How


def write(rendered: Rendered, folder: str, *, refresh_code: bool = False) -> list[Written]:
    """Bring a folder up to date: write what differs, remove what we wrote and is rendered no more.

    Files of others stay. A Deployment that is there keeps the code map that it names while nothing
    else in its pods changes, so that another version of modelshelf restarts nothing.

    Args:
        rendered: What to write.
        folder: Made if it is missing.
        refresh_code: Name the newest code map in every Deployment all the same.

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
                    f"{os.path.join(folder, path)} is not by modelshelf, which would write there",
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
        old: What we wrote there before: path → text.
        refresh_code: Name the newest code map in every Deployment all the same.
    """
    kept = _with_kept_code(rendered, old, refresh_code=refresh_code)
    texts = {
        path: _HEADER + to_yaml(in_wave(wave, obj) for obj in objects)
        for wave, folder in enumerate(_folders(kept).values())
        for path, objects in folder.items()
        if objects
    }
    named = (*map(_map_path, _named_maps(kept)), *map(_prime_map_path, _named_by_primes(kept)))
    texts |= {path: old[path] for path in named if path not in texts}
    return texts | {FLUX_FILE: _FLUX_HEADER + to_yaml(flux_example(kept))}


def flux_example(rendered: Rendered) -> list[Object]:
    """Flux Kustomizations, of which each waits for the one before."""
    name = rendered.namespace["metadata"]["labels"][PART_OF]
    made: list[Object] = []
    for folder, files in _folders(rendered).items():
        every = (obj for objects in files.values() for obj in objects)
        one = _kustomization(f"{name}-{folder}", folder, max(map(_deadline, every), default=0))
        if made:
            one["spec"]["dependsOn"] = [{"name": made[-1]["metadata"]["name"]}]
        made.append(one)
    return made


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
    if not rendered.primes:
        return {}
    named = _named_by_primes(rendered)
    maps = [obj for obj in rendered.prime_code if key(obj).name in named]
    return {
        **{_prime_map_path(key(obj).name): [obj] for obj in maps},
        **{_prime_path(server): objects for server, objects in rendered.primes.items()},
    }


def _prime_map_path(name: str) -> str:
    return f"prime/20-{name}.yaml"


def _prime_path(server: str) -> str:
    return f"prime/30-{server}.yaml"


def _named_by_primes(rendered: Rendered) -> set[str]:
    """The code maps that the Jobs name which prime servers."""
    names = (serving.code_map_of(job_of(objects)) for objects in rendered.primes.values())
    return {name for name in names if name is not None}


def _pull_files(rendered: Rendered) -> dict[str, list[Object]]:
    """Numbered, since kubectl applies a folder's files in the order of their names."""
    return {
        "pull/00-namespace.yaml": [rendered.namespace],
        "pull/10-storage.yaml": rendered.storage,
        "pull/20-code.yaml": rendered.code[:1],
        **{f"pull/30-{model}.yaml": objects for model, objects in rendered.pulls.items()},
    }


def _serve_files(rendered: Rendered) -> dict[str, list[Object]]:
    named = _named_maps(rendered)
    maps = [obj for obj in rendered.code[1:] if key(obj).name in named]
    return {
        **{_map_path(key(obj).name): [obj] for obj in maps},
        **{_server_path(server): objects for server, objects in rendered.servers.items()},
    }


def _map_path(name: str) -> str:
    return f"serve/20-{name}.yaml"


def _server_path(server: str) -> str:
    return f"serve/30-{server}.yaml"


def _named_maps(rendered: Rendered) -> set[str]:
    """The code maps that Deployments name."""
    names = (serving.code_map_of(deployment_of(objects)) for objects in rendered.servers.values())
    return {name for name in names if name is not None}


def _with_kept_code(rendered: Rendered, old: Mapping[str, str], *, refresh_code: bool) -> Rendered:
    def kept(server: str, obj: Object) -> Object:
        newest = serving.code_map_of(obj) if obj["kind"] == "Deployment" else None
        # To read what is there takes longer than all else, and says nothing new if it names this.
        if newest is None or newest in old.get(_server_path(server), ""):
            return obj
        return serving.keep_code(obj, _live(old, server), refresh=refresh_code)

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
    """What primes a server as a folder has it, if our code in it is all that is new."""
    before = from_yaml(old.get(_prime_path(server), ""))
    for obj in before:
        name = serving.code_map_of(obj) if obj["kind"] == "Job" else None
        if name is not None and _prime_map_path(name) in old and same_work(obj, job_of(objects)):
            return before
    return objects


def _live(old: Mapping[str, str], server: str) -> Object | None:
    """The Deployment that a folder has, if the code map that it names is there, too."""
    for obj in from_yaml(old.get(_server_path(server), "")):
        if obj.get("kind") == "Deployment":
            name = serving.code_map_of(obj)
            return obj if name is not None and _map_path(name) in old else None
    return None


def _read(folder: str) -> dict[str, str]:
    """The files in which we write, theirs and ours: path → text."""
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
        # Whoever reads the folder meanwhile sees the old file or the new one.
        half = f"{path}.part"
        with open(half, "w", encoding="utf-8", newline="\n") as file:
            file.write(wanted[change.path])
        os.replace(half, path)

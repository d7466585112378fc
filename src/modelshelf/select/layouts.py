"""What an engine takes from a repository when nobody says more. Pure."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from modelshelf.select.gguf import choose_projector, choose_quantisation
from modelshelf.select.kinds import Kind, is_copy, is_legal, is_pickled_weights, is_refused, kind_of
from modelshelf.select.weights import SECOND_COPY, Chosen, first_copy
from modelshelf.shelf.errors import Error
from modelshelf.shelf.values import File

ENGINES = ("vllm", "llamacpp")
PICKLES = "pickles that nothing chosen needs"
CODE = "code that nothing chosen needs"
NOT_NEEDED = "not needed to serve"
OTHER_QUANTISATIONS = "other quantisations"
OTHER_ENGINES = "weights for other engines"
# sentence-transformers numbers the folders of its modules.
_MODULE = re.compile(r"\d+_\w+")


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What to take, and why not the rest.

    Attributes:
        paths: To take.
        left: Path → reason, where it is another than the file's kind alone gives.
        problem: Why this could not be served; None if it could.
        empty: There are no weights at all.
    """

    paths: frozenset[str]
    left: Mapping[str, str]
    problem: Error | None = None
    empty: bool = False


def guessed_engine(files: Sequence[File]) -> str:
    """The engine that files are for: GGUF without safetensors for llamacpp, all else for vllm."""
    kinds = {kind_of(file.path) for file in files}
    return "llamacpp" if Kind.GGUF in kinds and Kind.SAFETENSORS not in kinds else "vllm"


def for_vllm(files: Sequence[File], texts: Mapping[str, str]) -> Choice:
    """One copy of the weights in transformers' layout, and every text.

    The first copy in the top folder counts. Folders below are taken with the safetensors they
    hold; they must be whole where they are parts of the model (diffusers' components,
    sentence-transformers' modules) or the top folder has no weights. Folders that repeat the
    model for other programs (`original`, `onnx`, …) are left out.
    """
    folders: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if not is_copy(file.path):
            folders[os.path.dirname(file.path)].append(file)
    found = {folder: first_copy(members, texts) for folder, members in folders.items()}
    top = found.pop("", Chosen(problem=first_copy((), {}).problem, empty=True))
    parts = [
        part if _is_component(folder, folders[""]) or top.empty else _optional(part)
        for folder, part in found.items()
    ]
    paths = {f.path for members in folders.values() for f in members if _is_text(f.path)}
    weights = top.paths.union(*(part.paths for part in parts))
    problems = [part.problem for part in (top, *parts) if part.problem and not part.empty]
    if not weights and not problems and top.problem:
        problems = [top.problem]
    left = {path: why for part in (top, *parts) for path, why in part.left.items()}
    empty = top.empty and all(part.empty for part in parts)
    return Choice(weights | paths, left, problems[0] if problems else None, empty)


def for_llamacpp(files: Sequence[File], include: Sequence[str]) -> Choice:
    """One quantisation, its projector, and the legal texts.

    Raises:
        UsageError: There are several quantisations, and `include` does not choose.
        NotFoundError: There is none that is whole.
    """
    model = choose_quantisation(files, include)
    projector = choose_projector(files, model, include)
    chosen = [*model.files, *([projector] if projector else [])]
    paths = {file.path for file in chosen} | {f.path for f in files if is_legal(f.path)}
    left = {f.path: OTHER_QUANTISATIONS for f in files if kind_of(f.path) is Kind.GGUF}
    other = (Kind.SAFETENSORS, Kind.OTHER_WEIGHTS, Kind.INDEX)
    left |= {f.path: OTHER_ENGINES for f in files if kind_of(f.path) in other}
    left |= {f.path: OTHER_ENGINES for f in files if is_pickled_weights(f.path)}
    return Choice(frozenset(paths), left)


def everything(files: Sequence[File], usual: Choice, *, allow_unsafe: bool) -> Choice:
    """All that policy allows, and what the engine could not do without."""
    allowed = {f.path for f in files if allow_unsafe or not is_refused(f.path)}
    return Choice(usual.paths | allowed, {}, None if usual.empty else usual.problem)


def reason_of(path: str) -> str:
    """Why a file is left out, where its kind alone says so."""
    kind = kind_of(path)
    if kind is Kind.CODE:
        return CODE
    weights = kind in (Kind.SAFETENSORS, Kind.GGUF, Kind.OTHER_WEIGHTS, Kind.INDEX)
    if weights or (is_copy(path) and is_pickled_weights(path)):
        return SECOND_COPY
    return PICKLES if kind is Kind.PICKLE else NOT_NEEDED


def _optional(part: Chosen) -> Chosen:
    """A folder that the model does without: what can be taken of it safely."""
    safe = frozenset(path for path in part.paths if not is_refused(path))
    if any(is_refused(path) for path in part.paths):
        safe = frozenset(path for path in safe if kind_of(path) is Kind.SAFETENSORS)
    return Chosen(safe, part.left)


def _is_component(folder: str, top: Sequence[File]) -> bool:
    names = {file.path for file in top}
    if "model_index.json" in names:
        return True
    return "modules.json" in names and bool(_MODULE.fullmatch(folder.partition("/")[0]))


def _is_text(path: str) -> bool:
    return kind_of(path) is Kind.TEXT

"""What each engine takes from a repository by default, before any option narrows it. Pure."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from modelshelf.select.file_kinds import (
    Kind,
    is_copy,
    is_legal,
    is_pickled_weights,
    is_refused,
    kind_of,
)
from modelshelf.select.quantisations import choose_projector, choose_quantisation
from modelshelf.select.weights import SECOND_COPY, FolderWeights, first_copy
from modelshelf.shelf.errors import Error
from modelshelf.shelf.values import File

ENGINES = ("vllm", "llamacpp")
PICKLES = "pickles that nothing chosen needs"
CODE = "code that nothing chosen needs"
NOT_NEEDED = "not needed to serve"
OTHER_QUANTISATIONS = "other quantisations"
OTHER_ENGINES = "weights for other engines"
# sentence-transformers numbers the folders of its modules: `1_Pooling`.
_MODULE_FOLDER = re.compile(r"\d+_\w+")


@dataclasses.dataclass(frozen=True, slots=True)
class EngineChoice:
    """The files that an engine takes by default.

    Attributes:
        paths: The files to take.
        reasons: Path → why the file is not taken, where `reason_for_kind` would say something else.
        problem: Why the engine could not serve these files; None if it could.
        no_weights: Whether the repository has no weights at all.
    """

    paths: frozenset[str]
    reasons: Mapping[str, str]
    problem: Error | None = None
    no_weights: bool = False


def guess_engine(files: Sequence[File]) -> str:
    """Guess the engine: llamacpp for GGUF without safetensors, and vllm for all other files."""
    kinds = {kind_of(file.path) for file in files}
    return "llamacpp" if Kind.GGUF in kinds and Kind.SAFETENSORS not in kinds else "vllm"


def choose_for_vllm(files: Sequence[File], texts: Mapping[str, str]) -> EngineChoice:
    """Take one copy of the weights in transformers' layout, and every text.

    The first copy in the top folder counts. Of each subfolder the safetensors are taken. They must
    be complete if the subfolder is a part of the model (a component of diffusers, a module of
    sentence-transformers) or if the top folder has no weights. Subfolders that repeat the model for
    other programs (`original`, `onnx`, …) are left out.

    Args:
        files: The files of the repository.
        texts: Path → text of each index of weights.
    """
    folders: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if not is_copy(file.path):
            folders[os.path.dirname(file.path)].append(file)
    by_folder = {folder: first_copy(members, texts) for folder, members in folders.items()}
    top = by_folder.pop("", FolderWeights(problem=first_copy((), {}).problem, no_weights=True))
    subfolders = [
        weights if _is_component(folder, folders[""]) or top.no_weights else _safe_part(weights)
        for folder, weights in by_folder.items()
    ]
    every_folder = (top, *subfolders)
    text_paths = {f.path for members in folders.values() for f in members if _is_text(f.path)}
    weight_paths = top.paths.union(*(weights.paths for weights in subfolders))
    problems = [w.problem for w in every_folder if w.problem and not w.no_weights]
    if not weight_paths and not problems and top.problem:
        problems = [top.problem]
    return EngineChoice(
        weight_paths | text_paths,
        {path: reason for w in every_folder for path, reason in w.reasons.items()},
        problems[0] if problems else None,
        no_weights=all(w.no_weights for w in every_folder),
    )


def choose_for_llamacpp(files: Sequence[File], include: Sequence[str]) -> EngineChoice:
    """Take one quantisation, its projector, and the legal texts.

    Args:
        files: The files of the repository.
        include: Globs that name the quantisation or the projector.

    Raises:
        UsageError: There are several quantisations, and `include` does not name one of them.
        NotFoundError: There is no quantisation, or it is not complete.
    """
    model = choose_quantisation(files, include)
    projector = choose_projector(files, model, include)
    gguf_files = [*model.files, *([projector] if projector else [])]
    paths = {file.path for file in gguf_files} | {f.path for f in files if is_legal(f.path)}
    reasons = {f.path: OTHER_QUANTISATIONS for f in files if kind_of(f.path) is Kind.GGUF}
    other_kinds = (Kind.SAFETENSORS, Kind.OTHER_WEIGHTS, Kind.INDEX)
    reasons |= {f.path: OTHER_ENGINES for f in files if kind_of(f.path) in other_kinds}
    reasons |= {f.path: OTHER_ENGINES for f in files if is_pickled_weights(f.path)}
    return EngineChoice(frozenset(paths), reasons)


def choose_all_files(
    files: Sequence[File], default: EngineChoice, *, allow_unsafe: bool
) -> EngineChoice:
    """Take all files that policy allows, and those that the engine needs in any case."""
    allowed = {f.path for f in files if allow_unsafe or not is_refused(f.path)}
    problem = None if default.no_weights else default.problem
    return EngineChoice(default.paths | allowed, {}, problem)


def reason_for_kind(path: str) -> str:
    """Say why a file is left out, judged by its kind alone."""
    kind = kind_of(path)
    if kind is Kind.CODE:
        return CODE
    is_weights = kind in (Kind.SAFETENSORS, Kind.GGUF, Kind.OTHER_WEIGHTS, Kind.INDEX)
    if is_weights or (is_copy(path) and is_pickled_weights(path)):
        return SECOND_COPY
    return PICKLES if kind is Kind.PICKLE else NOT_NEEDED


def _safe_part(weights: FolderWeights) -> FolderWeights:
    """Reduce the weights of a subfolder that the model does not need to those that are safe."""
    safe = frozenset(path for path in weights.paths if not is_refused(path))
    if any(is_refused(path) for path in weights.paths):
        safe = frozenset(path for path in safe if kind_of(path) is Kind.SAFETENSORS)
    return FolderWeights(safe, weights.reasons)


def _is_component(folder: str, top: Sequence[File]) -> bool:
    names = {file.path for file in top}
    if "model_index.json" in names:
        return True
    return "modules.json" in names and bool(_MODULE_FOLDER.fullmatch(folder.partition("/")[0]))


def _is_text(path: str) -> bool:
    return kind_of(path) is Kind.TEXT

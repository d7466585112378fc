"""What each engine takes from a repository by default, before any option narrows it. Pure."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from modelshelf.select.file_kinds import (
    Kind,
    is_copy,
    is_legal,
    is_pickled_weights,
    is_refused,
    is_trainer_state,
    kind_of,
)
from modelshelf.select.quantisations import (
    choose_projector,
    choose_quantisation,
    is_drafter,
    is_raw_piece,
)
from modelshelf.select.weights import (
    ADAPTER,
    ADAPTER_CONFIG,
    SECOND_COPY,
    FolderWeights,
    first_copy,
)
from modelshelf.shelf.errors import Error
from modelshelf.shelf.values import File

ENGINES = ("vllm", "llamacpp")
PICKLES = "pickles that nothing chosen needs"
CODE = "code that nothing chosen needs"
NOT_NEEDED = "not needed to serve"
OTHER_QUANTISATIONS = "other quantisations"
OTHER_ENGINES = "weights for other engines"
DRAFTERS = "drafters for speculative decoding"
RAW_PIECES = "pieces of GGUF files that must be joined first"
TRAINING = "checkpoints of the training"
_PARAMS = "params.json"  # the configuration of Mistral's own layout
_PARAMS_ALONE = "the configuration of a second copy of the weights"
PIPELINE = "model_index.json"  # the list of the components of a diffusers pipeline
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


def choose_for_vllm(
    files: Sequence[File], texts: Mapping[str, str], *, allow_unsafe: bool = False
) -> EngineChoice:
    """Take one copy of the weights in transformers' layout, and every text.

    The first copy in the top folder counts. Of each subfolder the safetensors are taken. They must
    be complete if the subfolder is a part of the model (a component of diffusers, a module of
    sentence-transformers) or if the top folder has no weights. Left out are subfolders that repeat
    the model: for other programs (`original`, `onnx`, …), as a checkpoint of its training, or as a
    model of the same architecture.

    Args:
        files: The files of the repository.
        texts: Path → text of each index of weights and of each configuration.
        allow_unsafe: Take small pickles beside the weights, too, which the model's code may read.
    """
    checkpoints = _checkpoint_folders(files, texts)
    folders: dict[str, list[File]] = defaultdict(list)
    for file in files:
        folder = os.path.dirname(file.path)
        if not is_copy(file.path) and not _is_below(folder, checkpoints):
            folders[folder].append(file)
    layout = _Layout(folders, texts)
    by_folder = {folder: first_copy(members, texts) for folder, members in folders.items()}
    top = by_folder.pop("", FolderWeights(problem=first_copy((), {}).problem, no_weights=True))
    if layout.is_pipeline:
        # Weights at the top are the whole pipeline once more, as one file for other programs.
        top = FolderWeights(problem=top.problem, no_weights=True)
    subfolders = [
        weights if layout.requires(folder) or top.no_weights else _safe_part(weights)
        for folder, weights in by_folder.items()
        if layout.may_need(folder)
    ]
    every_folder = (top, *subfolders)
    weight_paths = top.paths.union(*(weights.paths for weights in subfolders))
    side_pickles = top.side_pickles.union(*(weights.side_pickles for weights in subfolders))
    reasons = {path: reason for w in every_folder for path, reason in w.reasons.items()}
    reasons |= {path: _reason_for_side_pickle(path) for path in side_pickles}
    reasons |= _reasons_for_checkpoints(files, checkpoints)
    unfit_texts = _unfit_texts(folders, weight_paths, by_folder | {"": top})
    text_paths = {f.path for members in folders.values() for f in members if _is_text(f.path)}
    if allow_unsafe:
        weight_paths |= side_pickles
    problems = [w.problem for w in every_folder if w.problem and not w.no_weights]
    if not weight_paths and not problems and top.problem:
        problems = [top.problem]
    return EngineChoice(
        weight_paths | (text_paths - unfit_texts.keys()),
        reasons | unfit_texts,
        problems[0] if problems else None,
        no_weights=all(w.no_weights for w in every_folder),
    )


class _Layout:
    """Which folders of a repository are parts of one model.

    Args:
        folders: Folder → its files, without the folders that repeat the model.
        texts: Path → text of each configuration.

    Attributes:
        is_pipeline: Whether it is a diffusers pipeline, which has no weights at its top.
    """

    def __init__(self, folders: Mapping[str, Sequence[File]], texts: Mapping[str, str]) -> None:
        names = {file.path for file in folders.get("", ())}
        self.is_pipeline = PIPELINE in names
        self._has_modules = "modules.json" in names
        # Each component is `NAME: [LIBRARY, CLASS]`. Other entries are settings of the pipeline.
        entries = _read_object(texts.get(PIPELINE, ""))
        self._components = {
            name for name, value in entries.items() if isinstance(value, list) and value
        }

    def may_need(self, folder: str) -> bool:
        """Whether a subfolder may be a part of the model at all."""
        if not self.is_pipeline or not self._components:
            return True
        return folder.partition("/")[0] in self._components

    def requires(self, folder: str) -> bool:
        """Whether the model cannot be served without the weights in a subfolder."""
        if self.is_pipeline:
            return True
        is_module = _MODULE_FOLDER.fullmatch(folder.partition("/")[0])
        return self._has_modules and bool(is_module)


def _checkpoint_folders(files: Sequence[File], texts: Mapping[str, str]) -> frozenset[str]:
    """Find the subfolders that hold an earlier or another state of the model at the top.

    Such a folder has files that only a trainer writes, or its configuration names the architecture
    that the configuration at the top names, too.
    """
    architectures = _architectures(texts.get("config.json", ""))
    found = set()
    for file in files:
        folder, name = os.path.split(file.path)
        if not folder:
            continue
        repeats = name == "config.json" and architectures == _architectures(
            texts.get(file.path, "")
        )
        if is_trainer_state(file.path) or (repeats and architectures):
            found.add(folder)
    return frozenset(found)


def _architectures(text: str) -> list[str]:
    value = _read_object(text).get("architectures")
    return [str(name) for name in value] if isinstance(value, list) else []


def _read_object(text: str) -> dict[str, Any]:
    """The JSON object in a text; empty if it holds none. `auto_map` refuses what is damaged."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_below(folder: str, parents: frozenset[str]) -> bool:
    return any(folder == parent or folder.startswith(f"{parent}/") for parent in parents)


def _reasons_for_checkpoints(files: Sequence[File], folders: frozenset[str]) -> dict[str, str]:
    return {f.path: TRAINING for f in files if _is_below(os.path.dirname(f.path), folders)}


def _unfit_texts(
    folders: Mapping[str, Sequence[File]],
    weight_paths: frozenset[str],
    weights: Mapping[str, FolderWeights],
) -> dict[str, str]:
    """Find configurations whose weights are not taken, and why they are left out.

    vLLM takes a folder with a `params.json` for one in Mistral's own layout, and transformers takes
    one with an `adapter_config.json` for an adapter.
    """
    unfit = {}
    for folder, members in folders.items():
        paths = {file.path for file in members}
        params, adapter = (os.path.join(folder, name) for name in (_PARAMS, ADAPTER_CONFIG))
        taken = weights[folder].paths & weight_paths
        if params in paths and taken and not weights[folder].is_consolidated:
            unfit[params] = _PARAMS_ALONE
        if adapter in paths and taken and ADAPTER in weights[folder].reasons.values():
            unfit[adapter] = ADAPTER
    return unfit


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
    gguf = [file.path for file in files if kind_of(file.path) is Kind.GGUF]
    reasons = {path: DRAFTERS if is_drafter(path) else OTHER_QUANTISATIONS for path in gguf}
    reasons |= {f.path: RAW_PIECES for f in files if is_raw_piece(f.path)}
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
    if is_trainer_state(path):
        return TRAINING
    is_weights = kind in (Kind.SAFETENSORS, Kind.GGUF, Kind.OTHER_WEIGHTS, Kind.INDEX)
    if is_weights or (is_copy(path) and is_pickled_weights(path)):
        return SECOND_COPY
    return PICKLES if kind is Kind.PICKLE else NOT_NEEDED


def _reason_for_side_pickle(path: str) -> str:
    return f"{path}, a pickle that the model's code may read: --allow-unsafe takes it"


def _safe_part(weights: FolderWeights) -> FolderWeights:
    """Reduce the weights of a subfolder that the model does not need to those that are safe."""
    safe = frozenset(path for path in weights.paths if not is_refused(path))
    if any(is_refused(path) for path in weights.paths):
        safe = frozenset(path for path in safe if kind_of(path) is Kind.SAFETENSORS)
    return dataclasses.replace(weights, paths=safe, problem=None)


def _is_text(path: str) -> bool:
    return kind_of(path) is Kind.TEXT and not is_trainer_state(path)

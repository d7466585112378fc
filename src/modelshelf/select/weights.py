"""Finding the first copy of the weights in a folder, and whether that copy is complete. Pure.

A set of weights is a single file, or numbered parts (`model-00001-of-00003.safetensors`) and an
index. transformers writes the index: `{"weight_map": {tensor: part}}`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from modelshelf.select.file_kinds import Kind, is_pickled_weights, kind_of, weights_of_index
from modelshelf.shelf.errors import Error, IntegrityError, NotFoundError, RefusedError
from modelshelf.shelf.values import File

SECOND_COPY = "a second copy of the weights"
INCOMPLETE = "weights that are not complete"
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<end>\.\w+)")
# Sets with these names are the model itself. Other sets belong to it, such as an adapter.
_MODEL_STEMS = ("model", "diffusion_pytorch_model")
# pytorch_model.bin is the older name and format of model.safetensors.
_NEW_STEMS = {"pytorch_model": "model"}


@dataclasses.dataclass(frozen=True, slots=True)
class WeightSet:
    """The files of one set of weights.

    Attributes:
        name: `model.safetensors`, also if the set consists of parts.
        paths: The files of the set that the folder has, including the index.
        proven: Whether the set is known to be complete: its index says so, or it is one file.
        missing: A file that the set lacks; empty if it is not known to lack any.
    """

    name: str
    paths: frozenset[str]
    proven: bool
    missing: str = ""

    @property
    def stem(self) -> str:
        """The name up to its first dot: `model`, also for `model.fp16.safetensors`."""
        return os.path.basename(self.name).split(".")[0]

    @property
    def is_consolidated(self) -> bool:
        """Whether the set is in Mistral's own layout, which vLLM also reads."""
        return self.stem.startswith("consolidated")

    @property
    def is_pickled(self) -> bool:
        """Whether reading the set may run code."""
        return kind_of(self.name) is Kind.PICKLE


@dataclasses.dataclass(frozen=True, slots=True)
class FolderWeights:
    """The weights to take from one folder.

    Attributes:
        paths: The files of the first copy. They are pickles if nothing else is complete.
        reasons: Path → why the file is not taken, for every other file of weights.
        problem: Why there is no first copy; None if there is one.
        no_weights: Whether the folder has no weights at all, so that `problem` may not matter.
    """

    paths: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    problem: Error | None = None
    no_weights: bool = False


def first_copy(files: Iterable[File], texts: Mapping[str, str]) -> FolderWeights:
    """Choose one copy of the weights in one folder.

    The copies are tried in this order:

    1. safetensors in transformers' layout that are proven to be complete;
    2. Mistral's layout (`consolidated*.safetensors` and `params.json`), proven to be complete;
    3. pickles that none of the above replaces;
    4. safetensors that have all their numbered parts but no index.

    Args:
        files: The files of one folder.
        texts: Path → text of each index among the files.

    Raises:
        IntegrityError: A file that is named as an index is not an index.
        RefusedError: An index names a file outside its folder.
    """
    paths = {file.path for file in files}
    all_sets = weight_sets(paths, texts)
    sets = [s for s in all_sets if not s.missing]
    incomplete = [s for s in all_sets if s.missing]
    native = [s for s in sets if not s.is_pickled and not s.is_consolidated]
    mistral = [s for s in sets if not s.is_pickled and s.is_consolidated and s.proven]
    pickled = [s for s in sets if s.is_pickled]
    if any(s.proven and s.stem in _MODEL_STEMS for s in native):
        first = native
    elif mistral and any(os.path.basename(p) == "params.json" for p in paths):
        first = mistral
    else:
        covered = {s.stem for s in native if s.proven}
        needed = [s for s in pickled if _NEW_STEMS.get(s.stem, s.stem) not in covered]
        stems = {_NEW_STEMS.get(s.stem, s.stem) for s in needed}
        first = [s for s in native if s.proven or s.stem not in stems] + needed
    if not first or (incomplete and not _has_model(first)):
        return FolderWeights(
            reasons=_reasons(paths, frozenset(), incomplete),
            problem=_problem(paths, incomplete),
            no_weights=not all_sets,
        )
    chosen_paths = frozenset().union(*(s.paths for s in first))
    return FolderWeights(chosen_paths, _reasons(paths, chosen_paths, incomplete))


def _has_model(sets: list[WeightSet]) -> bool:
    """Whether some sets include the model itself, so that another, incomplete set is optional."""
    return any(_NEW_STEMS.get(s.stem, s.stem) in (*_MODEL_STEMS, "consolidated") for s in sets)


def weight_sets(paths: set[str], texts: Mapping[str, str]) -> list[WeightSet]:
    """Find the sets of weights among the files of one folder.

    If there are a set with an index and one without, and both have the same name, the set with the
    index counts.

    Args:
        paths: The files of one folder.
        texts: Path → text of each index among them.
    """
    sets: dict[str, WeightSet] = {}
    indexed: set[str] = set()
    for index in sorted(p for p in paths if kind_of(p) is Kind.INDEX):
        indexed_set = _set_of_index(index, paths, texts)
        indexed |= indexed_set.paths
        if indexed_set.name not in sets or sets[indexed_set.name].missing:
            sets[indexed_set.name] = indexed_set
    numbered: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths - indexed):
        if kind_of(path) is not Kind.SAFETENSORS and not is_pickled_weights(path):
            continue
        part = _PART.fullmatch(path)
        if part:
            numbered[f"{part['stem']}{part['end']}"].append(path)
        elif path not in sets or sets[path].missing:
            sets[path] = WeightSet(path, frozenset({path}), proven=True)
    for name, parts in numbered.items():
        sets.setdefault(name, _set_without_index(name, parts))
    return list(sets.values())


def _set_of_index(index: str, paths: set[str], texts: Mapping[str, str]) -> WeightSet:
    folder = os.path.dirname(index)
    parts = {os.path.join(folder, part) for part in _parts_in_index(index, texts)}
    name = os.path.join(folder, weights_of_index(index))
    missing = min(parts - paths, default="")
    return WeightSet(name, frozenset((parts & paths) | {index}), not missing, missing)


def _parts_in_index(index: str, texts: Mapping[str, str]) -> set[str]:
    try:
        parts = set(json.loads(texts[index])["weight_map"].values())
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        parts = set()
    if not parts or not all(isinstance(part, str) and part for part in parts):
        raise IntegrityError(f"{index} is not an index of weights: it has no weight_map of names")
    for part in sorted(parts):
        if "/" in part or "\\" in part or part in (".", ".."):
            raise RefusedError(
                f"{index} names {part!r}, which is not in the folder of the index",
                hint="do not trust this source",
            )
    return parts


def _set_without_index(name: str, parts: list[str]) -> WeightSet:
    """Make a set of numbered parts. Only an index could prove that the set is complete."""
    missing = missing_part(parts)
    return WeightSet(name, frozenset(parts), proven=False, missing=missing)


def missing_part(parts: Iterable[str]) -> str:
    """Return the first part that some numbered files lack; empty if they lack none."""
    present = set(parts)
    for path in sorted(present):
        match = _PART.fullmatch(path)
        if match is None:
            continue
        for number in range(1, int(match["total"]) + 1):
            part = f"{match['stem']}-{number:05}-of-{match['total']}{match['end']}"
            if part not in present:
                return part
    return ""


def _reasons(
    paths: set[str], chosen_paths: frozenset[str], incomplete: list[WeightSet]
) -> dict[str, str]:
    incomplete_paths = frozenset().union(*(s.paths for s in incomplete))
    kinds = (Kind.SAFETENSORS, Kind.GGUF, Kind.OTHER_WEIGHTS, Kind.INDEX)
    return {
        path: INCOMPLETE if path in incomplete_paths else SECOND_COPY
        for path in paths - chosen_paths
        if kind_of(path) in kinds or is_pickled_weights(path)
    }


def _problem(paths: set[str], incomplete: list[WeightSet]) -> Error:
    if incomplete:
        first = incomplete[0]
        return NotFoundError(
            f"the weights {first.name} are not complete: {first.missing} is missing",
            hint="the upload to the repository may not have finished; ask its owner, or name a "
            "revision that is complete",
        )
    endings = sorted({os.path.splitext(p)[1] for p in paths if kind_of(p) is Kind.OTHER_WEIGHTS})
    has_gguf = any(kind_of(p) is Kind.GGUF for p in paths)
    return NotFoundError(
        "there are no weights here that vLLM reads"
        + (f", only {', '.join(endings)}" if endings else ""),
        hint="--for llamacpp takes the GGUF file"
        if has_gguf
        else "--all-files takes the files that there are",
    )

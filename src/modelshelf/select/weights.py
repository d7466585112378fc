"""Which weights of a folder are its first copy, and whether that copy is whole. Pure.

A set of weights is one file, or numbered parts (`model-00001-of-00003.safetensors`) with an index
beside them: `{"weight_map": {tensor: part}}`, as transformers writes it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from modelshelf.select.kinds import Kind, is_pickled_weights, kind_of, weights_of_index
from modelshelf.shelf.errors import Error, IntegrityError, NotFoundError, RefusedError
from modelshelf.shelf.values import File

SECOND_COPY = "a second copy of the weights"
INCOMPLETE = "weights that are not complete"
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<end>\.\w+)")
# Sets of these names are the model; others lie beside one (an adapter, a head).
_MAIN = ("model", "diffusion_pytorch_model")
# pytorch_model.bin is model.safetensors as it was before.
_RENAMED = {"pytorch_model": "model"}


@dataclasses.dataclass(frozen=True, slots=True)
class WeightSet:
    """Files that are one set of weights together.

    Attributes:
        name: `model.safetensors`, for the parts of one also.
        paths: The files that the folder has of it, indexes included.
        proven: It is whole by its index, or is a single file.
        missing: A file that it lacks; empty if none is known to be.
    """

    name: str
    paths: frozenset[str]
    proven: bool
    missing: str = ""

    @property
    def stem(self) -> str:
        """`model`, for `model.fp16.safetensors` also."""
        return os.path.basename(self.name).split(".")[0]

    @property
    def is_consolidated(self) -> bool:
        """Whether it is in Mistral's own layout, which vLLM reads by itself."""
        return self.stem.startswith("consolidated")

    @property
    def is_pickled(self) -> bool:
        """Whether reading it may run code."""
        return kind_of(self.name) is Kind.PICKLE


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """The weights of one folder.

    Attributes:
        paths: Of the first copy; may be pickles, where nothing else is whole.
        left: Path → why it is left out, for every other file of weights.
        problem: Why there is no first copy; None if there is one.
        empty: The folder has no weights at all, so its lack of a first copy means little.
    """

    paths: frozenset[str] = frozenset()
    left: Mapping[str, str] = dataclasses.field(default_factory=dict)
    problem: Error | None = None
    empty: bool = False


def first_copy(files: Iterable[File], texts: Mapping[str, str]) -> Chosen:
    """Choose one copy of the weights in one folder.

    The order: safetensors in transformers' layout, proven whole; Mistral's layout
    (`consolidated*.safetensors` with a `params.json`), proven whole; pickles, where nothing of
    the above covers them; safetensors that have all their numbered parts but no index.

    Args:
        files: The files of one folder.
        texts: The text of each index among them.

    Raises:
        IntegrityError: An index is no index.
        RefusedError: An index names a file outside its folder.
    """
    paths = {file.path for file in files}
    found = weight_sets(paths, texts)
    sets, broken = [s for s in found if not s.missing], [s for s in found if s.missing]
    native = [s for s in sets if not s.is_pickled and not s.is_consolidated]
    mistral = [s for s in sets if not s.is_pickled and s.is_consolidated and s.proven]
    pickled = [s for s in sets if s.is_pickled]
    if any(s.proven and s.stem in _MAIN for s in native):
        first = native
    elif mistral and any(os.path.basename(p) == "params.json" for p in paths):
        first = mistral
    else:
        covered = {s.stem for s in native if s.proven}
        needed = [s for s in pickled if _RENAMED.get(s.stem, s.stem) not in covered]
        stems = {_RENAMED.get(s.stem, s.stem) for s in needed}
        first = [s for s in native if s.proven or s.stem not in stems] + needed
    if not first or (broken and not _has_main(first)):
        left = _left(paths, frozenset(), broken)
        return Chosen(left=left, problem=_problem(paths, broken), empty=not found)
    taken = frozenset().union(*(s.paths for s in first))
    return Chosen(taken, _left(paths, taken, broken))


def _has_main(sets: list[WeightSet]) -> bool:
    """Whether these are the model itself, so that it stands although another set is not whole."""
    return any(_RENAMED.get(s.stem, s.stem) in (*_MAIN, "consolidated") for s in sets)


def weight_sets(paths: set[str], texts: Mapping[str, str]) -> list[WeightSet]:
    """The sets of weights among the files of one folder; where two have one name, the indexed."""
    sets: dict[str, WeightSet] = {}
    indexed: set[str] = set()
    for index in sorted(p for p in paths if kind_of(p) is Kind.INDEX):
        found = _indexed(index, paths, texts)
        indexed |= found.paths
        if found.name not in sets or sets[found.name].missing:
            sets[found.name] = found
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
        sets.setdefault(name, _counted(name, parts))
    return list(sets.values())


def _indexed(index: str, paths: set[str], texts: Mapping[str, str]) -> WeightSet:
    folder = os.path.dirname(index)
    parts = {os.path.join(folder, part) for part in _parts_named(index, texts)}
    name = os.path.join(folder, weights_of_index(index))
    missing = min(parts - paths, default="")
    return WeightSet(name, frozenset((parts & paths) | {index}), not missing, missing)


def _parts_named(index: str, texts: Mapping[str, str]) -> set[str]:
    try:
        named = set(json.loads(texts[index])["weight_map"].values())
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        named = set()
    if not named or not all(isinstance(part, str) and part for part in named):
        raise IntegrityError(f"{index} is not an index of weights: it has no weight_map of names")
    for part in sorted(named):
        if "/" in part or "\\" in part or part in (".", ".."):
            raise RefusedError(
                f"{index} names {part!r}, which does not lie beside it",
                hint="do not trust this source",
            )
    return named


def _counted(name: str, parts: list[str]) -> WeightSet:
    """Numbered parts without an index: all there by number, perhaps, but not proven to be."""
    missing = missing_part(parts)
    return WeightSet(name, frozenset(parts), proven=False, missing=missing)


def missing_part(parts: Iterable[str]) -> str:
    """The first part that numbered files of one set lack; empty if they lack none."""
    present = set(parts)
    for path in sorted(present):
        match = _PART.fullmatch(path)
        if match is None:
            continue
        for number in range(1, int(match["total"]) + 1):
            wanted = f"{match['stem']}-{number:05}-of-{match['total']}{match['end']}"
            if wanted not in present:
                return wanted
    return ""


def _left(paths: set[str], taken: frozenset[str], broken: list[WeightSet]) -> dict[str, str]:
    partial = frozenset().union(*(s.paths for s in broken))
    kinds = (Kind.SAFETENSORS, Kind.GGUF, Kind.OTHER_WEIGHTS, Kind.INDEX)
    return {
        path: INCOMPLETE if path in partial else SECOND_COPY
        for path in paths - taken
        if kind_of(path) in kinds or is_pickled_weights(path)
    }


def _problem(paths: set[str], broken: list[WeightSet]) -> Error:
    for found in broken:
        return NotFoundError(
            f"the weights {found.name} are not complete: {found.missing} is missing",
            hint="the repository may still be being filled; ask its owner, or name a revision "
            "that is whole",
        )
    has = sorted({os.path.splitext(p)[1] for p in paths if kind_of(p) is Kind.OTHER_WEIGHTS})
    gguf = any(kind_of(p) is Kind.GGUF for p in paths)
    return NotFoundError(
        "there are no weights here that vLLM reads" + (f", only {', '.join(has)}" if has else ""),
        hint="--for llamacpp takes the GGUF file"
        if gguf
        else "--all-files takes what there is all the same",
    )

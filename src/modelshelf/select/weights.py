"""Finding the first copy of the weights in a folder, and whether that copy is complete. Pure.

A set of weights is a single file, or numbered parts (`model-00001-of-00003.safetensors`) and an
index. transformers writes the index: `{"weight_map": {tensor: part}}`. vLLM reads every
`*.safetensors` in the top folder. If there is a `model.safetensors.index.json`, it reads only the
files that the index names, and fails if one of those is missing: see
`filter_duplicate_safetensors_files` in its weight_utils.py. So a stale index is as harmful as a
second copy.

A variant is another copy of the same weights, such as `model.fp16.safetensors`. transformers and
diffusers read one only where `variant=` asks for it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from modelshelf.select.file_kinds import Kind, is_pickled_weights, kind_of, weights_of_index
from modelshelf.shelf.errors import (
    Error,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from modelshelf.shelf.values import File

SECOND_COPY = "a second copy of the weights"
INCOMPLETE = "weights that are not complete"
STALE_INDEX = "indexes of files that are not there"
VARIANT = "variants of the weights that were not asked for"
ADAPTER = "adapters beside the whole model"
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<total>\d+)(?P<end>(\.[\w-]+)?\.\w+)")
# Sets with these names are the model itself. Other sets belong to it, such as an adapter.
_MODEL_STEMS = ("model", "diffusion_pytorch_model")
_ADAPTER_STEM = "adapter_model"
ADAPTER_CONFIG = "adapter_config.json"
_VARIANT = re.compile(
    r"(model|pytorch_model|diffusion_pytorch_model|adapter_model)"
    r"\.(?P<variant>[\w-]*[A-Za-z][\w-]*)\.(safetensors|bin)"
)
# A pickle that takes less than this share of the weights is no copy of them.
_MAX_SIDE_SHARE = 0.1
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
    def safe_stem(self) -> str:
        """The stem that the set has, or would have, as safetensors."""
        return _NEW_STEMS.get(self.stem, self.stem)

    @property
    def variant(self) -> str:
        """The name of the variant, such as `fp16`; empty for the main weights."""
        match = _VARIANT.fullmatch(os.path.basename(self.name))
        return match["variant"] if match else ""

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
        side_pickles: Small pickles beside the weights, which are no copy of them. Code of the model
            may read them. An example is `spk_dict.pt`, the voices of a model that speaks.
        is_consolidated: Whether the first copy is in Mistral's own layout.
    """

    paths: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    problem: Error | None = None
    no_weights: bool = False
    side_pickles: frozenset[str] = frozenset()
    is_consolidated: bool = False


def first_copy(files: Iterable[File], texts: Mapping[str, str]) -> FolderWeights:
    """Choose one copy of the weights in one folder.

    The copies are tried in this order:

    1. safetensors in transformers' layout that are proven to be complete;
    2. Mistral's layout (`consolidated*.safetensors` and `params.json`), proven to be complete;
    3. pickles that none of the above replaces;
    4. safetensors that have all their numbered parts but no index.

    A variant is tried only if there are no main weights.

    Args:
        files: The files of one folder.
        texts: Path → text of each index among the files.

    Raises:
        IntegrityError: A file that is named as an index is not an index.
        RefusedError: An index names a file outside its folder.
    """
    sizes = {file.path: file.size for file in files}
    paths = set(sizes)
    all_sets = weight_sets(paths, texts)
    candidates = _without_variants(all_sets)
    if isinstance(candidates, Error):
        return FolderWeights(reasons=_reasons(paths, all_sets), problem=candidates)
    incomplete = [s for s in candidates if s.missing]
    first = _without_adapter(_first_sets([s for s in candidates if not s.missing], paths))
    if not first or (incomplete and not _has_model(first)):
        return FolderWeights(
            reasons=_reasons(paths, all_sets),
            problem=_problem(paths, incomplete),
            no_weights=not all_sets,
        )
    chosen = frozenset().union(*(s.paths for s in first))
    limit = _MAX_SIDE_SHARE * sum(sizes[path] for path in chosen)
    side = frozenset(
        s.name for s in candidates if _is_side_pickle(s, first) and sizes.get(s.name, limit) < limit
    )
    return FolderWeights(
        chosen,
        _reasons(paths, all_sets, chosen),
        side_pickles=side - chosen,
        is_consolidated=any(s.is_consolidated for s in first),
    )


def _first_sets(sets: list[WeightSet], paths: set[str]) -> list[WeightSet]:
    """Choose among complete sets, in the order that `first_copy` documents."""
    native = [s for s in sets if not s.is_pickled and not s.is_consolidated]
    mistral = [s for s in sets if not s.is_pickled and s.is_consolidated and s.proven]
    if any(s.proven and s.stem in _MODEL_STEMS for s in native):
        return native
    if mistral and any(os.path.basename(p) == "params.json" for p in paths):
        return mistral
    covered = {s.stem for s in native if s.proven}
    needed = [s for s in sets if s.is_pickled and s.safe_stem not in covered]
    stems = {s.safe_stem for s in needed}
    return [s for s in native if s.proven or s.stem not in stems] + needed


def _without_variants(sets: list[WeightSet]) -> list[WeightSet] | Error:
    """Leave out the variants of weights whose main files are there.

    Returns:
        The other sets; an error if there are several variants and no main files.
    """
    main_stems = {s.safe_stem for s in sets if not s.variant}
    remaining = [s for s in sets if not s.variant or s.safe_stem not in main_stems]
    names = {s.variant: s.name for s in remaining if s.variant}
    if len(names) > 1:
        choices = ", ".join(sorted(names.values()))
        return UsageError(
            f"there are {len(names)} variants of the weights, and none is the main one: {choices}",
            hint="leave out all but one with --exclude",
        )
    return remaining


def _without_adapter(sets: list[WeightSet]) -> list[WeightSet]:
    """Leave out an adapter beside a whole model.

    The adapter was merged into the model, or is optional. vLLM would read its file as a part of the
    model's weights, and fail.
    """
    if not _has_model(sets):
        return sets
    return [s for s in sets if s.stem != _ADAPTER_STEM]


def _is_side_pickle(weights: WeightSet, first: list[WeightSet]) -> bool:
    stems = {s.safe_stem for s in first}
    is_model = weights.safe_stem in _MODEL_STEMS or weights.is_consolidated
    return weights.is_pickled and not is_model and weights.safe_stem not in stems


def _has_model(sets: list[WeightSet]) -> bool:
    """Whether some sets include the model itself, so that another, incomplete set is optional."""
    return any(s.safe_stem in _MODEL_STEMS or s.is_consolidated for s in sets)


def weight_sets(paths: set[str], texts: Mapping[str, str]) -> list[WeightSet]:
    """Find the sets of weights among the files of one folder.

    Of several sets with the same name, the first of these counts: one with an index that names only
    files that are there, a single file, numbered parts that are all there, any other.

    Args:
        paths: The files of one folder.
        texts: Path → text of each index among them.
    """
    sets: dict[str, WeightSet] = {}
    indexed: set[str] = set()
    for index in sorted(p for p in paths if kind_of(p) is Kind.INDEX):
        indexed_set = _set_of_index(index, paths, texts)
        indexed |= set() if indexed_set.missing else indexed_set.paths
        if indexed_set.name not in sets or sets[indexed_set.name].missing:
            sets[indexed_set.name] = indexed_set
    numbered: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(paths - indexed):
        if kind_of(path) is not Kind.SAFETENSORS and not is_pickled_weights(path):
            continue
        part = _PART.fullmatch(path)
        if part:
            numbered[f"{part['stem']}{part['end']}", part["total"]].append(path)
        elif path not in sets or sets[path].missing:
            sets[path] = WeightSet(path, frozenset({path}), proven=True)
    for (name, _), parts in numbered.items():
        numbered_set = _set_without_index(name, parts)
        if name not in sets or (sets[name].missing and not numbered_set.missing):
            sets[name] = numbered_set
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
    """Return the first part that some numbered files lack; empty if they lack none.

    Most parts are numbered from 1. Some repositories number them from 0, up to the total or to one
    less. So the last number may be missing if there is a part 0.
    """
    present: dict[tuple[str, str, str], dict[int, str]] = defaultdict(dict)
    for path in sorted(parts):
        match = _PART.fullmatch(path)
        if match:
            group = (match["stem"], match["total"], match["end"])
            present[group][int(match["number"])] = match["number"]
    for (stem, total, end), numbers in present.items():
        width = min(map(len, numbers.values()))
        for number in range(1, int(total) + (0 not in numbers)):
            if number not in numbers:
                return f"{stem}-{number:0{width}}-of-{total}{end}"
    return ""


def _reasons(
    paths: set[str], sets: list[WeightSet], chosen: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Say why files of weights in a folder are not taken.

    Args:
        paths: All files of the folder.
        sets: The sets of weights among them.
        chosen: The files that are taken.
    """
    beside_model = _has_model([s for s in sets if s.paths <= chosen])
    found: dict[str, str] = {}
    for weights in sets:
        if weights.missing:
            found |= dict.fromkeys(weights.paths, INCOMPLETE)
        elif weights.variant:
            found |= dict.fromkeys(weights.paths, VARIANT)
        elif weights.stem == _ADAPTER_STEM and beside_model:
            found |= dict.fromkeys(weights.paths, ADAPTER)
    in_sets = frozenset().union(*(s.paths for s in sets))
    found |= {p: STALE_INDEX for p in paths - in_sets if kind_of(p) is Kind.INDEX}
    kinds = (Kind.SAFETENSORS, Kind.GGUF, Kind.OTHER_WEIGHTS, Kind.INDEX)
    return {
        path: found.get(path, SECOND_COPY)
        for path in paths - chosen
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

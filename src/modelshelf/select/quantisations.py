"""The GGUF files that llama.cpp needs: one quantisation with all its parts, and a projector. Pure.

`llama-gguf-split` names the parts of a model `NAME-00001-of-00003.gguf`. A projector turns images
or sound into tokens, and has `mmproj` in its name. A drafter is a small model that guesses tokens
for a large one (speculative decoding); its name begins or ends with `mtp`, `draft` or `eagle`.

Some people split a file by other programs, because the Hub limits the size of a file. llama.cpp
cannot read such a piece (`NAME.gguf.part1of2`, `NAME.gguf-split-a`).
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from modelshelf.select.file_kinds import Kind, kind_of
from modelshelf.select.weights import missing_part
from modelshelf.shelf.errors import NotFoundError, UsageError
from modelshelf.shelf.values import File

_PART_NUMBER = re.compile(r"-\d{5}-of-\d{5}$")
_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})\.gguf", re.IGNORECASE)
_LABEL = re.compile(r"((?:i?q|tq)\d\w*|mxfp4\w*|bf16|f16|fp16|f32)$", re.IGNORECASE)
# A glob that names a quantisation, unless it ends like a file of another kind.
_GLOB_LABEL = re.compile(r"(?<![a-z0-9])((i?q|tq)\d|mxfp4|b?f16|fp16|f32)", re.IGNORECASE)
_OTHER_ENDING = re.compile(r"\.(?!gguf$)[a-z]+$", re.IGNORECASE)
_DRAFTER = re.compile(r"(mtp|draft(er)?|eagle\d?)[-_.].+|.+[-_.](mtp|draft(er)?|eagle\d?)\.gguf")
_DRAFTER_FOLDERS = ("mtp", "draft", "drafter")
_RAW_PIECE = re.compile(
    r".+\.gguf[-._]?((split|part)[-._]?([a-z]{1,2}|\d+(-?of-?\d+)?)|a[a-z]|\d+)", re.IGNORECASE
)
_QUANTISED = re.compile(r"(^|[-._])(i?q|tq)\d_")
# The first of these is taken. More precision than f16 costs memory and does not help a projector.
_PROJECTOR_PRECISIONS = ("f16", "fp16", "bf16", "q8_0", "f32")


@dataclasses.dataclass(frozen=True, slots=True)
class Quantisation:
    """One GGUF model: a single file, or the sorted parts of a split file.

    Attributes:
        name: The path of the model without the ending and the number of the part.
        files: The files of the model.
        missing: The first part that the repository lacks; empty if it has all parts.
    """

    name: str
    files: tuple[File, ...]
    missing: str = ""

    @property
    def size(self) -> int:
        """The size of all its files in bytes."""
        return sum(file.size for file in self.files)


def find_quantisations(files: Iterable[File]) -> list[Quantisation]:
    """Find the GGUF models among some files, sorted by name.

    Projectors and importance matrices are not models. A drafter is one only if there is no other
    model. If there are a single file and parts of the same name, the single file counts.
    """
    models = [f for f in files if kind_of(f.path) is Kind.GGUF and _is_model(f.path)]
    models = [f for f in models if not is_drafter(f.path)] or models
    whole: dict[str, Quantisation] = {}
    parts: dict[tuple[str, str], list[File]] = defaultdict(list)
    for file in sorted(models, key=lambda f: f.path):
        part = _PART.fullmatch(file.path)
        if part:
            parts[part["stem"], part["total"]].append(file)
        else:
            name = os.path.splitext(file.path)[0]
            whole[name] = Quantisation(name, (file,))
    for (stem, _), members in parts.items():
        missing = missing_part(file.path for file in members)
        whole.setdefault(stem, Quantisation(stem, tuple(members), missing))
    return sorted(whole.values(), key=lambda q: q.name)


def choose_quantisation(files: Sequence[File], include: Sequence[str] = ()) -> Quantisation:
    """Choose the quantisation that the globs name, or the only one that there is.

    Args:
        files: The files of the repository.
        include: Globs. Those that match a quantisation choose among the quantisations.

    Raises:
        UsageError: There are several quantisations, and the globs match none or several of them.
        NotFoundError: There is no quantisation, one of its parts is missing, or a glob names one
            that is not there, or is there in raw pieces only.
    """
    available = find_quantisations(files)
    _refuse_unmatched_labels(files, available, include)
    matching = [q for q in available if any(matches(f.path, include) for f in q.files)] or available
    if not matching:
        has_safetensors = any(kind_of(file.path) is Kind.SAFETENSORS for file in files)
        raise NotFoundError(
            "there is no GGUF file here, and llama.cpp reads nothing else",
            hint="--for vllm takes the safetensors"
            if has_safetensors
            else "name a repository with GGUF files",
        )
    if len(matching) > 1:
        raise _ambiguous(matching)
    (quantisation,) = matching
    if quantisation.missing:
        raise NotFoundError(
            f"the quantisation {quantisation.name} is not complete: {quantisation.missing} is "
            "missing",
            hint="choose another one with --include, or ask the repository's owner",
        )
    return quantisation


def choose_projector(
    files: Iterable[File], model: Quantisation, include: Sequence[str] = ()
) -> File | None:
    """Choose the projector for a model; None if there is none.

    A projector in the folder of the model is preferred to one elsewhere, one that has the model's
    name to one that names no model, and f16 to other precisions. A projector that has the name of
    another model is not taken.

    Args:
        files: The files of the repository.
        model: The chosen quantisation.
        include: Globs. Those that match a projector choose among the projectors.
    """
    files = list(files)
    other_models = [q for q in find_quantisations(files) if not _share_name(q.name, model.name)]
    projectors = [
        f
        for f in sorted(files, key=lambda f: f.path)
        if _is_projector(f.path)
        and (
            _share_name(f.path, model.name)
            or not any(_share_name(f.path, other.name) for other in other_models)
        )
    ]
    folder = os.path.dirname(model.name)
    projectors = [f for f in projectors if os.path.dirname(f.path) == folder] or projectors
    projectors = [f for f in projectors if _share_name(f.path, model.name)] or projectors
    projectors = [f for f in projectors if matches(f.path, include)] or projectors
    return min(projectors, key=lambda f: (_precision_rank(f.path), f.path), default=None)


def matches(path: str, globs: Iterable[str]) -> bool:
    """Whether a path matches one of some globs, as in huggingface_hub's `allow_patterns`.

    `*` also matches slashes. A glob that ends in a slash matches everything in that folder.
    """
    return any(fnmatch.fnmatchcase(path, g + "*" if g.endswith("/") else g) for g in globs)


def shown_size(size: int) -> str:
    """Write a size for people, in decimal units."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _refuse_unmatched_labels(
    files: Sequence[File], available: Sequence[Quantisation], include: Sequence[str]
) -> None:
    """Refuse a glob that names a quantisation, such as `*Q8_0*`, if none that is there has it.

    Otherwise the only quantisation that is there would be taken instead.
    """
    for glob in include:
        if not _GLOB_LABEL.search(glob) or _OTHER_ENDING.search(glob):
            continue
        gguf = [f.path for f in files if kind_of(f.path) is Kind.GGUF and matches(f.path, [glob])]
        if gguf:
            continue
        for file in sorted(files, key=lambda f: f.path):
            if is_raw_piece(file.path) and matches(file.path, [glob]):
                raise NotFoundError(
                    f"--include {glob!r} names a GGUF file that is there in pieces only, such as "
                    f"{file.path}, and llama.cpp cannot read these",
                    hint="choose another quantisation; or join the pieces (cat), and pull the "
                    "joined file from this machine",
                )
        names = ", ".join(q.name for q in available) or "none"
        raise NotFoundError(
            f"no quantisation matches --include {glob!r}",
            hint=f"capital letters count; there are: {names}",
        )


def is_raw_piece(path: str) -> bool:
    """Whether a file is a piece of a GGUF file that was split by another program."""
    return bool(_RAW_PIECE.fullmatch(os.path.basename(path)))


def _ambiguous(candidates: list[Quantisation]) -> UsageError:
    names = ", ".join(f"{q.name} ({shown_size(q.size)})" for q in candidates)
    example = next((q for q in candidates if "q4_k_m" in q.name.lower()), candidates[0])
    return UsageError(
        f"one of {len(candidates)} quantisations must be chosen: {names}",
        hint=f"for example --include '{_glob_for(example, candidates)}'",
    )


def _glob_for(quantisation: Quantisation, candidates: list[Quantisation]) -> str:
    """Return a short glob that matches one quantisation and none of the others."""
    label = _LABEL.search(quantisation.name)
    glob = f"*{label[1]}*" if label else ""
    if [q for q in candidates if any(matches(f.path, [glob]) for f in q.files)] == [quantisation]:
        return glob
    files = quantisation.files
    return files[0].path if len(files) == 1 else f"{quantisation.name}-0*"


def _is_projector(path: str) -> bool:
    return kind_of(path) is Kind.GGUF and "mmproj" in os.path.basename(path).lower()


def _is_model(path: str) -> bool:
    name = os.path.basename(path).lower()
    # A model that was quantised with the help of an importance matrix may have `imatrix` in its
    # name, too, but then the name also has its precision.
    matrix = name.startswith("imatrix") or name.endswith("imatrix.gguf")
    return "mmproj" not in name and not (matrix and not _QUANTISED.search(name))


def is_drafter(path: str) -> bool:
    """Whether a GGUF file is a drafter, judged by its name."""
    folders = [part.lower() for part in path.split("/")[:-1]]
    name = os.path.basename(path).lower()
    return bool(_DRAFTER.fullmatch(name)) or any(f in _DRAFTER_FOLDERS for f in folders)


def _share_name(path: str, model_name: str) -> bool:
    """Whether a projector, or another model, has the name of a model, whatever their precision."""
    words, model_words = _words_of_name(path), _words_of_name(model_name)
    shorter, longer = sorted((words, model_words), key=len)
    return bool(shorter) and longer[: len(shorter)] == shorter


def _words_of_name(path: str) -> list[str]:
    """Split a file's name into its words, without the precision and what makes it a projector."""
    name = re.sub(r"\.gguf$", "", os.path.basename(path).lower())
    name = _PART_NUMBER.sub("", name)
    words = re.split(r"[-_.]", _LABEL.sub("", name))
    return [word for word in words if word and word not in ("mmproj", "model", "ud")]


def _precision_rank(path: str) -> int:
    words = re.split(r"[-.]", os.path.basename(path).lower())
    ranks = [rank for rank, precision in enumerate(_PROJECTOR_PRECISIONS) if precision in words]
    return min(ranks, default=len(_PROJECTOR_PRECISIONS))

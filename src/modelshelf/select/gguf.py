"""Which GGUF files llama.cpp needs: one quantisation with all its parts, and its projector. Pure.

`llama-gguf-split` names parts `NAME-00001-of-00003.gguf`; a projector, which turns images or sound
into tokens, has `mmproj` in its name.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from modelshelf.select.kinds import Kind, kind_of
from modelshelf.select.weights import missing_part
from modelshelf.shelf.errors import NotFoundError, UsageError
from modelshelf.shelf.values import File

_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})\.gguf", re.IGNORECASE)
_LABEL = re.compile(r"((?:i?q|tq)\d\w*|mxfp4\w*|bf16|f16|fp16|f32)$", re.IGNORECASE)
_QUANTISED = re.compile(r"(^|[-._])(i?q|tq)\d_")
# Sharper than what a projector needs costs memory; these are tried in order.
_PRECISIONS = ("f16", "fp16", "bf16", "q8_0", "f32")


@dataclasses.dataclass(frozen=True, slots=True)
class Quantisation:
    """One GGUF model: a file, or the parts of one, sorted.

    Attributes:
        name: Without the ending and the parts' numbers.
        files: Its files.
        missing: The first part that is not there; empty if all are.
    """

    name: str
    files: tuple[File, ...]
    missing: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


def quantisations(files: Iterable[File]) -> list[Quantisation]:
    """The GGUF models among some files, sorted by name.

    Projectors and importance matrices are none. Of a file and parts of the same name the file
    counts.
    """
    whole: dict[str, Quantisation] = {}
    parts: dict[tuple[str, str], list[File]] = defaultdict(list)
    for file in sorted(files, key=lambda f: f.path):
        if kind_of(file.path) is not Kind.GGUF or not _is_model(file.path):
            continue
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
    """The one quantisation that was asked for, or that there is.

    Args:
        files: The files of the repository.
        include: Globs; those that fit a quantisation choose among them.

    Raises:
        UsageError: There are several, or the globs fit several.
        NotFoundError: There is none, or a part of it is missing.
    """
    offered = quantisations(files)
    fitting = [q for q in offered if any(matches(f.path, include) for f in q.files)] or offered
    if not fitting:
        safe = any(kind_of(file.path) is Kind.SAFETENSORS for file in files)
        raise NotFoundError(
            "there is no GGUF file here, and llama.cpp reads nothing else",
            hint="--for vllm takes the safetensors"
            if safe
            else "name a repository with GGUF files",
        )
    if len(fitting) > 1:
        raise _ambiguous(fitting)
    if fitting[0].missing:
        raise NotFoundError(
            f"the quantisation {fitting[0].name} is not complete: {fitting[0].missing} is missing",
            hint="choose another one with --include, or ask the repository's owner",
        )
    return fitting[0]


def choose_projector(
    files: Iterable[File], model: Quantisation, include: Sequence[str] = ()
) -> File | None:
    """The projector for a model: one beside it rather than elsewhere, and f16 if there are several.

    Args:
        files: The files of the repository.
        model: The chosen quantisation.
        include: Globs; those that fit a projector choose among them.
    """
    found = sorted((f for f in files if _is_projector(f.path)), key=lambda f: f.path)
    folder = os.path.dirname(model.name)
    found = [f for f in found if os.path.dirname(f.path) == folder] or found
    found = [f for f in found if matches(f.path, include)] or found
    return min(found, key=lambda f: (_rank(f.path), f.path), default=None)


def matches(path: str, globs: Iterable[str]) -> bool:
    """Whether a path fits one of some globs, as huggingface_hub's `allow_patterns` does.

    `*` fits slashes too; a glob that ends in a slash fits everything in that folder.
    """
    return any(fnmatch.fnmatchcase(path, g + "*" if g.endswith("/") else g) for g in globs)


def shown_size(size: int) -> str:
    """A size for people, in decimal units."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _ambiguous(fitting: list[Quantisation]) -> UsageError:
    listed = ", ".join(f"{q.name} ({shown_size(q.size)})" for q in fitting)
    labels = {q.name: _label(q, fitting) for q in fitting}
    usual = [q for q in fitting if "q4_k_m" in q.name.lower()] or fitting
    return UsageError(
        f"one of {len(fitting)} quantisations must be chosen: {listed}",
        hint=f"for example --include '{labels[usual[0].name]}'",
    )


def _label(wanted: Quantisation, offered: list[Quantisation]) -> str:
    """A short glob that fits one quantisation and no other."""
    match = _LABEL.search(wanted.name)
    short = f"*{match[1]}*" if match else ""
    fits = [q for q in offered if any(matches(f.path, [short]) for f in q.files)]
    if fits == [wanted]:
        return short
    return wanted.files[0].path if len(wanted.files) == 1 else f"{wanted.name}-0*"


def _is_projector(path: str) -> bool:
    return kind_of(path) is Kind.GGUF and "mmproj" in os.path.basename(path).lower()


def _is_model(path: str) -> bool:
    name = os.path.basename(path).lower()
    # An importance matrix; a model made with the help of one says its precision, too.
    matrix = name.startswith("imatrix") or name.endswith("imatrix.gguf")
    return "mmproj" not in name and not (matrix and not _QUANTISED.search(name))


def _rank(path: str) -> int:
    words = re.split(r"[-.]", os.path.basename(path).lower())
    ranks = [rank for rank, precision in enumerate(_PRECISIONS) if precision in words]
    return min(ranks, default=len(_PRECISIONS))

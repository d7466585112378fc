"""How vLLM reads weights from where they lie, and why. Pure.

vLLM 0.32 maps weights into memory, which over a network is one small read after another. It reads
them ahead (`prefetch`) only where it takes the filesystem for NFS or Lustre, and only if they are
at most 90 % of the memory that is free at that moment. Pages that `start` has read ahead count as
taken there. So it is told to: it then finds the pages that are there, and reads the rest.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from modelshelf.engines import budget
from modelshelf.engines.vllm_versions import given
from modelshelf.shelf.values import File, Snapshot

if TYPE_CHECKING:
    from modelshelf.config.server_section import Load

Where = Literal["nfs", "network", "local"]
"""Where weights lie: on NFS, on something that many nodes mount, or on a disk of this node."""

PAGES = Fraction(9, 10)  # of what memory is left: vLLM's own measure for reading ahead
_OPTIONS = ("--load-format", "--safetensors-load-strategy", "--model-loader-extra-config")
# What reads files through the page cache; others go past it, or read other files.
_PAGED = ("", "auto", "hf", "safetensors", "mistral", "pt", "npcache")
_LEAST_BUFFER = 4 * budget.GIB  # the streamer refuses a buffer that its largest tensor is not in
_NAMES = {"nfs": "NFS", "network": "a share", "local": "a disk of the node"}


@dataclasses.dataclass(frozen=True, slots=True)
class Loading:
    """What was chosen.

    Attributes:
        args: vLLM's arguments.
        prefetch: Whether `start` reads the model into the page cache, too.
        why: How it reads the model, and why; the end of a sentence.
    """

    args: tuple[str, ...]
    prefetch: bool
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Weights:
    """What the choice is made from.

    Attributes:
        snapshot: The model.
        where: Where it lies.
        room: Bytes of memory that are left for its pages.
        gpus: GPUs of one server.
    """

    snapshot: Snapshot
    where: Where
    room: int
    gpus: int

    @property
    def fit(self) -> bool:
        """Whether its pages can all be in memory at a time."""
        return self.snapshot.size <= PAGES * self.room


def choose(load: Load, weights: Weights, args: Sequence[str]) -> Loading:
    """Choose how a model is loaded.

    Args:
        load: The file's word; `auto` is for what follows from the rest.
        weights: The model, and where it lies.
        args: The user's arguments, which win.
    """
    if own := {option: value for option, value in given(args) if option in _OPTIONS}:
        told = ", ".join(f"{option} {value}" for option, value in own.items())
        paged = own.get("--load-format", "").lower() in _PAGED
        return Loading((), paged and weights.fit, f"as its args say: {told}")
    if load == "auto":
        return _auto(weights)
    by = {"lazy": _lazy, "prefetch": _prefetch, "stream": _stream}[load]
    return by(weights, "its load says so")


def _auto(weights: Weights) -> Loading:
    place = _NAMES[weights.where]
    size, room = (
        f"{count / budget.GIB:.1f} GiB" for count in (weights.snapshot.size, weights.room)
    )
    if not weights.fit:
        by = _stream if weights.gpus and _only_safetensors(weights.snapshot.files) else _lazy
        return by(weights, f"its {size} are more than 90 % of the {room} of memory for its pages")
    if weights.where == "local":
        return Loading(_format(weights), prefetch=True, why=f"mapped, since it lies on {place}")
    return _prefetch(weights, f"it lies on {place}, and memory has {room} for its {size}")


def _prefetch(weights: Weights, why: str) -> Loading:
    args = (*_format(weights), "--safetensors-load-strategy=prefetch")
    return Loading(args, prefetch=True, why=f"by prefetch, since {why}")


def _lazy(weights: Weights, why: str) -> Loading:
    args = (*_format(weights), "--safetensors-load-strategy=lazy")
    return Loading(args, prefetch=False, why=f"lazily, since {why}")


def _stream(weights: Weights, why: str) -> Loading:
    # Each GPU's process has a buffer of its own; by default it would hold the whole model.
    buffer = weights.room // max(1, weights.gpus)
    limit = buffer if buffer >= _LEAST_BUFFER else 0  # 0: as large as the largest tensor
    extra = json.dumps({"memory_limit": limit}, separators=(",", ":"))
    args = ("--load-format=runai_streamer", f"--model-loader-extra-config={extra}")
    return Loading(args, prefetch=False, why=f"by stream, since {why}")


def _format(weights: Weights) -> tuple[str, ...]:
    """The format, where it is plain: vLLM's `auto` would look for pickles and other layouts."""
    only = _only_safetensors(weights.snapshot.files)
    return ("--load-format=safetensors",) if only else ()


def _only_safetensors(files: Iterable[File]) -> bool:
    """Whether all weights are safetensors in transformers' layout."""
    names = [posixpath.basename(file.path) for file in files]
    others = (".bin", ".pt", ".pth", ".gguf")
    return any(name.endswith(".safetensors") for name in names) and not any(
        name.endswith(others) or name.startswith("consolidated") for name in names
    )

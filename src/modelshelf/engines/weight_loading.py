"""How vLLM reads a model's weights from the storage that they lie on, and why. Pure.

vLLM 0.32 maps the weights into memory. Over a network that means one small read after another. It
reads files ahead (its strategy `prefetch`) only if it recognises the filesystem as NFS or Lustre,
and only if the weights are at most 90 % of the memory that is free at that moment. It counts the
pages that `modelshelf.start` has read ahead by then as used memory. So modelshelf decides, and
passes the strategy as an argument: vLLM then finds the pages that are there, and reads the rest.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from modelshelf.engines import budget
from modelshelf.engines.vllm_versions import parse_options
from modelshelf.shelf.values import File, Snapshot

if TYPE_CHECKING:
    from modelshelf.config.server_section import Load

StorageKind = Literal["nfs", "network", "local"]
"""The storage of a model: NFS, another filesystem that many nodes mount, or a disk of this node."""

# The part of the free memory that a model's pages may take; vLLM has the same limit.
MAX_PAGE_CACHE_SHARE = Fraction(9, 10)
_LOADING_OPTIONS = (
    "--load-format",
    "--safetensors-load-strategy",
    "--model-loader-extra-config",
)
# Formats whose loaders read the files through the page cache. The other loaders bypass it, or read
# other files.
_PAGE_CACHE_FORMATS = ("", "auto", "hf", "safetensors", "mistral", "pt", "npcache")
# The streamer refuses a buffer that is smaller than its largest tensor.
_MIN_STREAM_BUFFER = 4 * budget.GIB
_STORAGE_NAMES = {"nfs": "NFS", "network": "a share", "local": "a disk of the node"}


@dataclasses.dataclass(frozen=True, slots=True)
class LoadMethod:
    """How a model is loaded.

    Attributes:
        args: vLLM's arguments.
        prefetch: Whether `modelshelf.start` reads the model into the page cache, too.
        description: How vLLM reads the model, and why: the end of a sentence that begins with "the
            engine reads the model".
    """

    args: tuple[str, ...]
    prefetch: bool
    description: str


@dataclasses.dataclass(frozen=True, slots=True)
class Weights:
    """What decides how a model is loaded.

    Attributes:
        snapshot: The model.
        storage: The kind of storage that it lies on.
        page_cache_room: Bytes of memory that are free for the model's pages.
        gpus: The number of GPUs of one server.
    """

    snapshot: Snapshot
    storage: StorageKind
    page_cache_room: int
    gpus: int

    @property
    def fit_in_memory(self) -> bool:
        """Whether the page cache can hold all of the model at once."""
        return self.snapshot.size <= MAX_PAGE_CACHE_SHARE * self.page_cache_room


def choose_load_method(load: Load, weights: Weights, args: Sequence[str]) -> LoadMethod:
    """Choose how vLLM loads a model.

    Args:
        load: The method that modelshelf.yaml names; `auto` leaves the choice to this function.
        weights: The model, its storage, and the memory.
        args: The user's arguments for vLLM, which take precedence.
    """
    user_options = {
        option: value for option, value in parse_options(args) if option in _LOADING_OPTIONS
    }
    if user_options:
        shown = ", ".join(f"{option} {value}" for option, value in user_options.items())
        load_format = user_options.get("--load-format", "").lower()
        prefetch = load_format in _PAGE_CACHE_FORMATS and weights.fit_in_memory
        return LoadMethod((), prefetch, f"as its args say: {shown}")
    if load == "auto":
        return _choose_automatically(weights)
    methods = {"lazy": _lazy, "prefetch": _prefetch, "stream": _stream}
    return methods[load](weights, "its load says so")


def _choose_automatically(weights: Weights) -> LoadMethod:
    storage = _STORAGE_NAMES[weights.storage]
    size, room = (
        f"{number / budget.GIB:.1f} GiB"
        for number in (weights.snapshot.size, weights.page_cache_room)
    )
    if not weights.fit_in_memory:
        can_stream = weights.gpus and _has_only_safetensors(weights.snapshot.files)
        method = _stream if can_stream else _lazy
        return method(
            weights, f"its {size} are more than 90 % of the {room} of memory for its pages"
        )
    if weights.storage == "local":
        description = f"mapped, since it lies on {storage}"
        return LoadMethod(_format_args(weights), prefetch=True, description=description)
    return _prefetch(weights, f"it lies on {storage}, and memory has {room} for its {size}")


def _prefetch(weights: Weights, reason: str) -> LoadMethod:
    args = (*_format_args(weights), "--safetensors-load-strategy=prefetch")
    return LoadMethod(args, prefetch=True, description=f"by prefetch, since {reason}")


def _lazy(weights: Weights, reason: str) -> LoadMethod:
    args = (*_format_args(weights), "--safetensors-load-strategy=lazy")
    return LoadMethod(args, prefetch=False, description=f"lazily, since {reason}")


def _stream(weights: Weights, reason: str) -> LoadMethod:
    # Each GPU's process has a buffer of its own. By default the buffer holds the whole model.
    buffer = weights.page_cache_room // max(1, weights.gpus)
    limit = buffer if buffer >= _MIN_STREAM_BUFFER else 0  # 0: as large as the largest tensor
    extra = json.dumps({"memory_limit": limit}, separators=(",", ":"))
    args = ("--load-format=runai_streamer", f"--model-loader-extra-config={extra}")
    return LoadMethod(args, prefetch=False, description=f"by stream, since {reason}")


def _format_args(weights: Weights) -> tuple[str, ...]:
    """The argument for the format, if it is certain.

    vLLM's own choice, `auto`, would first look for pickles and for other layouts.
    """
    certain = _has_only_safetensors(weights.snapshot.files)
    return ("--load-format=safetensors",) if certain else ()


def _has_only_safetensors(files: Iterable[File]) -> bool:
    """Whether all weights are safetensors in the layout of transformers."""
    names = [posixpath.basename(file.path) for file in files]
    other_weights = (".bin", ".pt", ".pth", ".gguf")
    return any(name.endswith(".safetensors") for name in names) and not any(
        name.endswith(other_weights) or name.startswith("consolidated") for name in names
    )

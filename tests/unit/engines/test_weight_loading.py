"""How vLLM loads weights, and how that is described."""

from __future__ import annotations

from typing import Any

import pytest
from support.render_inputs import snapshot

from modelshelf.config.server_section import Load
from modelshelf.engines import budget
from modelshelf.engines.weight_loading import LoadMethod, StorageKind, Weights, choose_load_method
from modelshelf.shelf.values import Snapshot

GIB = 1 << 30
MODEL = snapshot(size=9 * GIB)
SAFETENSORS = "--load-format=safetensors"
PREFETCH = "--safetensors-load-strategy=prefetch"
LAZY = "--safetensors-load-strategy=lazy"


def choose(load: Load = "auto", *args: str, of: Snapshot = MODEL, **weights: Any) -> LoadMethod:
    """Choose for a model of 9 GiB on NFS, with just enough memory and one GPU, by default."""
    storage: StorageKind = weights.get("storage", "nfs")
    room = weights.get("room", 10 * GIB)
    return choose_load_method(load, Weights(of, storage, room, weights.get("gpus", 1)), args)


@pytest.mark.parametrize(
    ("storage", "name"), [("nfs", "NFS"), ("network", "a share")], ids=["nfs", "claim"]
)
def test_over_a_network_a_model_is_read_ahead(storage: StorageKind, name: str) -> None:
    """The strategy is an argument, since vLLM's own rule fails on some shares."""
    description = f"by prefetch, since it lies on {name}, and memory has 10.0 GiB for its 9.0 GiB"
    assert choose(storage=storage) == LoadMethod(
        (SAFETENSORS, PREFETCH), prefetch=True, description=description
    )


def test_a_disk_of_the_node_is_mapped() -> None:
    """`start` reads the model in parallel; vLLM then maps the pages that are there."""
    assert choose(storage="local") == LoadMethod(
        (SAFETENSORS,), prefetch=True, description="mapped, since it lies on a disk of the node"
    )


@pytest.mark.parametrize(
    ("gpus", "room", "limit"),
    [
        pytest.param(1, 10 * GIB - 1, 10 * GIB - 1, id="one byte too little"),
        pytest.param(2, 8 * GIB, 4 * GIB, id="a buffer for each GPU"),
        pytest.param(4, 8 * GIB, 0, id="too little for a buffer of that size"),
        pytest.param(1, -GIB, 0, id="no room at all"),
    ],
)
def test_a_model_that_does_not_fit_in_memory_is_streamed(gpus: int, room: int, limit: int) -> None:
    """It is read through buffers that fit, without the page cache and without a prefetch."""
    found = choose(gpus=gpus, room=room)
    extra = f'--model-loader-extra-config={{"memory_limit":{limit}}}'
    assert found.args == ("--load-format=runai_streamer", extra)
    assert not found.prefetch
    assert found.description.startswith("by stream, since its 9.0 GiB are more than 90 % of the ")


@pytest.mark.parametrize("name", ["consolidated.safetensors", "pytorch_model.bin"])
def test_formats_that_the_streamer_cannot_read_are_not_streamed(name: str) -> None:
    """For pickles and Mistral's layout vLLM chooses the format, whether they fit or not."""
    other = snapshot(size=9 * GIB, name=name)
    assert choose(of=other, room=GIB).args == (LAZY,)
    assert choose(of=other).args == (PREFETCH,)


def test_without_a_gpu_nothing_is_streamed() -> None:
    """Without a GPU the weights themselves are in the memory that is too small."""
    assert choose(gpus=0, room=GIB).args == (SAFETENSORS, LAZY)


def test_the_file_overrides_the_choice() -> None:
    """Each method that the file names is used, on any storage."""
    assert choose("prefetch", storage="local").args == (SAFETENSORS, PREFETCH)
    assert choose("lazy") == LoadMethod(
        (SAFETENSORS, LAZY), prefetch=False, description="lazily, since its load says so"
    )
    assert choose("stream").args[0] == "--load-format=runai_streamer"


@pytest.mark.parametrize(
    ("args", "prefetch"),
    [
        (("--load-format", "instanttensor"), False),
        (("--load_format=runai_streamer",), False),
        (("--safetensors-load-strategy=eager",), True),
        (("--load-format=Auto", "--seed=1"), True),
    ],
)
def test_arguments_of_the_user_win(args: tuple[str, ...], *, prefetch: bool) -> None:
    """Then modelshelf adds none, and formats that bypass the page cache are not prefetched."""
    found = choose("auto", *args)
    assert (found.args, found.prefetch) == ((), prefetch)
    assert found.description.startswith("as its args say: --")


@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("size", [10**6, 3 * 10**9, 14 * 10**9, 10**12])
def test_the_default_memory_of_a_pod_fits_its_model(size: int, gpus: int) -> None:
    """With the default memory, vLLM's limit of 90 % never turns reading ahead off."""
    shm = budget.shm_size(gpus)
    room = budget.vllm_memory(size, shm, gpus=gpus) - budget.vllm_overhead(size, shm, gpus=gpus)
    assert Weights(snapshot(size=size), "nfs", room, gpus).fit_in_memory

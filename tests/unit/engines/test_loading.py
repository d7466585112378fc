"""How vLLM is told to read weights, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from support.render_inputs import snapshot

from modelshelf.config.server_section import Load
from modelshelf.engines import budget
from modelshelf.engines.loading import Loading, Weights, Where, choose
from modelshelf.shelf.values import Snapshot

GIB = 1 << 30
MODEL = snapshot(size=9 * GIB)
SAFE = "--load-format=safetensors"
PREFETCH = "--safetensors-load-strategy=prefetch"
LAZY = "--safetensors-load-strategy=lazy"


def chosen(load: Load = "auto", *args: str, of: Snapshot = MODEL, **weights: Any) -> Loading:
    """What is chosen for 9 GiB on NFS with just enough memory and one GPU, if not otherwise."""
    where: Where = weights.get("where", "nfs")
    room = weights.get("room", 10 * GIB)
    return choose(load, Weights(of, where, room, weights.get("gpus", 1)), args)


@pytest.mark.parametrize(
    ("where", "place"), [("nfs", "NFS"), ("network", "a share")], ids=["nfs", "claim"]
)
def test_over_a_network_a_model_is_read_ahead(where: Where, place: str) -> None:
    """The engine is told so: it does not know every share, and counts warmed pages as taken."""
    why = f"by prefetch, since it lies on {place}, and memory has 10.0 GiB for its 9.0 GiB"
    assert chosen(where=where) == Loading((SAFE, PREFETCH), prefetch=True, why=why)


def test_a_disk_of_the_node_is_mapped() -> None:
    """`start` reads it in parallel; vLLM then maps what is there."""
    assert chosen(where="local") == Loading(
        (SAFE,), prefetch=True, why="mapped, since it lies on a disk of the node"
    )


@pytest.mark.parametrize(
    ("gpus", "room", "limit"),
    [
        pytest.param(1, 10 * GIB - 1, 10 * GIB - 1, id="one byte too little"),
        pytest.param(2, 8 * GIB, 4 * GIB, id="a buffer for each GPU"),
        pytest.param(4, 8 * GIB, 0, id="too little for a buffer of one's own choice"),
        pytest.param(1, -GIB, 0, id="no room at all"),
    ],
)
def test_what_the_memory_has_no_room_for_is_streamed(gpus: int, room: int, limit: int) -> None:
    """Past the page cache, through buffers that fit; nothing is read ahead to be thrown away."""
    found = chosen(gpus=gpus, room=room)
    extra = f'--model-loader-extra-config={{"memory_limit":{limit}}}'
    assert found.args == ("--load-format=runai_streamer", extra)
    assert not found.prefetch
    assert found.why.startswith("by stream, since its 9.0 GiB are more than 90 % of the ")


@pytest.mark.parametrize("name", ["consolidated.safetensors", "pytorch_model.bin"])
def test_what_the_streamer_cannot_read_is_not_streamed(name: str) -> None:
    """Pickles and Mistral's layout: their format is left to vLLM, as it is where they fit."""
    other = snapshot(size=9 * GIB, name=name)
    assert chosen(of=other, room=GIB).args == (LAZY,)
    assert chosen(of=other).args == (PREFETCH,)


def test_without_a_gpu_nothing_is_streamed() -> None:
    """The weights themselves are in the memory that is too small."""
    assert chosen(gpus=0, room=GIB).args == (SAFE, LAZY)


def test_the_file_overrides_the_choice() -> None:
    """Each of its words is done, whatever the storage."""
    assert chosen("prefetch", where="local").args == (SAFE, PREFETCH)
    assert chosen("lazy") == Loading(
        (SAFE, LAZY), prefetch=False, why="lazily, since its load says so"
    )
    assert chosen("stream").args[0] == "--load-format=runai_streamer"


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
    """Then none is ours, and what goes past the page cache is not read into it."""
    found = chosen("auto", *args)
    assert (found.args, found.prefetch) == ((), prefetch)
    assert found.why.startswith("as its args say: --")


@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("size", [10**6, 3 * 10**9, 14 * 10**9, 10**12])
def test_the_memory_that_a_pod_gets_has_room_for_its_model(size: int, gpus: int) -> None:
    """By default vLLM's measure of 90 % never turns reading ahead off."""
    shm = budget.shm_size(gpus)
    room = budget.vllm_memory(size, shm, gpus=gpus) - budget.vllm_besides(size, shm, gpus=gpus)
    assert Weights(snapshot(size=size), "nfs", room, gpus).fit

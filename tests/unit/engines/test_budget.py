"""Estimates of time and memory from a model's size."""

from __future__ import annotations

import pytest

from modelshelf.engines.budget import (
    GIB,
    MIB,
    llamacpp_memory,
    shm_size,
    start_seconds,
    vllm_memory,
)

MB, GB = 10**6, 10**9


@pytest.mark.parametrize(
    ("size", "speed", "seconds"),
    [
        pytest.param(100 * MB, 200 * MB, 600, id="a small model gets ten minutes, too"),
        pytest.param(30 * GB, 200 * MB, 600, id="where both limits are equal"),
        pytest.param(140 * GB, 200 * MB, 1700, id="70B at 16 bits on a usual share"),
        pytest.param(140 * GB, 60 * MB, 4967, id="70B on a slow share, rounded up"),
    ],
)
def test_a_start_may_take_twice_the_reading_and_five_minutes(
    size: int, speed: int, seconds: int
) -> None:
    """The time grows with the size and falls with the speed; it is at least ten minutes."""
    assert start_seconds(size, speed) == seconds


def test_vllm_can_read_a_checkpoint_ahead() -> None:
    """The checkpoint takes at most 90 % of the free memory; on a CPU memory holds it twice."""
    size = 14 * GB
    memory = vllm_memory(size, 2 * GIB, gpus=1)
    assert memory == 25 * GIB
    assert size <= 0.9 * (memory - 10 * GIB)
    assert vllm_memory(size, 2 * GIB, gpus=0) == 42 * GIB
    assert vllm_memory(0, 0, gpus=1) == 8 * GIB


@pytest.mark.parametrize(
    ("size", "token", "tokens"),
    [
        pytest.param(98 * MB, 23 << 10, 8192, id="SmolLM2 135M"),
        pytest.param(4_080 * MB, 512 << 10, 4096, id="Llama 2 7B"),
        pytest.param(4_920 * MB, 128 << 10, 32_768, id="Llama 3.1 8B"),
        pytest.param(7_870 * MB, 800 << 10, 4096, id="Llama 2 13B"),
        pytest.param(42_500 * MB, 320 << 10, 32_768, id="Llama 3.1 70B"),
    ],
)
def test_llamacpp_has_room_for_its_cache(size: int, token: int, tokens: int) -> None:
    """Real models at four bits fit, repacked, with a full key-value cache and a prompt cache."""
    assert llamacpp_memory(size, tokens) >= size + tokens * token + 256 * MIB + 512 * MIB


def test_llamacpp_grows_with_the_context_in_whole_steps() -> None:
    """A longer context needs more memory, and the limit is a multiple of 256 MiB."""
    small, large = llamacpp_memory(98 * MB, 8192), llamacpp_memory(98 * MB, 65_536)
    assert small == 1536 * MIB
    assert large > small
    assert large % (256 * MIB) == 0


def test_several_gpus_exchange_more() -> None:
    """Tensor parallelism needs a larger /dev/shm than one process does."""
    assert [shm_size(gpus) for gpus in (0, 1, 2, 8)] == [2 * GIB, 2 * GIB, 8 * GIB, 8 * GIB]

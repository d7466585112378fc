"""How long a start may take and how much memory an engine needs, from a model's size. Pure."""

from __future__ import annotations

import math
from fractions import Fraction

MIB = 1 << 20
GIB = 1 << 30

_MIN_START_SECONDS = 600  # as much as comparable tools allow for a model of any size
_START_OVERHEAD_SECONDS = 300  # for imports, compilation and CUDA graphs
# vLLM reads a checkpoint on a share ahead of itself, but only if the checkpoint takes at most 90 %
# of the memory that the container may use. Without reading ahead a start takes several times as
# long, so the memory is chosen to be large enough.
_MAX_CHECKPOINT_SHARE = Fraction(9, 10)
VLLM_OVERHEAD = 8 * GIB  # three Python processes, CUDA contexts, pinned buffers
# The key-value cache of vLLM on a CPU, in GiB. Without a limit it takes all of the node's memory.
VLLM_CPU_KV_CACHE_GIB = 4
LLAMACPP_CONTEXT_TOKENS = 8192  # where the user names no length: see llamacpp_memory
# Memory in which llama.cpp keeps earlier prompts. Its own default, 8 GiB, would exceed the limit.
LLAMACPP_PROMPT_CACHE = 256 * MIB
# Compute buffers: one batch of logits takes 300 MB where the vocabulary is large.
_LLAMACPP_OVERHEAD = 768 * MIB
# Bytes of key-value cache for each token, at 16 bits. Some real models: Llama 2 7B has 512 KiB (a
# file of 4 GB) and 13B has 800 KiB (8 GB), Llama 3 8B has 128 KiB (5 GB), SmolLM2 135M has 23 KiB
# (0.1 GB).
_MIN_TOKEN_BYTES = 24 << 10
_MAX_TOKEN_BYTES = 1 << 20


def start_seconds(size: int, speed: int) -> int:
    """The seconds that a server may take until it is ready.

    Args:
        size: Bytes of the model.
        speed: Bytes per second that one pod reads from the share in the worst case.
    """
    return max(_MIN_START_SECONDS, math.ceil(2 * size / speed) + _START_OVERHEAD_SECONDS)


def vllm_memory(size: int, shm: int, *, gpus: int) -> int:
    """The bytes of memory that a vLLM container needs.

    Args:
        size: Bytes of the model.
        shm: Bytes of `/dev/shm`, which count as the container's memory.
        gpus: Number of GPUs. Without one, the weights and their key-value cache are in this memory.
    """
    pages = math.ceil(size / _MAX_CHECKPOINT_SHARE)
    return _round_up(pages + vllm_overhead(size, shm, gpus=gpus), GIB)


def vllm_overhead(size: int, shm: int, *, gpus: int) -> int:
    """The bytes of a vLLM container's memory that cannot hold page cache of its model.

    The arguments are those of `vllm_memory`.
    """
    weights = 0 if gpus else size + VLLM_CPU_KV_CACHE_GIB * GIB
    return VLLM_OVERHEAD + shm + weights


def llamacpp_memory(size: int, tokens: int) -> int:
    """The bytes of memory that a llama.cpp container needs.

    The exact size of the key-value cache for one token is in the GGUF header, which a lock file
    does not hold. The result is therefore an upper bound, from the size of the model. It is close
    for old and for small models, and several times too high for large ones with few key-value
    heads. The other error would be worse: an engine with too little memory is killed at its first
    long prompt.

    Args:
        size: Bytes of the model. llama.cpp may repack all of them into its own memory.
        tokens: Tokens of context, for all requests together.
    """
    token_bytes = min(_MAX_TOKEN_BYTES, _MIN_TOKEN_BYTES + size // 8000)
    needed = size * 6 // 5 + tokens * token_bytes + LLAMACPP_PROMPT_CACHE + _LLAMACPP_OVERHEAD
    return _round_up(needed, 256 * MIB)


def shm_size(gpus: int) -> int:
    """The bytes of `/dev/shm`, through which the processes of one engine exchange tensors."""
    return 2 * GIB if gpus <= 1 else 8 * GIB


def _round_up(number: int, unit: int) -> int:
    return math.ceil(number / unit) * unit

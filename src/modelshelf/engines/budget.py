"""How long a start may take and how much memory an engine needs, from a model's size. Pure."""

from __future__ import annotations

import math
from fractions import Fraction

MIB = 1 << 20
GIB = 1 << 30

_LEAST_START = 600  # seconds: what peers allow for any model
_START_BESIDES = 300  # seconds for imports, compilation and CUDA graphs
# vLLM reads a checkpoint on a share ahead of itself, unless it is more than 90 % of the memory that
# the container may use: then a start takes several times as long.
_READ_AHEAD = Fraction(9, 10)
VLLM_BESIDES = 8 * GIB  # three Python processes, CUDA contexts, pinned buffers
VLLM_CPU_KV = 4  # GiB of key-value cache on a CPU, which takes all of the node's memory unless told
LLAMACPP_CONTEXT = 8192  # tokens, where a pod is not told how many: see llamacpp_memory
LLAMACPP_PROMPTS = 256 * MIB  # of prompts kept for later; llama.cpp's own 8 GiB would be the end
_LLAMACPP_BESIDES = 768 * MIB  # compute buffers: a batch of logits for a large vocabulary is 300 MB
# Bytes of key-value cache for a token, at 16 bits: Llama 2 7B has 512 KiB and 13B 800 KiB, at 4 and
# 8 GB; Llama 3 8B 128 KiB, at 5 GB; SmolLM2 135M 23 KiB, at 0.1 GB.
_LEAST_TOKEN = 24 << 10
_LARGEST_TOKEN = 1 << 20


def start_budget(size: int, speed: int) -> int:
    """Seconds that a server may take until it is ready.

    Args:
        size: Bytes of the model.
        speed: Bytes per second that one pod reads from the share, at worst.
    """
    return max(_LEAST_START, math.ceil(2 * size / speed) + _START_BESIDES)


def vllm_memory(size: int, shm: int, *, gpus: int) -> int:
    """Bytes of memory that a vLLM container needs.

    Args:
        size: Bytes of the model.
        shm: Bytes of `/dev/shm`, which count as the container's memory.
        gpus: GPUs; without one the weights themselves and their cache are in this memory, too.
    """
    pages = math.ceil(size / _READ_AHEAD)
    return _whole(pages + vllm_besides(size, shm, gpus=gpus), GIB)


def vllm_besides(size: int, shm: int, *, gpus: int) -> int:
    """Bytes of a vLLM container's memory that no pages of its model can be in; see above."""
    weights = 0 if gpus else size + VLLM_CPU_KV * GIB
    return VLLM_BESIDES + shm + weights


def llamacpp_memory(size: int, tokens: int) -> int:
    """Bytes of memory that a llama.cpp container needs.

    The size of the cache for a token is in the GGUF header, which a lock does not hold. So it is
    bounded from above by the model's size, which is near for old and small models, and several
    times too much for large ones with few key-value heads: too little would be an engine that is
    killed at its first long prompt.

    Args:
        size: Bytes of the model; llama.cpp may repack them into memory that is not the file's.
        tokens: Of context, of all requests together.
    """
    token = min(_LARGEST_TOKEN, _LEAST_TOKEN + size // 8000)
    needed = size * 6 // 5 + tokens * token + LLAMACPP_PROMPTS + _LLAMACPP_BESIDES
    return _whole(needed, 256 * MIB)


def shm_size(gpus: int) -> int:
    """Bytes of `/dev/shm`, where the processes of one engine exchange tensors."""
    return 2 * GIB if gpus <= 1 else 8 * GIB


def _whole(count: int, unit: int) -> int:
    return math.ceil(count / unit) * unit

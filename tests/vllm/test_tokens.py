"""vLLM and llama.cpp give the same completions for the same weights."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from support.vllm_processes import Engine, Starter, free_port

# llama.cpp computes with 4-bit weights and 8-bit activations, vLLM with the same weights widened to
# float32. So these are prompts for which the model is sure of the next token.
PROMPTS = ("1, 2, 3, 4, 5, 6,", " The opposite of hot is", "def add(a, b):\n    return")


def test_vllm_and_llamacpp_choose_the_same_tokens(
    stock: Engine, starter: Starter, llama_gguf: Path
) -> None:
    """For the same weights vLLM's greedy completions are those of llama.cpp."""
    port, began = free_port(), time.monotonic()
    server = [sys.executable, "-m", "modelshelf.engines.llamacpp_server"]
    options = ["--name=smol", f"--model={llama_gguf}", f"--port={port}", "--context-length=1024"]
    with starter.launched([*server, *options], port) as llamacpp:
        llamacpp.wait_ready(began)
        expected = [llamacpp.complete(prompt, 16) for prompt in PROMPTS]

    assert [stock.complete(prompt, 16) for prompt in PROMPTS] == expected
    assert all(expected)

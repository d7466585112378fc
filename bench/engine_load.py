"""The tokens that a running engine answers with, and its speed under load."""

from __future__ import annotations

import concurrent.futures
import time

from bench.engine_process import Engine
from bench.timing import FailedError

STREAMS, TOKENS = 8, 64
_PROMPTS = ("The capital of France is", "Water boils at", "Once upon a time there was")


def greedy(engine: Engine, name: str) -> list[list[int]]:
    """Ask for the most likely tokens after each prompt."""
    return [_tokens(engine, name, prompt, 24) for prompt in _PROMPTS]


def speeds(engine: Engine, name: str, batches: int) -> list[float]:
    """Measure tokens per second of all streams, batch by batch; the first is not counted."""
    batch_speeds = []
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        for _ in range(batches + 1):
            start = time.monotonic()
            answers = [
                pool.submit(_tokens, engine, name, f"Story number {n}:", TOKENS)
                for n in range(STREAMS)
            ]
            tokens = sum(len(answer.result()) for answer in answers)
            batch_speeds.append(tokens / (time.monotonic() - start))
    return batch_speeds[1:]


def _tokens(engine: Engine, name: str, prompt: str, count: int) -> list[int]:
    body = {"model": name, "prompt": prompt, "max_tokens": count, "temperature": 0}
    request = {**body, "ignore_eos": True, "return_token_ids": True}
    (choice,) = engine.ask(request)["choices"]
    tokens = [int(token) for token in choice["token_ids"]]
    if len(tokens) != count:
        raise FailedError(f"{len(tokens)} of {count} tokens came back")
    return tokens

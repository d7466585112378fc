"""What tests of real vLLM share: its environment, a model, and one server of the stock kind.

`python -m lab build vllm vllm-model` makes the environment and the model first; see `lab.vllm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import models
import pytest
from engineruns import Engine, Starter
from lab import vllm


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The interpreter that can import vLLM, which is not the one that runs the tests."""
    if reason := vllm.why_not():
        pytest.skip(reason)
    return vllm.python()


@pytest.fixture(scope="session")
def vllm_model(engine_python: Path) -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder."""
    return vllm.model()


@pytest.fixture(scope="session")
def llama_gguf() -> Path:
    """The same model as one GGUF file."""
    return models.smollm2()


@pytest.fixture(scope="session")
def starter(
    engine_python: Path, vllm_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Starter:
    """Starts engines, which share one home and its caches."""
    return Starter(engine_python, vllm_model, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def stock(starter: Starter) -> Iterator[Engine]:
    """A server started without anything of ours, and without compiling; the same for all tests."""
    with starter.running("--enforce-eager") as engine:
        yield engine

"""What tests of real vLLM share: its environment, a model, and one stock server.

`python -m lab build vllm vllm-model` makes the environment and the model first; see `lab.vllm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import vllm
from support import real_model
from support.vllm_processes import Engine, Starter


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The interpreter that can import vLLM. It is not the one that runs the tests."""
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
    return real_model.smollm2()


@pytest.fixture(scope="session")
def starter(
    engine_python: Path, vllm_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Starter:
    """Starts engines, which share a home folder and its caches."""
    return Starter(engine_python, vllm_model, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def stock(starter: Starter) -> Iterator[Engine]:
    """A stock server, which compiles nothing; shared by all tests."""
    with starter.running("--enforce-eager") as engine:
        yield engine

"""The file that `init` writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelshelf.config.file import parse
from modelshelf.config.starter_file import StarterFile, model_key, server_key


@pytest.mark.parametrize(
    ("source", "model", "server"),
    [
        ("hf://mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-instruct-v0-3", "mistral"),
        ("hf://Qwen/Qwen2.5-7B-Instruct-GGUF@main", "qwen2-5-7b-instruct-gguf", "qwen2"),
        ("hf://openai/gpt-oss-20b", "gpt-oss-20b", "gpt"),
        ("hf://x/7b_Vllm-Tiny", "7b-vllm-tiny", "tiny"),
        ("hf://x/vllm", "vllm", "model"),
        ("hf://x/___", "model", "model"),
        ("hf://x/" + "a-" * 30, ("a-" * 20)[:39], "a"),
    ],
)
def test_names_come_from_the_model(source: str, model: str, server: str) -> None:
    """Keys are derived from the repository's name, and the file allows them."""
    assert (model_key(source), server_key(model)) == (model, server)


_WORDS = st.text("abcXYZ019.-_", min_size=1, max_size=60)


@given(_WORDS, _WORDS, st.sampled_from(["vllm", "llamacpp"]), st.integers(0, 9))
def test_a_draft_says_what_it_was_told(org: str, name: str, engine: str, gpus: int) -> None:
    """For any name of a model, the text is a valid file with the values that it was made from."""
    source = f"hf://{org}/{name}"
    key = model_key(source)
    server = server_key(key)
    shelf: dict[str, str | dict[str, str]] = {"hostPath": {"path": f"/{name} {{x}}: # y"}}
    config = parse(
        StarterFile(shelf, source, key, server, "true", engine, gpus, ("*'\"é*",)).text()
    )
    assert config.models[key].source == source
    assert config.models[key].include == ("*'\"é*",)
    assert config.namespace == "true"
    assert config.shelf.host_path is not None
    assert config.shelf.host_path.path == f"/{name} {{x}}: # y"
    found = config.servers[server]
    assert (found.model, found.engine, found.gpus, found.replicas) == (key, engine, gpus, 1)


def test_a_draft_is_short_and_teaches() -> None:
    """The file has at most two dozen lines, and comments for most keys."""
    shelf: dict[str, str | dict[str, str]] = {"claim": "models"}
    text = StarterFile(shelf, "hf://org/name", "name", "name", "llm", "vllm", 1).text()
    assert len(text.splitlines()) <= 24
    assert text.count("#") >= 8
    assert max(len(line) for line in text.splitlines()) <= 100

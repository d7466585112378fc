"""Which of vLLM's arguments are refused before they end a start."""

from __future__ import annotations

import itertools

import pytest

from modelshelf.engines.images import IMAGES, moved
from modelshelf.engines.vllm_versions import MINORS, OPTIONS, minor_of, refuse, values
from modelshelf.shelf.errors import UsageError

OURS = "docker.io/vllm/vllm-openai:v0.32.0"


@pytest.mark.parametrize(
    ("image", "minor"),
    [
        (OURS, 32),
        (moved(OURS, "mirror.example:5000/hub"), 32),
        ("vllm/vllm-openai:v0.30.0-x86_64", 30),
        ("vllm/vllm-openai-rocm:v0.33.0@sha256:" + "0" * 64, 33),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai:v0.40.0", None),
        ("acme/vllm-openai:v0.32.0", None),
        ("quay.io/acme/our-vllm:v0.32.0", None),
    ],
)
def test_the_version_is_told_by_the_projects_own_images(image: str, minor: int | None) -> None:
    """A mirror has them, too; of any other image nothing is known."""
    assert minor_of(image) == minor


def test_the_pinned_images_are_known() -> None:
    """What is rendered by default is checked."""
    assert {minor_of(IMAGES["vllm"]), minor_of(IMAGES["vllm-cpu"])} <= set(MINORS)


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["--tool-call-parser=hermess"], "no --tool-call-parser 'hermess'", "mean 'hermes'?"),
        (["--reasoning_parser", "qwen_3"], "no --reasoning-parser 'qwen_3'", "mean 'qwen3'?"),
        (["--tool-call-parser", "step5"], "no --tool-call-parser 'step5'", "from 0.33 on"),
        (["--load-format=bitsandbytes"], "no --load-format 'bitsandbytes'", "it has auto,"),
        (["--safetensors-load-strategy=mmap"], "-strategy 'mmap'", "eager, lazy, prefetch"),
        (["--load-format", "--seed=1"], "no --load-format ''", "it has auto,"),
    ],
)
def test_a_wrong_value_is_refused_with_the_nearest_right_one(
    args: list[str], message: str, hint: str
) -> None:
    """However it is written; a name that another version has says which."""
    with pytest.raises(UsageError) as caught:
        refuse(args, OURS)
    assert str(caught.value).startswith("vLLM 0.32 has no --")
    assert str(caught.value).endswith(message)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("args", "image"),
    [
        (["--tool-call-parser=hermes", "--reasoning-parser", "qwen3", "--seed=1"], OURS),
        (["--load-format=Safetensors"], OURS),
        (["--tool-call-parser=mine", "--tool-parser-plugin=/models/x/p.py"], OURS),
        (["--tool-call-parser=mine"], "acme/vllm:1"),
        (["--tool-call-parser=step5"], "vllm/vllm-openai:v0.33.0"),
    ],
)
def test_what_may_be_right_is_let_through(args: list[str], image: str) -> None:
    """Plugins and images of somebody's own bring names that nobody else knows."""
    refuse(args, image)


def test_each_version_has_what_the_one_before_had() -> None:
    """The table says since when there is a name, and no name was taken away."""
    for option in OPTIONS:
        held = [values(option, minor) for minor in MINORS]
        assert held == sorted(held, key=len)
        assert all(a <= b for a, b in itertools.pairwise(held))
        assert held[0]

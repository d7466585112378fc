"""Values of vLLM's options that are refused before vLLM is started."""

from __future__ import annotations

import itertools

import pytest

from modelshelf.engines.images import IMAGES, mirrored_image
from modelshelf.engines.vllm_versions import (
    MINOR_VERSIONS,
    OPTIONS,
    known_values,
    minor_of,
    require_known_values,
)
from modelshelf.shelf.errors import UsageError

PINNED = "docker.io/vllm/vllm-openai:v0.32.0"


@pytest.mark.parametrize(
    ("image", "minor"),
    [
        (PINNED, 32),
        (mirrored_image(PINNED, "mirror.example:5000/hub"), 32),
        ("vllm/vllm-openai:v0.30.0-x86_64", 30),
        ("vllm/vllm-openai-rocm:v0.33.0@sha256:" + "0" * 64, 33),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai:v0.40.0", None),
        ("acme/vllm-openai:v0.32.0", None),
        ("quay.io/acme/our-vllm:v0.32.0", None),
    ],
)
def test_the_version_is_known_for_official_images(image: str, minor: int | None) -> None:
    """An official image is recognised on a mirror, too; the version of any other is unknown."""
    assert minor_of(image) == minor


def test_the_pinned_images_have_a_known_version() -> None:
    """The arguments of a server with a default image are checked."""
    assert {minor_of(IMAGES["vllm"]), minor_of(IMAGES["vllm-cpu"])} <= set(MINOR_VERSIONS)


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
    """Every way to write an option is checked; the hint says if a later version has the value."""
    with pytest.raises(UsageError) as caught:
        require_known_values(args, PINNED)
    assert str(caught.value).startswith("vLLM 0.32 has no --")
    assert str(caught.value).endswith(message)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("args", "image"),
    [
        (["--tool-call-parser=hermes", "--reasoning-parser", "qwen3", "--seed=1"], PINNED),
        (["--load-format=Safetensors"], PINNED),
        (["--tool-call-parser=acme", "--tool-parser-plugin=/models/x/p.py"], PINNED),
        (["--tool-call-parser=acme"], "acme/vllm:1"),
        (["--tool-call-parser=step5"], "vllm/vllm-openai:v0.33.0"),
    ],
)
def test_values_that_may_be_right_are_accepted(args: list[str], image: str) -> None:
    """Plugins and images that users build may have values that the table does not."""
    require_known_values(args, image)


def test_each_version_has_what_the_one_before_had() -> None:
    """The values of a version include those of the version before."""
    for option in OPTIONS:
        by_version = [known_values(option, minor) for minor in MINOR_VERSIONS]
        assert by_version == sorted(by_version, key=len)
        assert all(a <= b for a, b in itertools.pairwise(by_version))
        assert by_version[0]

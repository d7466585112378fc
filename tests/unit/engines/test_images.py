"""The names of images, as they are and as a mirror has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelshelf.engines.images import IMAGES, image
from modelshelf.shelf.errors import UsageError


def test_every_image_is_pinned_to_a_version_of_a_named_host() -> None:
    """No name rests on a default host or on a tag that moves."""
    for name in IMAGES.values():
        assert re.fullmatch(
            r"[a-z]+\.[a-z]+/[a-z0-9./-]+:[a-z-]*v?\d[\w.-]*\d[\w.-]*|.+-b\d+", name
        )
        assert "latest" not in name


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("ghcr.io/ggml-org/llama.cpp:server", "mirror:5000/hub/ggml-org/llama.cpp:server"),
        ("localhost/mine:1", "mirror:5000/hub/mine:1"),
        ("registry:80/a/b@sha256:00", "mirror:5000/hub/a/b@sha256:00"),
        ("lmsysorg/sglang:v1", "mirror:5000/hub/lmsysorg/sglang:v1"),
        ("python:3.13-slim", "mirror:5000/hub/library/python:3.13-slim"),
        ("mirror:5000/hub/there:1", "mirror:5000/hub/there:1"),
    ],
)
def test_a_mirror_takes_the_place_of_the_host(name: str, moved: str) -> None:
    """The host goes, also one that is only understood; what is on the mirror already stays."""
    assert image({}, "mirror:5000/hub/", "vllm", name) == moved
    assert image({}, None, "vllm", name) == name


def test_the_most_special_name_wins() -> None:
    """A server's own image is before the file's, and that before the table's."""
    assert image({"vllm": "a/b:1"}, None, "vllm", "c/d:1") == "c/d:1"
    assert image({"vllm": "a/b:1"}, None, "vllm") == "a/b:1"
    assert image({"vllm": "a/b:1"}, None, "python") == IMAGES["python"]


def test_an_image_of_nothing_is_refused() -> None:
    """A key that no pod has an image for is a mistake, and the error lists those that do."""
    with pytest.raises(UsageError, match=r"images\.vlm is the image of nothing") as caught:
        image({"vlm": "a/b:1"}, None, "vllm")
    assert caught.value.hint == "keys: llamacpp, llamacpp-cuda, python, vllm, vllm-cpu"


def test_the_reference_names_every_image() -> None:
    """The page that users read and the table that pods are made from say the same."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "rendered-server.md"
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\| `([^`]+:[^`]+)` \|$", page.read_text(), re.MULTILINE)
    assert dict(rows) == dict(IMAGES)

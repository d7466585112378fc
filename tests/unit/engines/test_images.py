"""The names of images, with and without a mirror."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelshelf.engines.images import IMAGES, choose_image
from modelshelf.shelf.errors import UsageError


def test_every_image_is_pinned_to_a_version_of_a_named_host() -> None:
    """No name relies on a default host or on a tag that can move."""
    for name in IMAGES.values():
        assert re.fullmatch(
            r"[a-z]+\.[a-z]+/[a-z0-9./-]+:[a-z-]*v?\d[\w.-]*\d[\w.-]*|.+-b\d+", name
        )
        assert "latest" not in name


@pytest.mark.parametrize(
    ("name", "mirrored"),
    [
        ("ghcr.io/ggml-org/llama.cpp:server", "mirror:5000/hub/ggml-org/llama.cpp:server"),
        ("localhost/my-image:1", "mirror:5000/hub/my-image:1"),
        ("registry:80/a/b@sha256:00", "mirror:5000/hub/a/b@sha256:00"),
        ("lmsysorg/sglang:v1", "mirror:5000/hub/lmsysorg/sglang:v1"),
        ("python:3.13-slim", "mirror:5000/hub/library/python:3.13-slim"),
        ("mirror:5000/hub/there:1", "mirror:5000/hub/there:1"),
    ],
)
def test_a_mirror_takes_the_place_of_the_host(name: str, mirrored: str) -> None:
    """The mirror replaces the host, also an implied one; a name on the mirror is unchanged."""
    assert choose_image({}, "mirror:5000/hub/", "vllm", name) == mirrored
    assert choose_image({}, None, "vllm", name) == name


def test_the_most_specific_name_wins() -> None:
    """A server's image takes precedence over the file's, and the file's over the table's."""
    assert choose_image({"vllm": "a/b:1"}, None, "vllm", "c/d:1") == "c/d:1"
    assert choose_image({"vllm": "a/b:1"}, None, "vllm") == "a/b:1"
    assert choose_image({"vllm": "a/b:1"}, None, "python") == IMAGES["python"]


def test_an_unknown_key_is_refused() -> None:
    """A key for which no pod has an image is an error; the hint lists the known keys."""
    with pytest.raises(
        UsageError, match=r"images\.vlm names no image that modelshelf uses"
    ) as caught:
        choose_image({"vlm": "a/b:1"}, None, "vllm")
    assert caught.value.hint == "keys: llamacpp, llamacpp-cuda, python, vllm, vllm-cpu"


def test_the_reference_names_every_image() -> None:
    """The reference page has the same images as the table that pods are made from."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "rendered-server.md"
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\| `([^`]+:[^`]+)` \|$", page.read_text(), re.MULTILINE)
    assert dict(rows) == dict(IMAGES)

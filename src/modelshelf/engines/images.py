"""The images that pods run: one table, pinned to versions, each overridable. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from modelshelf.shelf.errors import UsageError

IMAGES: Mapping[str, str] = {
    # Runs our own code: pulls, and the gates of engines whose image has no Python.
    "python": "docker.io/library/python:3.13-slim",
    "vllm": "docker.io/vllm/vllm-openai:v0.32.0",
    "vllm-cpu": "docker.io/vllm/vllm-openai-cpu:v0.32.0",
    "llamacpp": "ghcr.io/ggml-org/llama.cpp:server-b11434",
    "llamacpp-cuda": "ghcr.io/ggml-org/llama.cpp:server-cuda-b11434",
}
_DOCKER_HUB = "docker.io"


def image(
    images: Mapping[str, str], registry: str | None, key: str, override: str | None = None
) -> str:
    """The full name of an image.

    Args:
        images: Names that take the place of the table's, by key.
        registry: Where a mirror has all images, such as `mirror.example:5000/hub`; it takes the
            place of the host in the name.
        key: A key of `IMAGES`.
        override: A name that is more special than both.

    Raises:
        UsageError: `images` has a key that means nothing.
    """
    for unknown in sorted(set(images) - set(IMAGES)):
        raise UsageError(
            f"images.{unknown} is the image of nothing", hint=f"keys: {', '.join(sorted(IMAGES))}"
        )
    return moved(override or images.get(key) or IMAGES[key], registry)


def moved(name: str, registry: str | None) -> str:
    """An image's name as a mirror has it.

    A name without a host is Docker Hub's, and one without a slash is in its `library`:
    https://pkg.go.dev/github.com/distribution/reference
    """
    if not registry:
        return name
    registry = registry.rstrip("/")
    if name.startswith(f"{registry}/"):
        return name
    host, separator, rest = name.partition("/")
    if not separator:
        host, rest = _DOCKER_HUB, f"library/{name}"
    elif not ("." in host or ":" in host or host == "localhost"):
        rest = name
    return f"{registry}/{rest}"

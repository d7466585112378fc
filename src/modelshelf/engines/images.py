"""The images that pods run: one table, pinned to versions. Users can override each entry. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from modelshelf.shelf.errors import UsageError

IMAGES: Mapping[str, str] = {
    # Runs modelshelf's own code: pulls, and gates before engines whose image has no Python.
    "python": "docker.io/library/python:3.13-slim",
    "vllm": "docker.io/vllm/vllm-openai:v0.32.0",
    "vllm-cpu": "docker.io/vllm/vllm-openai-cpu:v0.32.0",
    "llamacpp": "ghcr.io/ggml-org/llama.cpp:server-b11434",
    "llamacpp-cuda": "ghcr.io/ggml-org/llama.cpp:server-cuda-b11434",
}
_DOCKER_HUB = "docker.io"


def choose_image(
    images: Mapping[str, str], registry: str | None, key: str, override: str | None = None
) -> str:
    """Choose an image, and return its full name.

    Args:
        images: The user's names by key; each replaces the table's name.
        registry: The mirror that has all images, such as `mirror.example:5000/hub`. It replaces the
            host in the name.
        key: A key of `IMAGES`.
        override: A name that takes precedence over both `images` and the table.

    Raises:
        UsageError: `images` has an unknown key.
    """
    for unknown in sorted(set(images) - set(IMAGES)):
        raise UsageError(
            f"images.{unknown} names no image that modelshelf uses",
            hint=f"keys: {', '.join(sorted(IMAGES))}",
        )
    return mirrored_image(override or images.get(key) or IMAGES[key], registry)


def mirrored_image(name: str, registry: str | None) -> str:
    """The name under which a mirror has an image; the same name if there is no mirror.

    An image's name without a host means Docker Hub, and a name without a slash means its folder
    `library`: https://pkg.go.dev/github.com/distribution/reference
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

"""The programs whose pulls are compared: ours, snapshot_download, and curl as the lower bound.

hf_xet is not among them, since no local hub can serve its protocol.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from bench.nginx_hub import Model
from bench.timing import python

STREAMS = 4
Contender = Callable[[Model, str, str], list[list[str]]]

_SNAPSHOT = (
    "import sys; from huggingface_hub import snapshot_download;"
    " snapshot_download(sys.argv[1], local_dir=sys.argv[2])"
)


def ours(model: Model, url: str, folder: str) -> list[list[str]]:
    """Run `modelshelf pull` as a user does; it verifies and publishes."""
    del url  # HF_ENDPOINT names the hub
    shelf = os.path.join(folder, "shelf")
    source = f"hf://{model.repo_id}"
    return [python("-m", "modelshelf", "pull", source, "--shelf", shelf, "-q")]


def snapshot_download(model: Model, url: str, folder: str) -> list[list[str]]:
    """Run huggingface_hub's download into a folder; it verifies lengths alone."""
    del url
    return [python("-c", _SNAPSHOT, model.repo_id, os.path.join(folder, "local"))]


def curls(model: Model, url: str, folder: str) -> list[list[str]]:
    """Run four curls: one for each of four files, or one for each quarter of one file."""
    base = f"{url}/{model.repo_id}/resolve/{model.commit}"
    if len(model.weights) == STREAMS:
        parts = [(f"{base}/{file.name}", f"0-{file.size - 1}") for file in model.weights]
    else:
        (file,) = model.weights
        bounds = [file.size * n // STREAMS for n in range(STREAMS + 1)]
        ranges = [f"{bounds[n]}-{bounds[n + 1] - 1}" for n in range(STREAMS)]
        parts = [(f"{base}/{file.name}", part) for part in ranges]
    return [
        ["curl", "-sSf", "-r", part, "-o", os.path.join(folder, f"part{n}"), address]
        for n, (address, part) in enumerate(parts)
    ]


CONTENDERS: dict[str, Contender] = {
    "modelshelf pull": ours,
    "snapshot_download": snapshot_download,
    "four curls": curls,
}
OURS, SNAPSHOT, CURLS = CONTENDERS

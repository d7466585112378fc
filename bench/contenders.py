"""The programs whose pulls are compared: ours, snapshot_download, and curl.

curl alone is the lower bound: it checks nothing. With `openssl dgst` after it, it is what a careful
person does by hand.

hf_xet is not among them, since no local hub can serve its protocol.
"""

from __future__ import annotations

import os
import shlex
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


def hashed_curls(model: Model, url: str, folder: str) -> list[list[str]]:
    """Run four curls, and hash what they brought by OpenSSL.

    Each of four files is hashed by the shell that fetched it. The quarters of one file are hashed
    together, once all are there.
    """
    commands = curls(model, url, folder)
    paths = [command[command.index("-o") + 1] for command in commands]
    fetches = [shlex.join(command) for command in commands]
    if len(model.weights) == STREAMS:
        hashes = [f"openssl dgst -sha256 {shlex.quote(path)}" for path in paths]
        scripts = [f"{fetch} && {digest}" for fetch, digest in zip(fetches, hashes, strict=True)]
    else:
        begin = " ".join(f"{fetch} & p{n}=$!;" for n, fetch in enumerate(fetches))
        wait = " && ".join(f"wait $p{n}" for n in range(STREAMS))
        scripts = [f"{begin} {wait} && cat {shlex.join(paths)} | openssl dgst -sha256"]
    return [["sh", "-c", script] for script in scripts]


CONTENDERS: dict[str, Contender] = {
    "modelshelf pull": ours,
    "snapshot_download": snapshot_download,
    "four curls": curls,
    "four curls, openssl": hashed_curls,
}
OURS, SNAPSHOT, CURLS, HASHED_CURLS = CONTENDERS

"""Small modelshelf.yaml files and locks as input for rendering."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from modelshelf.config.file import Config, parse
from modelshelf.config.lock import Lock, LockedModel, choice_for
from modelshelf.shelf.values import File, Snapshot

COMMIT = "c0ffee00" * 5
NFS = "nfs: {server: 10.0.0.2, path: /export/models}"
MODELS = "tiny: {source: hf://acme/tiny}"


def config(shelf: str = NFS, *, models: str = MODELS, servers: str = "", more: str = "") -> Config:
    """A modelshelf.yaml for the namespace `llm`; each argument is the YAML of a section."""
    sections = {"shelf": shelf, "models": models, "servers": servers}
    text = "namespace: llm\n" + "".join(
        f"{name}:\n{textwrap.indent(textwrap.dedent(part), '  ')}\n"
        for name, part in sections.items()
        if part
    )
    return parse(f"{text}{textwrap.dedent(more)}")


def snapshot(
    repo_id: str = "acme/tiny", *, size: int = 1000, name: str = "model.safetensors"
) -> Snapshot:
    """A snapshot of a file with weights and a file without."""
    files = (
        File("config.json", 2, git_sha1="0" * 40),
        File(name, size - 2, lfs_sha256="1" * 64),
    )
    return Snapshot(f"hf://{repo_id}@main", repo_id, "main", COMMIT, files)


def pinned(of: Snapshot) -> Snapshot:
    """The same snapshot, requested by its commit instead of by `main`."""
    return replace(of, source=f"hf://{of.repo_id}@{of.commit}", revision=of.commit)


def lock(config: Config, *, size: int = 1000) -> Lock:
    """A lock of all models of a file; each has two files and the same commit."""
    return Lock(
        {
            key: LockedModel(
                model.source,
                choice_for(config, key),
                snapshot(model.source.removeprefix("hf://").partition("@")[0], size=size),
            )
            for key, model in config.models.items()
        }
    )

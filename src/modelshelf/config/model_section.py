"""`models:` of modelshelf.yaml: where each model comes from, and which of its files to take."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelshelf.config.section import Section
from modelshelf.config.value_types import Inside, RepoId, Source, Text

ModelEngine = Literal["vllm", "llamacpp"]


class ModelConfig(Section):
    """One model: where it comes from, and which of its files to take."""

    source: Source = Field(
        description="`hf://org/name` or `hf://org/name@revision`. The revision is a branch, a tag "
        "or a commit; the default is main. It is resolved once, and modelshelf.lock keeps the "
        "commit."
    )
    name: RepoId | None = Field(
        None,
        description="The model's name on the shelf, `org/name`. The default is the name of the "
        "repository.",
    )
    engine: ModelEngine | None = Field(
        None,
        description="The engine to choose files for: vllm or llamacpp. The default is the engine "
        "of the servers that serve this model.",
    )
    include: tuple[Text, ...] = Field(
        (),
        description="Patterns of the files to take. For GGUF a pattern names the quantisation, as "
        "in `*Q4_K_M*`.",
    )
    exclude: tuple[Text, ...] = Field((), description="Patterns of files to leave out.")
    all_files: bool = Field(
        False,
        description="Take all files that are allowed, not only those that the engine needs.",
    )
    allow_unsafe: bool = Field(
        False,
        description="Allow pickles and Python code. They run code of their author inside your "
        "cluster, so this is off by default.",
    )
    from_: Inside | None = Field(
        None,
        alias="from",
        description="A folder on the share that holds an earlier download, relative to the root of "
        "the share. Files whose checksum is right are linked or copied from there, and are not "
        "fetched again.",
    )

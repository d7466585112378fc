"""`Config`: the whole of modelshelf.yaml."""

from __future__ import annotations

from pydantic import Field

from modelshelf.config.model_section import ModelConfig
from modelshelf.config.pull_section import HubConfig, PullConfig
from modelshelf.config.section import Section
from modelshelf.config.server_section import ServerConfig
from modelshelf.config.shelf_section import ShelfConfig
from modelshelf.config.value_types import Image, ImageKey, Key, Namespace, Registry, Text


class Config(Section):
    """The keys at the top of modelshelf.yaml."""

    name: Key = Field(
        "models",
        description="A name for this file. Labels carry it, so that the objects of this file can "
        "be told from those of another file in the same namespace.",
    )
    context: Text | None = Field(
        None,
        description="The kubeconfig context to use. By default the current context is used; set "
        "this key so that the file can never be applied to another cluster.",
    )
    namespace: Namespace = Field(
        description="The namespace for all objects. `up` creates it if it does not exist."
    )
    registry: Registry | None = Field(
        None,
        description="A registry that mirrors all images. It replaces the host in every image name.",
    )
    images: dict[ImageKey, Image] = Field(
        {},
        description="Images to use instead of the pinned ones. The keys are python, vllm, "
        "vllm-cpu, llamacpp and llamacpp-cuda.",
    )
    shelf: ShelfConfig = Field(description="Where the models are stored.")
    hub: HubConfig = Field(HubConfig(), description="Where the models come from.")  # type: ignore[call-arg]
    pull: PullConfig = Field(PullConfig(), description="How the Jobs that pull models run.")  # type: ignore[call-arg]
    models: dict[Key, ModelConfig] = Field(description="The models. You choose their names.")
    servers: dict[Key, ServerConfig] = Field(
        {}, description="The servers. The name of a server is also the name of its Service."
    )

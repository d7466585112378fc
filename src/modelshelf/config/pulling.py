"""`hub:`, `pull:` and `models:` of modelshelf.yaml: what is pulled, from where, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelshelf.config.values import (
    DataKey,
    Image,
    Inside,
    ObjectName,
    Positive,
    RepoId,
    Resources,
    Section,
    Source,
    Text,
    Toleration,
    Url,
)

ModelEngine = Literal["vllm", "llamacpp"]


class SecretRef(Section):
    """A key of an existing Secret."""

    name: ObjectName = Field(description="The Secret, in the same namespace.")
    key: DataKey = Field("token", description="Its key.")


class HubConfig(Section):
    """The Hugging Face Hub, or a mirror of it."""

    endpoint: Url = Field(
        "https://huggingface.co",
        description="Where pods fetch from, and `lock` asks unless HF_ENDPOINT is set.",
    )
    secret: SecretRef | None = Field(
        None,
        description="An existing Secret with a token, for pull Jobs alone. By default `up` makes "
        "one of HF_TOKEN or --token-file, if there is any.",
    )


class Proxy(Section):
    """The proxy of pull Jobs."""

    http: Url | None = Field(None, description="For http:// URLs (HTTP_PROXY).")
    https: Url | None = Field(None, description="For https:// URLs (HTTPS_PROXY).")
    no: Text | None = Field(None, description="Hosts without it, with commas (NO_PROXY).")


class CaRef(Section):
    """A key of an existing ConfigMap with certificates."""

    config_map: ObjectName = Field(description="The ConfigMap, in the same namespace.")
    key: DataKey = Field("ca.crt", description="Its key: certificates as PEM.")


class PullConfig(Section):
    """How pull Jobs run."""

    image: Image | None = Field(
        None, description="An image with Python 3.11 or newer; by default the stock one of Python."
    )
    node_selector: dict[str, str] = Field(
        {}, description="Labels of the nodes to pull on, such as those with a fast network."
    )
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that the Jobs put up with.")
    resources: Resources | None = Field(
        None, description="Requests and limits, merged over the usual ones."
    )
    proxy: Proxy | None = Field(None, description="The proxy that the Hub is reached through.")
    ca: CaRef | None = Field(
        None, description="Certificates to trust besides the image's, for a proxy or a mirror."
    )
    deadline: Positive | None = Field(
        None,
        description="Seconds after which a pull is given up; by default 6 hours, and "
        "more for what 5 MB/s would not be enough for.",
    )


class ModelConfig(Section):
    """One model: where it comes from, and which of its files are wanted."""

    source: Source = Field(
        description="`hf://org/name` or `hf://org/name@revision`. The revision (a branch, tag or "
        "commit; main by default) is resolved once, into modelshelf.lock."
    )
    name: RepoId | None = Field(
        None, description="`org/name` on the shelf; by default the repository's own."
    )
    engine: ModelEngine | None = Field(
        None,
        description="Whose files to choose: vllm or llamacpp. By default that of the servers of "
        "this model.",
    )
    include: tuple[Text, ...] = Field(
        (),
        description="Patterns that narrow the choice; for GGUF they name the quantisation, as in "
        "`*Q4_K_M*`.",
    )
    exclude: tuple[Text, ...] = Field((), description="Patterns of files that are left out.")
    all_files: bool = Field(False, description="Everything that is allowed, not only what serves.")
    allow_unsafe: bool = Field(
        False,
        description="Allow pickles and Python code, which run what their author wrote. Off, "
        "because that happens in your cluster.",
    )
    from_: Inside | None = Field(
        None,
        alias="from",
        description="A folder on the share, relative to its root, with an earlier download: what "
        "is right there is linked or copied, and not fetched again.",
    )

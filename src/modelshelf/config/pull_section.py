"""`hub:` and `pull:` of modelshelf.yaml: where models come from, and how pull Jobs run."""

from __future__ import annotations

from pydantic import Field

from modelshelf.config.section import Section
from modelshelf.config.value_types import (
    DataKey,
    Image,
    ObjectName,
    Positive,
    Resources,
    Text,
    Toleration,
    Url,
)


class SecretRef(Section):
    """A key of an existing Secret."""

    name: ObjectName = Field(description="The name of the Secret, in the same namespace.")
    key: DataKey = Field("token", description="The key in the Secret.")


class HubConfig(Section):
    """The Hugging Face Hub, or a mirror of it."""

    endpoint: Url | None = Field(
        None,
        description="The URL that pods fetch models from. `lock` asks the same URL, unless "
        "HF_ENDPOINT is set. By default pods ask the Hub that `lock` asked: that of HF_ENDPOINT, "
        "or https://huggingface.co.",
    )
    secret: SecretRef | None = Field(
        None,
        description="An existing Secret that holds a token. Only pull Jobs get the token. By "
        "default `up` creates a Secret from HF_TOKEN or --token-file, if either is given.",
    )


class Proxy(Section):
    """The proxy that pull Jobs use."""

    http: Url | None = Field(None, description="The proxy for http:// URLs (HTTP_PROXY).")
    https: Url | None = Field(None, description="The proxy for https:// URLs (HTTPS_PROXY).")
    no: Text | None = Field(
        None,
        description="Hosts that are reached without the proxy, separated by commas (NO_PROXY).",
    )


class CaRef(Section):
    """A key of an existing ConfigMap that holds certificates."""

    config_map: ObjectName = Field(description="The name of the ConfigMap, in the same namespace.")
    key: DataKey = Field(
        "ca.crt", description="The key in the ConfigMap. Its value is certificates as PEM."
    )


class PullConfig(Section):
    """How pull Jobs run."""

    image: Image | None = Field(
        None,
        description="An image that has Python 3.11 or newer. The default is the official Python "
        "image.",
    )
    node_selector: dict[str, str] = Field(
        {},
        description="Labels of the nodes to pull on, such as nodes that have a fast network.",
    )
    tolerations: tuple[Toleration, ...] = Field(
        (), description="Taints that the Jobs tolerate, as in a pod's `tolerations`."
    )
    resources: Resources | None = Field(
        None, description="Requests and limits. They replace the default ones, amount by amount."
    )
    proxy: Proxy | None = Field(None, description="The proxy through which Jobs reach the Hub.")
    ca: CaRef | None = Field(
        None,
        description="Certificates to trust besides those of the image, for a proxy or a mirror.",
    )
    deadline: Positive | None = Field(
        None,
        description="The number of seconds after which a pull fails. The default is 6 hours, or "
        "longer if the model would need longer at 5 MB/s.",
    )

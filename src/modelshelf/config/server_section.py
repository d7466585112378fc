"""`servers:` of modelshelf.yaml: which model each server serves, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelshelf.config.section import Section
from modelshelf.config.value_types import (
    ApiName,
    Count,
    HttpPath,
    Image,
    Namespace,
    ObjectName,
    Port,
    Positive,
    Resource,
    Resources,
    Size,
    Text,
    Toleration,
    Uid,
    Variable,
)

Engine = Literal["vllm", "llamacpp", "custom"]
Load = Literal["auto", "prefetch", "lazy", "stream"]


class ServerConfig(Section):
    """One server: a named service that serves one model."""

    model: Text = Field(description="The model to serve: a key of `models`.")
    engine: Engine = Field(
        "vllm",
        description="The engine: vllm, llamacpp, or custom for any image that loads a model from a "
        "path.",
    )
    replicas: Count = Field(
        1,
        description="The number of pods to start with. It is applied when the server is created "
        "and when this number changes. At other times the live count stays, because `scale` or an "
        "autoscaler may have set it.",
    )
    gpus: Count | None = Field(
        None,
        description="The number of GPUs for each pod. The default is 1 for vllm and 0 for the "
        "other engines.",
    )
    gpu_resource: Resource = Field(
        "nvidia.com/gpu",
        description="The name of the cluster's resource for GPUs, such as amd.com/gpu.",
    )
    image: Image | None = Field(
        None,
        description="The image of the engine. By default modelshelf uses the image that it pins "
        "for this engine, for GPUs or for CPUs. The custom engine requires this key.",
    )
    command: tuple[Text, ...] = Field(
        (),
        description="custom only: the command to run. Leave it out if the image's own command "
        "works with `args`. In `command` and `args`, {model} is replaced by the path of the model, "
        "{port} by the port and {name} by the model's name in the API.",
    )
    health: HttpPath = Field(
        "/health",
        description="custom only: the HTTP path that answers 200 once the model is loaded.",
    )
    port: Port | None = Field(
        None,
        description="The port that the engine listens on in its container. The default is 8000 for "
        "every engine.",
    )
    args: tuple[Text, ...] = Field(
        (), description="More arguments for the engine. They are added to its command."
    )
    env: dict[Variable, str] = Field({}, description="Environment variables for the engine.")
    resources: Resources | None = Field(
        None,
        description="Requests and limits. They replace the amounts that are computed from the "
        "model, amount by amount.",
    )
    node_selector: dict[str, str] = Field({}, description="Labels of the nodes to serve on.")
    tolerations: tuple[Toleration, ...] = Field(
        (),
        description="Taints that the pods tolerate, as in a pod's `tolerations`. The taint of GPU "
        "nodes is always tolerated.",
    )
    priority_class: ObjectName | None = Field(
        None,
        description="The pods' PriorityClass. It decides which pods are evicted first when GPUs "
        "run out.",
    )
    name: ApiName | None = Field(
        None,
        description="The model's name in the API. The default is the name of the server.",
    )
    context_length: Positive | None = Field(
        None,
        description="The number of tokens that one request and its answer may have together. The "
        "default is what the model states. With llamacpp on CPUs the default is 8192 tokens for "
        "all requests together, because a model's own context can need more memory than any pod "
        "has.",
    )
    parallel: Positive | None = Field(
        None,
        description="The number of requests that one pod processes at the same time. The default "
        "is 4 for llamacpp. For vllm the default is vLLM's own.",
    )
    drain: Count | None = Field(
        None,
        description="The number of seconds that requests under way get to finish when a pod stops. "
        "The default is 120 for vllm, which finishes them after SIGTERM, and 30 for the other "
        "engines.",
    )
    start_within: Positive | None = Field(
        None,
        description="The number of seconds that a pod may take to load the model. By default it is "
        "computed from the size of the model and `shelf.speed`.",
    )
    load: Load = Field(
        "auto",
        description="vllm only: how the weights are read. prefetch reads them into memory ahead of "
        "the engine, lazy maps the files into memory, and stream bypasses the page cache with "
        "Run:ai's streamer. auto chooses by the kind of the shelf, the size of the model, the "
        "memory and the GPUs, and reports its choice. Arguments such as --load-format in `args` "
        "take precedence.",
    )
    prime: bool = Field(
        False,
        description="vllm only: `up` runs the engine once in a Job with the same resources, and "
        "publishes its compile cache on the shelf. Each start then unpacks the cache instead of "
        "compiling again.",
    )
    fast_start: bool | None = Field(
        None,
        description="vllm only: fork the engine's processes from one process that has already "
        "imported vLLM, so that they do not import it one after another. The default is on without "
        "GPUs and off with GPUs, because nobody has measured it with GPUs. A version of vLLM that "
        "this was not tested with starts in the usual way.",
    )
    spare: bool = Field(
        False,
        description="Set this to true if the cluster has spare GPUs: then new pods start before "
        "old pods stop. The default is false, because without spare GPUs such a rollout would "
        "wait forever.",
    )
    allow_from: tuple[Namespace, ...] | None = Field(
        None,
        description="The namespaces that may connect to the server. By default all may, because "
        "modelshelf cannot know where your clients are.",
    )
    user: Uid | None = Field(
        None,
        description="The uid that the engine runs as. The default is 2000 for vllm, which is the "
        "user of vLLM's image, and `shelf.user` for the other engines.",
    )
    group: Count | None = Field(None, description="The gid that the engine runs as.")
    shm: Size | None = Field(
        None,
        description="The size of /dev/shm. By default it is computed from the number of GPUs.",
    )
    progress_deadline: Positive | None = Field(
        None,
        description="The number of seconds without progress after which a rollout counts as "
        "failed. The default is longer than `startWithin`, because the 600 seconds that "
        "Kubernetes allows by default are too short for a large model.",
    )

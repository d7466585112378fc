"""`servers:` of modelshelf.yaml: what is served, with which engine, and how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelshelf.config.values import (
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
    Section,
    Size,
    Text,
    Toleration,
    Uid,
    Variable,
)

Engine = Literal["vllm", "llamacpp", "custom"]
Load = Literal["auto", "prefetch", "lazy", "stream"]


class ServerConfig(Section):
    """One named service of one model."""

    model: Text = Field(description="A key of `models`.")
    engine: Engine = Field(
        "vllm",
        description="vllm, llamacpp, or custom for any image that loads a model from a path.",
    )
    replicas: Count = Field(
        1,
        description="Pods to begin with. Sent at creation and when this number changes; between "
        "them the live count, which `scale` or an autoscaler sets, stays.",
    )
    gpus: Count | None = Field(
        None, description="GPUs for each pod; by default 1 for vllm and 0 for the others."
    )
    gpu_resource: Resource = Field(
        "nvidia.com/gpu", description="What the cluster calls its GPUs, such as amd.com/gpu."
    )
    image: Image | None = Field(
        None,
        description="The engine's image; by default the pinned one of `modelshelf` for this "
        "engine and for GPU or CPU. custom needs one.",
    )
    command: tuple[Text, ...] = Field(
        (),
        description="custom: the command, unless the image has one that `args` suffice for. In "
        "both, {model} becomes the model's path, {port} the port and {name} the model's name in "
        "the API.",
    )
    health: HttpPath = Field(
        "/health",
        description="custom: the path that answers with 200 once the model is loaded.",
    )
    port: Port | None = Field(
        None, description="The port in the container; by default 8000, whatever the engine."
    )
    args: tuple[Text, ...] = Field(
        (), description="Arguments that are added to the engine's command."
    )
    env: dict[Variable, str] = Field({}, description="Environment variables of the engine.")
    resources: Resources | None = Field(
        None,
        description="Requests and limits, merged over those that are computed from the model.",
    )
    node_selector: dict[str, str] = Field({}, description="Labels of the nodes to serve on.")
    tolerations: tuple[Toleration, ...] = Field(
        (), description="Taints that the pods put up with, besides that of GPU nodes."
    )
    priority_class: ObjectName | None = Field(
        None, description="A PriorityClass: who gives way when GPUs run out."
    )
    name: ApiName | None = Field(
        None, description="The model's name in the API; by default the server's key."
    )
    context_length: Positive | None = Field(
        None,
        description="Tokens that one request and its answer may have together; by default what "
        "the model states. llamacpp on a CPU has 8192 for all requests together instead, since a "
        "model's own length can be more than the memory of any pod.",
    )
    parallel: Positive | None = Field(
        None,
        description="Requests that one pod works on at a time; by default 4 for llamacpp, and "
        "what vLLM chooses.",
    )
    drain: Count | None = Field(
        None,
        description="Seconds that requests in flight have to finish when a pod stops; by default "
        "120 for vllm, which finishes them after SIGTERM, and 30 for the others.",
    )
    start_within: Positive | None = Field(
        None,
        description="Seconds that a pod may take to load; by default computed from the model's "
        "size and `shelf.speed`.",
    )
    load: Load = Field(
        "auto",
        description="vllm: how weights are read. prefetch reads them ahead into memory, lazy maps "
        "them, stream goes past the page cache (Run:ai's streamer). auto chooses by where the "
        "shelf lies, the model's size, the memory and the GPUs, and says so; --load-format and "
        "the like in `args` win.",
    )
    prime: bool = Field(
        False,
        description="vllm: `up` lets the engine compile once, in a Job with the same resources, "
        "and puts what it made on the shelf; each start unpacks that instead of compiling again.",
    )
    fast_start: bool | None = Field(
        None,
        description="vllm: its processes are forked from one that has imported it, instead of "
        "importing it one after another. By default on without GPUs, and off with them, where "
        "nobody has measured it. A version of vLLM that it was not tested with starts as usual.",
    )
    spare: bool = Field(
        False,
        description="The cluster has GPUs to spare: new pods start before old ones stop. Off, "
        "because a rollout would wait for ever for a GPU that nobody has.",
    )
    allow_from: tuple[Namespace, ...] | None = Field(
        None,
        description="Namespaces that may connect. By default any, since a default cannot know "
        "where clients are.",
    )
    user: Uid | None = Field(
        None,
        description="The uid of the engine; by default the one that vLLM's image expects (2000), "
        "and `shelf.user` for the others.",
    )
    group: Count | None = Field(None, description="The gid that goes with it.")
    shm: Size | None = Field(
        None, description="How large /dev/shm is; by default what the number of GPUs needs."
    )
    progress_deadline: Positive | None = Field(
        None,
        description="Seconds without progress after which a rollout counts as failed; by default "
        "more than `startWithin`, since Kubernetes' 600 end a long load.",
    )

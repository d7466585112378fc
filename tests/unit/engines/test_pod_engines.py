"""The container of each engine in a pod."""

from __future__ import annotations

from typing import Any

import pytest
from support.render_inputs import snapshot

from modelshelf.config.server_section import ServerConfig
from modelshelf.engines import POD_ENGINES
from modelshelf.engines.pod_engine import Container, DrainSeconds, PodOptions, StartOptions
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import File, Snapshot

GB = 10**9
GGUF = snapshot("acme/tiny-gguf", size=98_000_000, name="tiny.Q4_K_M.gguf")
MISTRAL = snapshot("acme/mistral", size=14 * GB)
TMP = "/tmp"
# The model has 14 GB. Of 25 GiB, the engine takes 8 and /dev/shm 2.
ON_NFS = "by prefetch, since it lies on NFS, and memory has 15.0 GiB for its 13.0 GiB"


def make_container(of: Snapshot, engine: str, **server: Any) -> Container:
    """Make the container of a server that has ten minutes to start; its name is `my-server`."""
    options = PodOptions("/models/my-server", server.get("name", "my-server"), 600)
    config = ServerConfig.model_validate({"model": "m", "engine": engine, **server})
    return POD_ENGINES[engine].make_container(of, config, options)


def test_vllm_on_a_gpu() -> None:
    """The container has a GPU, the image's user, folders to write to, and time to drain."""
    assert make_container(MISTRAL, "vllm") == Container(
        image="docker.io/vllm/vllm-openai:v0.32.0",
        command=("vllm", "serve", "/models/my-server"),
        args=(
            "--served-model-name=my-server",
            "--host=0.0.0.0",
            "--port=8000",
            "--shutdown-timeout=60",
            "--max-num-queued-reqs=2048",
            "--disable-access-log-for-endpoints=/health,/metrics,/ping",
            "--load-format=safetensors",
            "--safetensors-load-strategy=prefetch",
        ),
        env={
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HOME": "/home/vllm",
            "USER": "vllm",
            "VLLM_ENGINE_READY_TIMEOUT_S": "600",
            "VLLM_NO_USAGE_STATS": "1",
        },
        port=8000,
        health_path="/health",
        model="my-server",
        start=StartOptions(prefetch=True, load=ON_NFS, fork=None),
        user=2000,
        group=0,
        writable={"/home/vllm": "10Gi", TMP: "5Gi"},
        disk="2Gi",
        shm="2Gi",
        cpu="4",
        memory="25Gi",
        gpus=1,
        gpu_resource="nvidia.com/gpu",
        drain=DrainSeconds(10, 60, 60, 15),
        read_only_root=False,
    )


def test_llamacpp_on_a_cpu() -> None:
    """llama.cpp gets a context that fits its memory, a read-only root, and time to drain."""
    assert make_container(GGUF, "llamacpp") == Container(
        image="ghcr.io/ggml-org/llama.cpp:server-b11434",
        command=("/app/llama-server",),
        args=(
            *("--model", "/models/my-server/tiny.Q4_K_M.gguf", "--alias", "my-server"),
            *("--host", "0.0.0.0", "--port", "8000", "--kv-unified", "--ctx-size", "8192"),
            *("--parallel", "4", "--cache-ram", "256"),
            *("--offline", "--no-webui", "--no-slots", "--metrics"),
        ),
        env={"HOME": TMP},
        port=8000,
        health_path="/health",
        model="my-server",
        start=None,
        user=None,
        group=None,
        writable={TMP: "1Gi"},
        disk="64Mi",
        shm=None,
        cpu="1",
        memory="1536Mi",
        gpus=0,
        gpu_resource="nvidia.com/gpu",
        drain=DrainSeconds(30),
        read_only_root=True,
    )


def test_any_engine_that_loads_from_a_path() -> None:
    """The placeholders for path, port and name are filled; other braces stay."""
    command = ("python3", "-m", "sglang.launch_server", "--model-path={model}", "--port", "{port}")
    found = make_container(
        *(MISTRAL, "custom"),
        image="lmsysorg/sglang:v0.5",
        command=command,
        args=("--served-model-name", "{name}", '--json={"a": {}}'),
        health="/health_generate",
        gpus=2,
        port=30_000,
        env={"HOME": "/root"},
        drain=60,
    )
    assert found == Container(
        image="lmsysorg/sglang:v0.5",
        command=(*command[:3], "--model-path=/models/my-server", "--port", "30000"),
        args=("--served-model-name", "my-server", '--json={"a": {}}'),
        env={"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HOME": "/root"},
        port=30_000,
        health_path="/health_generate",
        model="my-server",
        start=None,
        user=None,
        group=None,
        writable={"/home/engine": "10Gi", TMP: "5Gi"},
        disk="2Gi",
        shm="8Gi",
        cpu="6",
        memory="31Gi",
        gpus=2,
        gpu_resource="nvidia.com/gpu",
        drain=DrainSeconds(60),
        read_only_root=False,
    )


def test_vllm_follows_the_file() -> None:
    """Each setting becomes an argument of the engine, and the user's arguments come last."""
    found = make_container(
        *(MISTRAL, "vllm"),
        gpus=4,
        port=9000,
        context_length=4096,
        parallel=200,
        drain=5,
        shm="1Gi",
        user=3000,
        group=3001,
        args=("--seed=1",),
        env={"VLLM_LOGGING_LEVEL": "DEBUG", "HF_HUB_OFFLINE": "0"},
    )
    assert found.args == (
        "--served-model-name=my-server",
        "--host=0.0.0.0",
        "--port=9000",
        "--shutdown-timeout=2",
        "--max-num-queued-reqs=400",
        "--disable-access-log-for-endpoints=/health,/metrics,/ping",
        "--max-model-len=4096",
        "--max-num-seqs=200",
        "--tensor-parallel-size=4",
        "--load-format=safetensors",
        "--safetensors-load-strategy=prefetch",
        "--seed=1",
    )
    assert (found.port, found.cpu, found.shm, found.memory) == (9000, "10", "1Gi", "24Gi")
    assert (found.user, found.group, found.drain) == (3000, 3001, DrainSeconds(5, 3, 2, 15))
    assert found.env["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert found.env["HF_HUB_OFFLINE"] == "0"


def test_vllm_without_a_gpu_has_its_own_image_and_memory() -> None:
    """On a CPU the key-value cache has a limit; without one it takes all of the node's memory."""
    found = make_container(MISTRAL, "vllm", gpus=0)
    assert found.image == "docker.io/vllm/vllm-openai-cpu:v0.32.0"
    assert found.env["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert (found.gpus, found.cpu, found.memory) == (0, "2", "42Gi")


@pytest.mark.parametrize(
    ("drain", "keep_serving", "before_sigterm"),
    [(0, 0, 0), (1, 1, 2), (5, 5, 8), (600, 10, 310)],
)
def test_vllm_has_the_seconds_of_the_file_to_finish(
    drain: int, keep_serving: int, before_sigterm: int
) -> None:
    """Requests get half of them before SIGTERM and half after it, besides two fixed steps."""
    found = make_container(MISTRAL, "vllm", drain=drain).drain
    assert (found.keep_serving, found.before_sigterm) == (keep_serving, before_sigterm)
    assert found.grace_period == keep_serving + drain + 15


@pytest.mark.parametrize("part", ["requests", "limits"])
def test_vllm_streams_into_memory_that_the_user_made_too_small(part: str) -> None:
    """Such a model is streamed and not prefetched; a request without a limit is the limit, too."""
    found = make_container(MISTRAL, "vllm", resources={part: {"memory": "16Gi"}})
    assert "--load-format=runai_streamer" in found.args
    assert found.start is not None
    assert not found.start.prefetch


@pytest.mark.parametrize(
    ("server", "context"),
    [
        pytest.param(
            {}, ("--kv-unified", "--ctx-size", "8192", "--parallel", "4"), id="by default"
        ),
        pytest.param(
            {"gpus": 1}, ("--kv-unified", "--parallel", "4"), id="as much as fits on a GPU"
        ),
        pytest.param(
            {"context_length": 512},
            ("--ctx-size", "2048", "--parallel", "4"),
            id="for each request",
        ),
        pytest.param(
            {"context_length": 512, "parallel": 2, "resources": {"requests": {"cpu": "1500m"}}},
            ("--ctx-size", "1024", "--parallel", "2", "--threads", "2"),
            id="two slots, and configured cores",
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "4"}, "requests": {"cpu": "1"}}},
            ("--kv-unified", "--ctx-size", "8192", "--parallel", "4", "--threads", "4"),
            id="no more threads than the limit of cores",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "4Gi"}}},
            ("--kv-unified", "--ctx-size", "8192", "--parallel", "4"),
            id="a quantity of cores that Kubernetes refuses",
        ),
    ],
)
def test_llamacpp_context_is_for_each_request_where_it_is_given(
    server: dict[str, Any], context: tuple[str, ...]
) -> None:
    """A contextLength is that of one request; without it, all requests share one context."""
    args = make_container(GGUF, "llamacpp", **server).args
    assert args[args.index("8000") + 1 : args.index("--cache-ram")] == context


def test_llamacpp_on_a_gpu_has_its_own_image() -> None:
    """With a GPU the image is built for CUDA, and the root filesystem is writable."""
    found = make_container(GGUF, "llamacpp", gpus=1, shm="64Mi", args=("--flash-attn", "on"))
    assert found.image == "ghcr.io/ggml-org/llama.cpp:server-cuda-b11434"
    assert not found.read_only_root
    assert (found.gpus, found.shm, found.memory) == (1, "64Mi", "1600Mi")
    assert found.args[-2:] == ("--flash-attn", "on")


def test_llamacpp_takes_the_first_part_and_the_projector() -> None:
    """The command line has the first part of a split model, and the projector for images."""
    names = ("q/x-00002-of-00002.gguf", "q/x-00001-of-00002.gguf", "q/mmproj-x-f16.gguf")
    files = tuple(File(name, 1, lfs_sha256="a" * 64) for name in sorted(names))
    args = make_container(
        Snapshot("hf://a/b@main", "a/b", "main", "c" * 40, files), "llamacpp"
    ).args
    assert args[:4] == (
        *("--model", "/models/my-server/q/x-00001-of-00002.gguf"),
        *("--mmproj", "/models/my-server/q/mmproj-x-f16.gguf"),
    )


@pytest.mark.parametrize(
    ("of", "server", "message", "hint"),
    [
        pytest.param(
            *(GGUF, {"engine": "vllm"}),
            "vLLM cannot serve acme/tiny-gguf as it is locked: there are no whole weights with "
            "their configuration among its files",
            "models.m.engine: vllm chooses them; for GGUF files the server's engine is llamacpp",
            id="GGUF for vLLM",
        ),
        pytest.param(
            *(MISTRAL, {"engine": "llamacpp"}),
            "llama.cpp cannot serve acme/mistral as it is locked: it does not hold exactly one "
            "whole GGUF model",
            "models.m.include names one, as in '*Q4_K_M*'",
            id="safetensors for llama.cpp",
        ),
        pytest.param(
            *(MISTRAL, {"engine": "vllm", "env": {"VLLM_PORT": "8000"}}),
            "vLLM uses VLLM_PORT between its own processes, not for serving",
            "set the port that it listens on with the server's `port:`",
            id="vLLM's internal port",
        ),
        pytest.param(
            *(MISTRAL, {"engine": "vllm", "gpu_resource": "amd.com/gpu"}),
            "the pinned image of vLLM is for GPUs of NVIDIA, not for amd.com/gpu",
            "name one with the server's `image:`",
            id="another vendor's GPU, vLLM",
        ),
        pytest.param(
            *(GGUF, {"engine": "llamacpp", "gpus": 1, "gpu_resource": "amd.com/gpu"}),
            "the pinned image of llama.cpp is for GPUs of NVIDIA, not for amd.com/gpu",
            "name one with the server's `image:`",
            id="another vendor's GPU, llama.cpp",
        ),
        pytest.param(
            *(GGUF, {"engine": "llamacpp", "name": "a,b"}),
            "llama.cpp reads the model's name 'a,b' as several names, because of the comma",
            "give the server a `name:` without one",
            id="a name that llama.cpp splits",
        ),
        pytest.param(
            *(MISTRAL, {"engine": "custom", "image": "a/b:1", "command": ("run", "{name}")}),
            "nothing in the custom engine's command says where the model is",
            "write {model} there, and {port} and {name} where they belong",
            id="a command without the model",
        ),
    ],
)
def test_a_server_that_cannot_run_is_refused(
    of: Snapshot, server: dict[str, Any], message: str, hint: str
) -> None:
    """The error says what is wrong, and the hint what to write instead."""
    with pytest.raises(UsageError) as caught:
        make_container(of, **server)
    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_parts_of_a_gpu_and_other_images_are_accepted() -> None:
    """A part of NVIDIA's GPU runs the pinned image; another vendor's GPU needs the user's image."""
    assert make_container(MISTRAL, "vllm", gpu_resource="nvidia.com/mig-3g.40gb").gpus == 1
    amd = make_container(
        MISTRAL, "vllm", gpu_resource="amd.com/gpu", image="vllm/vllm-openai-rocm:v0.32.0"
    )
    assert (amd.image, amd.gpu_resource) == ("vllm/vllm-openai-rocm:v0.32.0", "amd.com/gpu")

"""The environment variables of a replica."""

from __future__ import annotations

from modelshelf.targets.local.environment import OFFLINE, replica_environment


def test_a_replica_gets_no_secret_proxy_or_hub() -> None:
    """Only the variables on the list pass."""
    surrounding = {
        "PATH": "/bin",
        "HOME": "/home/x",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "0",
        "CUDA_LICENCE_TOKEN": "secret",
        "HF_TOKEN": "secret",
        "HUGGING_FACE_HUB_TOKEN": "secret",
        "HF_ENDPOINT": "https://hub.example",
        "HF_HUB_OFFLINE": "0",
        "OPENAI_API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HTTPS_PROXY": "http://user:secret@proxy.example",
        "https_proxy": "http://user:secret@proxy.example",
        "SOMETHING_ELSE": "1",
    }
    assert replica_environment(surrounding, {"GGML_X": "1"}) == OFFLINE | {
        "PATH": "/bin",
        "HOME": "/home/x",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "0",
        "GGML_X": "1",
    }


def test_replicas_are_offline() -> None:
    """Every variable that keeps libraries from the network is set."""
    assert OFFLINE == {
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }

"""The environment of a replica or router: what it needs, and nothing it could misuse. Pure."""

from __future__ import annotations

from collections.abc import Mapping

OFFLINE = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}

_NAMES = {
    "HOME",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "TMPDIR",
    "TZ",
    "USER",
    "VLLM_CPU_KVCACHE_SPACE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
}
_OF_OUR_PYTHON = {"PYTHONPATH", "VIRTUAL_ENV"}
# Locales, devices, threads, and what llama.cpp's numeric library reads.
_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "OMP_", "KMP_", "GOMP_", "GGML_")
_SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIALS")


def replica_environment(
    surrounding: Mapping[str, str],
    engine: Mapping[str, str] | None = None,
    *,
    own: bool = True,
) -> dict[str, str]:
    """What of an environment a replica gets.

    It is a list of what may pass, so that a token, a proxy or a hub of an unknown name stays out.

    Args:
        surrounding: The environment of whoever serves.
        engine: Variables that the engine asks for, unless they are there and pass.
        own: Whether the replica runs in our own Python.
    """
    passed = {name: value for name, value in surrounding.items() if _passes(name, own=own)}
    return dict(engine or {}) | passed | OFFLINE


def _passes(name: str, *, own: bool) -> bool:
    if name in _NAMES or (own and name in _OF_OUR_PYTHON):
        return True
    return name.startswith(_PREFIXES) and not name.upper().endswith(_SECRET)

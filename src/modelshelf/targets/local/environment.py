"""The environment variables of a replica or a router. Pure.

Only listed variables pass. A list of forbidden ones would never be complete: it would miss some
variable that holds a token, a proxy or the address of a Hub.
"""

from __future__ import annotations

from collections.abc import Mapping

OFFLINE = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}

_PASSED_NAMES = {
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
_OWN_PYTHON_NAMES = {"PYTHONPATH", "VIRTUAL_ENV"}
# For locales, devices, threads, and llama.cpp's numeric library.
_PASSED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "OMP_", "KMP_", "GOMP_", "GGML_")
_SECRET_SUFFIXES = ("TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIALS")


def replica_environment(
    surrounding: Mapping[str, str],
    engine: Mapping[str, str] | None = None,
    *,
    own_python: bool = True,
) -> dict[str, str]:
    """The environment of a replica.

    Args:
        surrounding: The environment of this process.
        engine: The variables that the engine needs. A variable of `surrounding` that passes takes
            precedence.
        own_python: Whether the replica runs in modelshelf's own Python.
    """
    passed = {
        name: value for name, value in surrounding.items() if _passes(name, own_python=own_python)
    }
    return dict(engine or {}) | passed | OFFLINE


def _passes(name: str, *, own_python: bool) -> bool:
    if name in _PASSED_NAMES or (own_python and name in _OWN_PYTHON_NAMES):
        return True
    return name.startswith(_PASSED_PREFIXES) and not name.upper().endswith(_SECRET_SUFFIXES)

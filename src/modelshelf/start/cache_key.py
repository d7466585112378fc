"""The key of a compile cache: everything that must be equal before another start may use it.

vLLM has keys of its own for what it compiled, but they leave out what a shelf must not leave out.
The instruction sets of the processor are the most important: code that was compiled on one node
would crash on an older one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import ModelRef, canonical_json
from modelshelf.start import hardware

_DIGEST_DIGITS = 32
# Arguments of vLLM that change neither the model nor what is compiled for it: those that take no
# value, and those that take one.
_IRRELEVANT_SWITCHES = {
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
_IRRELEVANT_OPTIONS = {
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
# This one takes several values: every word up to the next option.
_SERVED_NAMES = "--served-model-name"
_RELEVANT_VARIABLES = re.compile(r"VLLM_|TORCH|TRITON_|FLASHINFER_|INDUCTOR")
# Some of these do not change compiled code: those that Kubernetes sets for its Services, whose
# names may begin alike; secrets; those that name a folder, which `cache_store.build_environment`
# sets for each start; and those about logs and memory.
_IRRELEVANT_VARIABLES = re.compile(
    r".*(_SERVICE_HOST|_PORT|_PORT_.*|_IP|_KEY|_CACHE_DIR|_CACHE_ROOT|_CONFIG_ROOT|WORKSPACE_BASE"
    r"|_PRECOMPILE_HEADERS)"
    r"|VLLM_(LOG.*|NO_USAGE_STATS|DO_NOT_TRACK|CPU_KVCACHE_SPACE|ENABLE_STARTUP_PLAN)"
)


@dataclasses.dataclass(frozen=True, slots=True)
class CacheKey:
    """What a compile cache fits. Starts with equal keys may share one.

    Attributes:
        snapshot: `org/name@id` of the model.
        versions: The versions of Python and of the packages that compile, in the engine's
            interpreter.
        accelerators: The names of the GPUs.
        cpu: The processor's name, and a hash of its instruction sets.
        args: The command line, without the arguments that cannot change compiled code.
        env: The sha256 of the variables that can change it. Their values may be secret.
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
    def folder(self) -> str:
        """The cache's folder below `compile-cache`: `org/name/id/digest`."""
        ref = ModelRef.parse(self.snapshot)
        digest = hashlib.sha256(canonical_json(self.to_json())).hexdigest()
        return f"{ref.repo_id}/{ref.at}/{digest[:_DIGEST_DIGITS]}"

    def differences(self, recorded: object) -> list[str]:
        """Name the attributes that differ from a key as JSON.

        Args:
            recorded: What `to_json` gave for another key. It was read from a file, so it may be
                anything.
        """
        values = recorded if isinstance(recorded, dict) else {}
        return [name for name, value in self.to_json().items() if values.get(name) != value]


def compute_key(
    snapshot: str, argv: Sequence[str], env: Mapping[str, str], versions: Mapping[str, str]
) -> CacheKey:
    """Compute the key for an engine that is started on this machine.

    Args:
        snapshot: `org/name@id` of the model.
        argv: The engine's command line.
        env: The engine's environment.
        versions: What `interpreter.probe_interpreter` found.

    Raises:
        UsageError: The snapshot is not named like that.
    """
    if ModelRef.parse(snapshot).at is None:
        raise UsageError(f"{snapshot!r} is not org/name@id")
    return CacheKey(
        snapshot=snapshot,
        versions=versions,
        accelerators=hardware.list_gpus(),
        cpu=hardware.describe_cpu(),
        args=select_arguments(argv),
        env=hash_variables(env),
    )


def select_arguments(argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command line without the arguments that cannot change compiled code."""
    selected: list[str] = []
    skip_next_value = skip_all_values = False
    for word in argv:
        is_option = word.startswith("--")
        if not is_option and (skip_next_value or skip_all_values):
            skip_next_value = False
            continue
        skip_next_value = skip_all_values = False
        name, equals_sign, _ = word.partition("=")
        name = name.replace("_", "-") if is_option else name
        if name in _IRRELEVANT_OPTIONS:
            skip_all_values = name == _SERVED_NAMES and not equals_sign
            skip_next_value = not skip_all_values and not equals_sign
        elif name not in _IRRELEVANT_SWITCHES:
            selected.append(word)
    return tuple(selected)


def hash_variables(env: Mapping[str, str]) -> str:
    """Return the sha256 of the variables that may change compiled code."""
    relevant = {
        name: value
        for name, value in env.items()
        if _RELEVANT_VARIABLES.match(name) and not _IRRELEVANT_VARIABLES.fullmatch(name)
    }
    return hashlib.sha256(canonical_json(relevant)).hexdigest()

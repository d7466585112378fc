"""Rules about several keys of modelshelf.yaml together. Pure.

Each value alone may be allowed while the combination cannot work, for example a server of a model
that the file does not have.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from modelshelf.config.root_section import Config
from modelshelf.config.section import key_of
from modelshelf.config.server_section import ServerConfig
from modelshelf.config.validation_errors import Problem

# For each Service, Kubernetes sets <SERVICE>_PORT=tcp://… in all pods of the namespace that do not
# opt out. These variables already have another meaning, which the value would break.
_PORT_VARIABLES = {
    "VLLM_PORT": "vLLM reads as its own port, and then fails to start",
    "VLLM_DP_MASTER_PORT": "vLLM reads as a port of its own",
    "LLAMA_ARG_PORT": "llama.cpp reads as its own port",
    "MASTER_PORT": "PyTorch reads as a port of its own",
    "PROMETHEUS_PORT": "TGI reads as a port of its own",
    "KUBERNETES_PORT": "stands for the API server",
}
_HUB_IS_NOT_ASKED = (
    "servers need no token, because they never ask a Hub: remove it (hub.secret is for pull Jobs)"
)
_USE_PORT = "this server's key `port` says which port it listens on: set that instead"
_USE_MODEL = "this server's key `model` says which model it serves: remove it"
_USE_NAME = "set this server's key `name` instead"
_NO_HOST = "the server must be reachable from outside its pod: remove it"
_FORBIDDEN_VARIABLES = {
    "HF_TOKEN": _HUB_IS_NOT_ASKED,
    "HUGGING_FACE_HUB_TOKEN": _HUB_IS_NOT_ASKED,
    "VLLM_PORT": "vLLM takes it for the first of its internal ports: remove it, and set `port`",
    "LLAMA_ARG_PORT": _USE_PORT,
    "LLAMA_ARG_MODEL": _USE_MODEL,
}
_FORBIDDEN_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "--model": _USE_MODEL,
        "--port": _USE_PORT,
        "--host": _NO_HOST,
        "--served-model-name": _USE_NAME,
    },
    "llamacpp": {
        "-m": _USE_MODEL,
        "--model": _USE_MODEL,
        "-mu": _USE_MODEL,
        "--model-url": _USE_MODEL,
        "-hf": _USE_MODEL,
        "-hfr": _USE_MODEL,
        "--hf-repo": _USE_MODEL,
        "--port": _USE_PORT,
        "--host": _NO_HOST,
        "-a": _USE_NAME,
        "--alias": _USE_NAME,
    },
    "custom": {},
}
_VLLM_FIELDS = ("load", "prime", "fast_start")


def broken_rules(config: Config) -> Iterator[Problem]:
    """Yield a problem for each rule that the file breaks."""
    for name, server in config.servers.items():
        path = ("servers", name)
        yield from ((path, sentence) for sentence in server_name_problems(name))
        yield from ((path + keys, sentence) for keys, sentence in _server_problems(config, server))
    for name, model in config.models.items():
        first_servers = first_server_by_engine(config, name)
        if model.engine is None and len(first_servers) > 1:
            yield ("models", name), two_engines_sentence(name, first_servers)


def server_name_problems(name: str) -> Iterator[str]:
    """Yield sentences about a server's name that is allowed as a key but not as a Service."""
    if name[0].isdigit():
        yield f"a Service cannot be called {name!r}: its name begins with a letter"
    variable = f"{name.upper().replace('-', '_')}_PORT"
    if variable in _PORT_VARIABLES:
        yield (
            f"a server cannot be called {name!r}: a Service of that name makes Kubernetes set "
            f"{variable} in pods, which {_PORT_VARIABLES[variable]}"
        )


def first_server_by_engine(config: Config, model: str) -> dict[str, str]:
    """Map each engine that a model's files are needed for to the first server that needs it.

    The custom engine needs the same files as vllm.
    """
    return {
        "llamacpp" if server.engine == "llamacpp" else "vllm": name
        for name, server in sorted(config.servers.items(), reverse=True)
        if server.model == model
    }


def two_engines_sentence(model: str, first_servers: Mapping[str, str]) -> str:
    """Write the error for a model whose files are needed for two engines.

    Args:
        model: The name of the model.
        first_servers: What `first_server_by_engine` returned.
    """
    servers = " and ".join(f"{name} ({engine})" for engine, name in sorted(first_servers.items()))
    return (
        f"models.{model} is served by {servers}, which need different files: list the model twice, "
        f"each time with its engine, or set models.{model}.engine if the files of one engine are "
        "enough for all"
    )


def _server_problems(config: Config, server: ServerConfig) -> Iterator[Problem]:
    if server.model not in config.models:
        near = difflib.get_close_matches(server.model, config.models, n=1, cutoff=0.4)
        known = ", ".join(sorted(config.models)) or "none"
        advice = f"did you mean {near[0]!r}?" if near else f"it has {known}"
        yield ("model",), f"models has no {server.model!r}; {advice}"
    yield from _custom_problems(server) if server.engine == "custom" else _own_key_problems(server)
    for field in _VLLM_FIELDS if server.engine != "vllm" else ():
        if field in server.model_fields_set:
            key = key_of(server, field)
            yield (key,), f"only engine vllm has {key}: remove it"
    for name in server.env:
        if name in _FORBIDDEN_VARIABLES:
            yield ("env", name), f"{name} cannot be set: {_FORBIDDEN_VARIABLES[name]}"
    for position, argument in enumerate(server.args):
        option = argument.partition("=")[0]
        option = option.replace("_", "-") if option.startswith("--") else option
        if reason := _FORBIDDEN_OPTIONS[server.engine].get(option):
            yield ("args", position), f"{option} cannot be given: {reason}"


def _custom_problems(server: ServerConfig) -> Iterator[Problem]:
    if server.image is None:
        yield (), "engine custom needs an image"
    if not any("{model}" in part for part in (*server.command, *server.args)):
        yield (
            ("command",),
            "engine custom needs a command (or args) with {model}, the path to load from",
        )
    for field in ("context_length", "parallel"):
        if getattr(server, field) is not None:
            key = key_of(server, field)
            yield (key,), f"engine custom does not know {key}: write it into command"


def _own_key_problems(server: ServerConfig) -> Iterator[Problem]:
    for key in ("command", "health"):
        if key in server.model_fields_set:
            yield (key,), f"only engine custom has {key}; {server.engine} has its own (see args)"

"""What one part of modelshelf.yaml means for another. Pure: problems, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from modelshelf.config.reading import Place

if TYPE_CHECKING:
    from modelshelf.config.file import Config
    from modelshelf.config.serving import ServerConfig

Problem = tuple[Place, str]

# Kubernetes sets <SERVICE>_PORT=tcp://… in the pods of a namespace for each Service in it, unless
# they ask it not to. These variables mean something else to somebody.
_PORT_VARIABLES = {
    "VLLM_PORT": "vLLM reads as its own port, and dies of",
    "VLLM_DP_MASTER_PORT": "vLLM reads as a port of its own",
    "LLAMA_ARG_PORT": "llama.cpp reads as its own port",
    "MASTER_PORT": "PyTorch reads as a port of its own",
    "PROMETHEUS_PORT": "TGI reads as a port of its own",
    "KUBERNETES_PORT": "stands for the API server",
}
_NEEDLESS = (
    "servers need no token, since they never ask a Hub: remove it (pull Jobs have hub.secret)"
)
_PORT = "this server's key `port` says which port it listens on: set that instead"
_VARIABLES = {
    "HF_TOKEN": _NEEDLESS,
    "HUGGING_FACE_HUB_TOKEN": _NEEDLESS,
    "VLLM_PORT": "vLLM takes it for the base of its internal ports: remove it, and set `port`",
    "LLAMA_ARG_PORT": _PORT,
    "LLAMA_ARG_MODEL": "the model is what this server's key `model` says: remove it",
}
_MODEL = "the model is what this server's key `model` says: remove it"
_HOST = "the server must be reached from outside its pod: remove it"
_NAME = "set this server's key `name` instead"
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "--model": _MODEL,
        "--port": _PORT,
        "--host": _HOST,
        "--served-model-name": _NAME,
    },
    "llamacpp": {
        "-m": _MODEL,
        "--model": _MODEL,
        "-mu": _MODEL,
        "--model-url": _MODEL,
        "-hf": _MODEL,
        "-hfr": _MODEL,
        "--hf-repo": _MODEL,
        "--port": _PORT,
        "--host": _HOST,
        "-a": _NAME,
        "--alias": _NAME,
    },
    "custom": {},
}

_OF_VLLM = ("load", "prime", "fast_start")


def problems(config: Config) -> Iterator[Problem]:
    """Whatever cannot work, though each value is one that its key can have."""
    for key, server in config.servers.items():
        place = ("servers", key)
        yield from ((place, text) for text in wrong_name(key))
        yield from ((place + below, text) for below, text in _server(config, server))
    yield from _engines(config)


def wrong_name(key: str) -> Iterator[str]:
    """What is wrong with a server's name, besides what no object can be called."""
    if key[0].isdigit():
        yield f"a Service cannot be called {key!r}: its name begins with a letter"
    variable = f"{key.upper().replace('-', '_')}_PORT"
    if variable in _PORT_VARIABLES:
        yield (
            f"a server cannot be called {key!r}: a Service of that name makes Kubernetes set "
            f"{variable} in pods, which {_PORT_VARIABLES[variable]}"
        )


def _server(config: Config, server: ServerConfig) -> Iterator[Problem]:
    if server.model not in config.models:
        near = difflib.get_close_matches(server.model, config.models, n=1, cutoff=0.4)
        has = f"did you mean {near[0]!r}?" if near else f"it has {_listed(config.models)}"
        yield ("model",), f"models has no {server.model!r}; {has}"
    yield from _custom(server) if server.engine == "custom" else _known(server)
    for name in _OF_VLLM if server.engine != "vllm" else ():
        if name in server.model_fields_set:
            key = type(server).model_fields[name].alias or name
            yield (key,), f"only engine vllm has {key}: remove it"
    for name in server.env:
        if name in _VARIABLES:
            yield ("env", name), f"{name} cannot be set: {_VARIABLES[name]}"
    for i, argument in enumerate(server.args):
        option = argument.partition("=")[0]
        option = option.replace("_", "-") if option.startswith("--") else option
        if option in _OPTIONS[server.engine]:
            yield ("args", i), f"{option} cannot be given: {_OPTIONS[server.engine][option]}"


def _custom(server: ServerConfig) -> Iterator[Problem]:
    if server.image is None:
        yield (), "engine custom needs an image"
    if not any("{model}" in part for part in (*server.command, *server.args)):
        what = "a command (or args) with {model}, the path to load from"
        yield ("command",), f"engine custom needs {what}"
    for name in ("context_length", "parallel"):
        if getattr(server, name) is not None:
            key = type(server).model_fields[name].alias or name
            yield (key,), f"engine custom does not know {key}: write it into command"


def _known(server: ServerConfig) -> Iterator[Problem]:
    for key in ("command", "health"):
        if key in server.model_fields_set:
            yield (key,), f"only engine custom has {key}; {server.engine} has its own (see args)"


def _engines(config: Config) -> Iterator[Problem]:
    for key, model in config.models.items():
        users = engines_of(config, key)
        if model.engine is None and len(users) > 1:
            yield ("models", key), two_engines(key, users)


def engines_of(config: Config, model: str) -> dict[str, str]:
    """The engines that a model's files are chosen for → the first server with each."""
    return {
        "llamacpp" if server.engine == "llamacpp" else "vllm": name
        for name, server in sorted(config.servers.items(), reverse=True)
        if server.model == model
    }


def two_engines(model: str, users: Mapping[str, str]) -> str:
    """What to say of a model that servers want for two engines."""
    both = " and ".join(f"{name} ({engine})" for engine, name in sorted(users.items()))
    again = (
        f"name it twice, each with its engine, or set models.{model}.engine if one engine's files "
        "are for all"
    )
    return f"models.{model} is served by {both}, which need different files: {again}"


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"

"""The modelshelf.yaml that `init` writes: two dozen lines with explaining comments. Pure."""

from __future__ import annotations

import dataclasses
import json
import re

from modelshelf.config.rules import server_name_problems
from modelshelf.config.text_checks import MAX_KEY_LENGTH
from modelshelf.config.yaml_reader import read_yaml
from modelshelf.shelf.errors import UsageError

_COMMENT_COLUMN = 30


@dataclasses.dataclass(frozen=True, slots=True)
class StarterFile:
    """A modelshelf.yaml with one model and one server.

    Attributes:
        shelf: The content of `shelf`: each key → a text, or a mapping of keys to texts.
        source: `hf://org/name[@revision]`.
        model: The name of the model in the file.
        server: The name of the server in the file.
        namespace: The namespace to serve in.
        engine: `vllm` or `llamacpp`.
        gpus: The number of GPUs for each pod.
        include: Patterns of the files to take.
        endpoint: The URL of the Hub to pull from; None for the default Hub.
    """

    shelf: dict[str, str | dict[str, str]]
    source: str
    model: str
    server: str
    namespace: str
    engine: str
    gpus: int
    include: tuple[str, ...] = ()
    endpoint: str | None = None

    def text(self) -> str:
        """Return the text of the file."""
        lines = [
            "# What `modelshelf up` brings about. Keys that are missing here have defaults:",
            "# docs/reference/modelshelf-yaml.md lists them all, with the reasons.",
            _commented(f"namespace: {_scalar(self.namespace)}", "created if it does not exist"),
            "",
            _commented("shelf:", "where the files are stored, once for all pods"),
            *_shelf_lines(self.shelf),
            _commented("  # user: 1000", "the uid that pods run as; it must be able to write"),
            "",
            *_hub_lines(self.endpoint),
            "models:",
            f"  {_scalar(self.model)}:",
            f"    source: {_scalar(self.source)}",
            "    # The revision (main, or @REVISION) is resolved once. modelshelf.lock keeps the",
            "    # commit: put it in git, too.",
            *_include_lines(self.include),
            "",
            "servers:",
            _commented(f"  {_scalar(self.server)}:", "also the name of its Service"),
            f"    model: {_scalar(self.model)}",
            _commented(f"    engine: {_scalar(self.engine)}", "vllm, llamacpp or custom"),
            _commented("    replicas: 1", "to start with; change it with modelshelf scale"),
            _commented(f"    gpus: {self.gpus}", "for each replica"),
        ]
        return "\n".join(lines) + "\n"


def model_key(source: str) -> str:
    """Derive a model's name in the file from the name of its repository."""
    name = source.partition("@")[0].rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:MAX_KEY_LENGTH].strip("-") or "model"


def server_key(model: str) -> str:
    """Derive a server's name from a model's name: its first word that a Service may have."""
    for word in model.split("-"):
        if word and not any(server_name_problems(word)):
            return word
    return "model"


def _shelf_lines(shelf: dict[str, str | dict[str, str]]) -> list[str]:
    lines = []
    for key, value in shelf.items():
        if isinstance(value, str):
            lines.append(f"  {key}: {_scalar(value)}")
        else:
            lines.append(f"  {key}:")
            lines += [f"    {name}: {_scalar(text)}" for name, text in value.items()]
    return lines


def _hub_lines(endpoint: str | None) -> list[str]:
    if endpoint is None:
        return []
    return [
        _commented("hub:", "where models come from; taken from HF_ENDPOINT"),
        f"  endpoint: {_scalar(endpoint)}",
        "",
    ]


def _include_lines(globs: tuple[str, ...]) -> list[str]:
    if not globs:
        return []
    return [
        _commented(
            f"    include: {json.dumps(globs, ensure_ascii=False)}",
            "which files to take, such as one quantisation",
        )
    ]


def _commented(text: str, comment: str) -> str:
    return f"{text:<{_COMMENT_COLUMN}}  # {comment}"


def _scalar(text: str) -> str:
    """Write a text as YAML, in quotes if YAML would read it as something else without them."""
    try:
        is_plain = read_yaml(f"- {text}", "").data == [text]
    except UsageError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=False)

"""The modelshelf.yaml that `init` writes: a dozen lines, with comments that teach. Pure."""

from __future__ import annotations

import dataclasses
import json
import re

from modelshelf.config.names import LONGEST_KEY
from modelshelf.config.reading import read
from modelshelf.config.rules import wrong_name
from modelshelf.shelf.errors import UsageError

_COLUMN = 30  # where comments stand


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """What the first file is to say.

    Attributes:
        shelf: Keys below `shelf` → text, or keys below that → text.
        source: `hf://org/name[@revision]`.
        model: The model's key.
        server: The server's key.
        namespace: Where it is served.
        engine: `vllm` or `llamacpp`.
        gpus: For each pod.
        include: Patterns that narrow the choice of files.
        endpoint: The Hub to pull from; None for the usual one.
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
        """The file."""
        lines = [
            "# What modelshelf up brings about. Keys that are not here have defaults:",
            "# docs/reference/modelshelf-yaml.md names them all, with the reasons.",
            _line(f"namespace: {_scalar(self.namespace)}", "made if it is not there"),
            "",
            _line("shelf:", "where the files lie, once, for all pods"),
            *_shelf(self.shelf),
            _line("  # user: 1000", "the uid that may write there; pods run as it"),
            "",
            *_hub(self.endpoint),
            "models:",
            f"  {_scalar(self.model)}:",
            f"    source: {_scalar(self.source)}",
            "    # main or @revision is resolved once, into modelshelf.lock: keep that in git, too",
            *_include(self.include),
            "",
            "servers:",
            _line(f"  {_scalar(self.server)}:", "the name of its Service, too"),
            f"    model: {_scalar(self.model)}",
            _line(f"    engine: {_scalar(self.engine)}", "vllm, llamacpp or custom"),
            _line("    replicas: 1", "to begin with; later: modelshelf scale"),
            _line(f"    gpus: {self.gpus}", "for each of them"),
        ]
        return "\n".join(lines) + "\n"


def model_key(source: str) -> str:
    """A key for a model: its repository's name, as Kubernetes takes names."""
    name = source.partition("@")[0].rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:LONGEST_KEY].strip("-") or "model"


def server_key(model: str) -> str:
    """A key for a server: the first word of its model's that can be one."""
    for word in model.split("-"):
        if word and not any(wrong_name(word)):
            return word
    return "model"


def _shelf(shelf: dict[str, str | dict[str, str]]) -> list[str]:
    lines = []
    for key, value in shelf.items():
        if isinstance(value, str):
            lines.append(f"  {key}: {_scalar(value)}")
        else:
            lines.append(f"  {key}:")
            lines += [f"    {name}: {_scalar(text)}" for name, text in value.items()]
    return lines


def _hub(endpoint: str | None) -> list[str]:
    if endpoint is None:
        return []
    return [
        _line("hub:", "where models come from; as HF_ENDPOINT said"),
        f"  endpoint: {_scalar(endpoint)}",
        "",
    ]


def _include(globs: tuple[str, ...]) -> list[str]:
    if not globs:
        return []
    return [
        _line(
            f"    include: {json.dumps(globs, ensure_ascii=False)}",
            "which files, such as a quantisation",
        )
    ]


def _line(text: str, comment: str) -> str:
    return f"{text:<{_COLUMN}}  # {comment}"


def _scalar(text: str) -> str:
    """Text as YAML: in quotes where it would be read as something else without them."""
    try:
        plain = read(f"- {text}", "").data == [text]
    except UsageError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)

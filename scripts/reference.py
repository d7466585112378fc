"""Writes the pages of docs/reference that are made from the code; `make reference` runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import json
import os
import pathlib
import re
import typing
from collections.abc import Iterator
from typing import Any
from unittest import mock

from pydantic.fields import FieldInfo

import modelshelf
from modelshelf.cli.main import main
from modelshelf.config.file import Config
from modelshelf.config.schema import schema
from modelshelf.config.section import Section, section_below, without_none
from modelshelf.mirror import events as mirror_events
from modelshelf.shelf import events as shelf_events
from modelshelf.shelf.events import Event, name_of
from modelshelf.start import events as start_events
from modelshelf.targets.kubernetes import events as kubernetes_events
from modelshelf.targets.local import events as local_events
from modelshelf.transfer import events as transfer_events

PAGES = pathlib.Path(__file__).parents[1] / "docs" / "reference"
_WIDTH = 100
_EVENTS = """# Reference: events

Written by `make reference`. Long work tells a listener what happens; with `--json` each event is
one line on stdout, with its name under `event` and its fields beside it.
"""
_YAML = """# Reference: modelshelf.yaml

`make reference` writes this page from `modelshelf.config`. A key that is not listed here is an
error, and the error names the line and the most similar key. Editors can check the file with
[modelshelf.schema.json](modelshelf.schema.json), if its first line is
`# yaml-language-server: $schema=PATH-OR-URL`.

Scalars follow YAML 1.2: `no`, `on` and dates are text, and `true` and `false` are truth values.
Sizes are Kubernetes quantities (`100Gi`); a B after the unit (`200MB`) is allowed. In the column
"default", `required` marks a key that has no default, and `-` marks a key that is not set.

A whole file:

```yaml
namespace: llm
shelf:
  nfs: {server: 10.100.32.2, path: /2633050/7d1686e4-9212-420f-a593-ab544993d99b, size: 100Gi}
models:
  mistral-7b:
    source: hf://mistralai/Mistral-7B-Instruct-v0.3
servers:
  mistral:
    model: mistral-7b
    engine: vllm
    replicas: 1
    gpus: 1
```

The lock is in the same folder and has the same name: `modelshelf.lock` for `modelshelf.yaml`.

## What else is refused

- A server whose name cannot be the name of its Service. The name begins with a letter and has at
  most 40 characters: a-z, 0-9 and dashes. It must not produce a variable that an engine reads. For
  each Service, Kubernetes sets `<NAME>_PORT` in the pods of the namespace. A Service called `vllm`
  would set `VLLM_PORT`, which vLLM takes for its own port, and vLLM would not start.
- A key that occurs twice. A server of a model that `models` does not have. A model that servers of
  two engines serve, if they need different files. `command` or `health` for an engine that has its
  own.
- `env` and `args` that repeat another key (`--port`, `--model`, `VLLM_PORT`), and `HF_TOKEN`,
  because servers never ask a Hub.
- Passwords in URLs, because the file belongs in git.
"""


_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$", re.MULTILINE)


def commands() -> str:
    """The page of commands: the --help of every verb."""
    parts = ["# Reference: commands\n\nWritten by `make reference` from `--help`.\n"]
    parts += _commands()
    return "\n".join(parts)


def _commands(*words: str) -> Iterator[str]:
    """The help of a command, then the help of its subcommands."""
    text = _help(*words)
    title = f"## modelshelf {' '.join(words)}\n\n" if words else ""
    yield f"{title}```text\n{text}```\n"
    for verb in re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.MULTILINE):
        yield from _commands(*words, verb)


def _help(*verb: str) -> str:
    wide = mock.patch.dict(os.environ, COLUMNS="98")
    with wide, contextlib.redirect_stdout(io.StringIO()) as output:
        main([*verb, "--help"])
    return output.getvalue()


def python() -> str:
    """The page of the Python interface: the docstring of every public name."""
    parts = ["# Reference: Python\n\nWritten by `make reference` from the docstrings.\n"]
    for name in modelshelf.__all__:
        thing = getattr(modelshelf, name)
        if inspect.isclass(thing):
            parts.append(_class(name, thing))
        elif callable(thing) and not name.startswith("_") and inspect.isfunction(thing):
            parts.append(_function(f"modelshelf.{name}", thing))
    return "\n".join(parts)


def _class(name: str, kind: type) -> str:
    bases = [b.__name__ for b in kind.__bases__ if b is not object]
    after = f"\n\nA kind of `{bases[0]}`." if bases else ""
    parts = [f"## {name}\n\n{_text(kind)}{after}\n"]
    for member, value in vars(kind).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not member.startswith("_") and inspect.isfunction(function):
            parts.append(_function(f"{name}.{member}", function, "###"))
    return "\n".join(parts)


def _function(name: str, function: object, level: str = "##") -> str:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    shown = _readable(f"{name}{signature.replace(parameters=parameters)}")
    if len(shown) > _WIDTH:
        shown = _readable(_one_parameter_a_line(name, signature, parameters))
    return f"{level} {name}\n\n```text\n{shown}\n```\n\n{_text(function)}\n"


def _readable(signature: str) -> str:
    """Remove the quotes of annotations and the addresses of defaults from a signature."""
    return re.sub(r"<function (\w+) at \w+>", r"\1", signature.replace("'", ""))


def _one_parameter_a_line(
    name: str, signature: inspect.Signature, parameters: list[inspect.Parameter]
) -> str:
    lines = [f"    {parameter},\n" for parameter in parameters]
    keyword_only = [p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters]
    if True in keyword_only:
        lines.insert(keyword_only.index(True), "    *,\n")
    end = str(signature.replace(parameters=[])).removeprefix("()")
    return f"{name}(\n{''.join(lines)}){end}"


def _text(thing: object) -> str:
    """Turn a docstring into Markdown: headings become bold, and their sections lists or code."""
    head, *rest = _SECTION.split(inspect.getdoc(thing) or "")
    parts = [head.strip()]
    for section, body in zip(rest[::2], rest[1::2], strict=True):
        text = inspect.cleandoc(body)
        if section == "Example":
            text = f"```python\n{text}\n```"
        elif section != "Returns":
            text = re.sub(r"^(?=\S)", "- ", text, flags=re.MULTILINE)
        parts.append(f"**{section}**\n\n{text}")
    return "\n\n".join(parts)


def event_kinds() -> list[type[Event]]:
    """Every kind of event, by package and in the order of their definitions."""
    modules = (
        transfer_events,
        shelf_events,
        start_events,
        local_events,
        mirror_events,
        kubernetes_events,
    )
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Event)
        and kind.__module__ == module.__name__
        and kind is not Event
    ]


def all_events() -> str:
    """The page of events: each event's JSON name, fields, and meaning."""
    parts = [_EVENTS]
    for kind in event_kinds():
        name = name_of(kind)
        fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
        parts.append(f"## {name}\n\n{_text(kind)}\n\nFields: {fields}\n")
    return "\n".join(parts)


def yaml_file() -> str:
    """The page of modelshelf.yaml: every key."""
    parts = [_YAML]
    for where, section in _sections(Config, ""):
        title = f"`{where}`" if where else "The file"
        parts.append(f"## {title}\n\n{inspect.getdoc(section)}\n\n{_table(section)}\n")
    return "\n".join(parts)


def _sections(section: type[Section], where: str) -> Iterator[tuple[str, type[Section]]]:
    yield where, section
    for name, field in section.model_fields.items():
        below, part = section_below(field.annotation)
        if part is not None:
            key = f"{where}.{field.alias or name}".lstrip(".") + below
            yield from _sections(part, key)


def _table(section: type[Section]) -> str:
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in section.model_fields.items():
        cells = (
            f"`{field.alias or name}`",
            _type_of(field.annotation),
            _default(field),
            field.description or "",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _type_of(annotation: object) -> str:
    kind = without_none(annotation)
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _type_of(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_type_of(arguments[0])}"
    if origin is dict and arguments[1] is not Any:
        return f"mapping to {_type_of(arguments[1])}"
    names: dict[object, str] = {str: "text", int: "number", bool: "true or false"}
    return names.get(kind, "mapping")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or isinstance(value, Section) or value in ((), {}):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def pages() -> dict[pathlib.Path, str]:
    """All pages: path → text."""
    return {
        PAGES / "commands.md": commands(),
        PAGES / "python.md": python(),
        PAGES / "events.md": all_events(),
        PAGES / "modelshelf-yaml.md": yaml_file(),
        PAGES / "modelshelf.schema.json": json.dumps(schema(), indent=2) + "\n",
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")

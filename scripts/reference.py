"""Writes docs/reference/{commands,python,events}.md from the code: run by `make reference`."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pathlib
import re
import subprocess
import sys

import modelshelf
from modelshelf.core import events

PAGES = pathlib.Path(__file__).parents[1] / "docs" / "reference"
_EVENTS = """# Reference: events

Written by `make reference`. Long work tells a listener what happens; with `--json` each event is
one line on stdout, with its name under `event` and its fields beside it.
"""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$", re.MULTILINE)


def commands() -> str:
    """What every verb's --help says."""
    main = _help()
    verbs = re.findall(r"^  (\w+)  ", main.partition("Commands:")[2], re.MULTILINE)
    parts = ["# Reference: commands\n\nWritten by `make reference` from `--help`.\n"]
    parts.append(f"```text\n{main}```\n")
    parts += [f"## modelshelf {verb}\n\n```text\n{_help(verb)}```\n" for verb in verbs]
    return "\n".join(parts)


def _help(*verb: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "modelshelf", *verb, "--help"],
        env={**os.environ, "COLUMNS": "98"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def python() -> str:
    """The docstring of every public name."""
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
    shown = str(signature.replace(parameters=parameters)).replace("'", "")
    shown = re.sub(r"<function (\w+) at \w+>", r"\1", shown)
    return f"{level} {name}\n\n```text\n{name}{shown}\n```\n\n{_text(function)}\n"


def _text(thing: object) -> str:
    """A docstring as Markdown: its sections become bold words, their bodies lists or code."""
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


def all_events() -> str:
    """Every event: its JSON name, its fields, when it is sent."""
    parts = [_EVENTS]
    for kind in vars(events).values():
        if not (isinstance(kind, type) and issubclass(kind, events.Event)) or kind is events.Event:
            continue
        name = events.name_of(kind)
        fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind))
        parts.append(f"## {name}\n\n{_text(kind)}\n\nFields: {fields}\n")
    return "\n".join(parts)


def pages() -> dict[pathlib.Path, str]:
    """Path → what should stand there."""
    return {
        PAGES / "commands.md": commands(),
        PAGES / "python.md": python(),
        PAGES / "events.md": all_events(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")

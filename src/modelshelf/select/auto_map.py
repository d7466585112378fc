"""Finds the Python code that a model's configurations ask an engine to run. Pure.

A configuration of transformers names classes under `auto_map`. `{"AutoModel": "module.Class"}` is a
class in a Python file of the same repository; `"org/name--module.Class"` is one in another
repository. The values may also be lists.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelshelf.shelf.errors import IntegrityError

_CLASS = re.compile(r"(?:(?P<repo>.+?)--)?(?P<module>[^/\\]+)\.[^.]+")


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class CodeFile:
    """A Python file that a configuration names.

    Attributes:
        file: `modeling_x.py`.
        config: The path of the configuration that names it.
        repo: The repository that has the file; empty for the model's own repository.
    """

    file: str
    config: str
    repo: str = ""

    def __str__(self) -> str:
        return f"{self.file} of {self.repo}" if self.repo else self.file


def find_auto_map_code(texts: Mapping[str, str]) -> tuple[CodeFile, ...]:
    """Find the Python files that `auto_map` names anywhere in some configurations.

    Nested configurations count, because engines have run code from those as well (CVE-2025-66448).

    Args:
        texts: Path → text of each configuration.

    Raises:
        IntegrityError: A configuration is not JSON.
    """
    files = set()
    for path, text in texts.items():
        for name in _class_names(_parse(path, text)):
            match = _CLASS.fullmatch(name)
            module = match["module"].replace(".", "/") if match else name
            files.add(CodeFile(f"{module}.py", path, (match["repo"] or "") if match else ""))
    return tuple(sorted(files))


def _parse(path: str, text: str) -> Any:  # noqa: ANN401  # JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise IntegrityError(
            f"{path} is not JSON, so nobody can tell which code it asks to run",
            hint="leave it out with --exclude, or ask the repository's owner",
        ) from None


def _class_names(value: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    """Yield the class names under every `auto_map` in a JSON value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from _strings(value.get("auto_map"))
            waiting += [inner for key, inner in value.items() if key != "auto_map"]
        elif isinstance(value, list):
            waiting += value


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)

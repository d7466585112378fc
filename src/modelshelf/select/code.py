"""Which code a model's configurations want run. Pure.

transformers' `auto_map` names classes: `{"AutoModel": "module.Class"}` for a Python file of the
repository, `"org/name--module.Class"` for one of another repository; the values may be lists.
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
class Code:
    """A Python file that a configuration names.

    Attributes:
        file: `modeling_x.py`.
        config: The configuration that names it.
        repo: The repository that it lies in; empty for the model's own.
    """

    file: str
    config: str
    repo: str = ""

    def __str__(self) -> str:
        return f"{self.file} of {self.repo}" if self.repo else self.file


def code_named(texts: Mapping[str, str]) -> tuple[Code, ...]:
    """The Python files that `auto_map` entries name, nested configurations' too.

    Nested ones count because engines have run those as well (CVE-2025-66448).

    Args:
        texts: Path → text of each configuration.

    Raises:
        IntegrityError: One of them is not JSON.
    """
    found = set()
    for path, text in texts.items():
        for name in _names(_read(path, text)):
            match = _CLASS.fullmatch(name)
            module = match["module"].replace(".", "/") if match else name
            found.add(Code(f"{module}.py", path, (match["repo"] or "") if match else ""))
    return tuple(sorted(found))


def _read(path: str, text: str) -> Any:  # noqa: ANN401  # JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise IntegrityError(
            f"{path} is not JSON, so what it asks to be run cannot be told",
            hint="leave it out with --exclude, or ask the repository's owner",
        ) from None


def _names(value: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    """The class names under every `auto_map` of a JSON value."""
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

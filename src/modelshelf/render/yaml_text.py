"""Kubernetes objects as YAML text that every YAML reader understands in the same way."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from modelshelf.render.names import Object

# The classes written in C are ten times as fast, but PyYAML lacks them on some systems.
_FastestDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_FastestLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Text that PyYAML writes without quotes and that readers of other YAML versions take for something
# else: to some of them `12e4`, `0o7` and `1:30` are numbers, and `y` and `n` are booleans.
_AMBIGUOUS = re.compile(r"[-+.]?[0-9][0-9a-fA-FxXoO_,.:+-]*|[yYnN]")


class _Dumper(_FastestDumper):  # type: ignore[misc]
    """Writes no anchors, keeps several lines as a block, and quotes text that is ambiguous."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:  # noqa: ANN401 (PyYAML's own, untyped)
    style = "|" if "\n" in text else "'" if _AMBIGUOUS.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(objects: Iterable[Object]) -> str:
    """Write objects as text, one YAML document each."""
    text: str = yaml.dump_all(
        objects,
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=True,
        explicit_start=True,
        width=1 << 30,
    )
    return text.removeprefix("---\n")


def from_yaml(text: str) -> list[Object]:
    """Read the objects of a text; an empty list if it is not YAML."""
    try:
        documents = list(yaml.load_all(text, Loader=_FastestLoader))
    except yaml.YAMLError:
        return []
    return [document for document in documents if isinstance(document, dict)]

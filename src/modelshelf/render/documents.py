"""Kubernetes objects as YAML that every reader of Kubernetes takes alike."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from modelshelf.render.names import Object

# Written in C, ten times as fast; some systems' PyYAML lacks it.
_Fastest: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_FastestLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What PyYAML takes for text and readers of other versions of YAML for something else: `12e4`, `0o7`
# and `1:30` are numbers to some of them, `y` and `n` are booleans.
_DOUBTFUL = re.compile(r"[-+.]?[0-9][0-9a-fA-FxXoO_,.:+-]*|[yYnN]")


class _Dumper(_Fastest):  # type: ignore[misc]
    """No anchors, text of several lines as it is, quotes where readers could differ."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:  # noqa: ANN401 (PyYAML's own, untyped)
    style = "|" if "\n" in text else "'" if _DOUBTFUL.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(objects: Iterable[Object]) -> str:
    """The text of some objects, one YAML document each."""
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
    """The objects of a text; none if it is no YAML, or holds anything else."""
    try:
        found = list(yaml.load_all(text, Loader=_FastestLoader))
    except yaml.YAMLError:
        return []
    return [one for one in found if isinstance(one, dict)]

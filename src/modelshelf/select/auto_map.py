"""Finds the Python code that a model's configurations ask an engine to run. Pure.

A configuration of transformers names classes under `auto_map`. `{"AutoModel": "module.Class"}` is a
class in a Python file of the same repository; `"org/name--module.Class"` is one in another
repository. The values may also be lists.

Many such models do not need that code, because vLLM and transformers have got the same classes
since. Both prefer their own class unless `--trust-remote-code` is given: see
`resolve_trust_remote_code` in transformers' dynamic_module_utils.py, and `get_config` in vLLM's
transformers_utils/config.py.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelshelf.shelf.errors import IntegrityError

_CLASS = re.compile(r"(?:(?P<repo>.+?)--)?(?P<module>[^/\\]+)\.[^.]+")
_MODEL_CONFIG = "config.json"
# The keys under which a configuration names the class of a tokenizer or processor.
_CLASS_KEYS = (
    "tokenizer_class",
    "processor_class",
    "image_processor_type",
    "feature_extractor_type",
    "video_processor_type",
)


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

    @property
    def path(self) -> str:
        """The path of the file in the repository that has it."""
        return os.path.join(os.path.dirname(self.config), self.file)


@dataclasses.dataclass(frozen=True, slots=True)
class AutoMapCode:
    """The code that the `auto_map` entries of some configurations name.

    Attributes:
        files: Every Python file that is named.
        required: Those of the files without which vLLM cannot serve the model.
    """

    files: tuple[CodeFile, ...]
    required: tuple[CodeFile, ...]


def find_auto_map_code(texts: Mapping[str, str]) -> AutoMapCode:
    """Find the Python files that `auto_map` names anywhere in some configurations.

    Nested configurations count, because engines have run code from those as well (CVE-2025-66448).

    Args:
        texts: Path → text of each configuration.

    Raises:
        IntegrityError: A configuration is not JSON.
    """
    files: set[CodeFile] = set()
    required: set[CodeFile] = set()
    for path, text in texts.items():
        config = _parse(path, text)
        for kind, name in _class_names(config):
            code_file = _code_file(path, name)
            files.add(code_file)
            if not _is_native(kind, config, is_model=os.path.basename(path) == _MODEL_CONFIG):
                required.add(code_file)
    return AutoMapCode(tuple(sorted(files)), tuple(sorted(required)))


def _code_file(config: str, name: str) -> CodeFile:
    match = _CLASS.fullmatch(name)
    module = match["module"].replace(".", "/") if match else name
    return CodeFile(f"{module}.py", config, (match["repo"] or "") if match else "")


def _is_native(kind: str, config: Any, *, is_model: bool) -> bool:  # noqa: ANN401  # JSON
    """Whether vLLM has its own class for an entry of `auto_map`.

    Args:
        kind: The entry's key, such as `AutoTokenizer`; empty for an entry without a key and for one
            in a nested configuration.
        config: The configuration that has the entry.
        is_model: Whether that is the configuration of the model, not of a tokenizer or processor.
    """
    # A table of 30 kB, which few models need.
    from modelshelf.select import native_models  # noqa: PLC0415

    if not is_model:
        names = {config.get(key) for key in _CLASS_KEYS} - {None}
        known = native_models.TOKENIZERS | native_models.PROCESSORS
        return bool(names) and all(str(name).removesuffix("Fast") in known for name in names)
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list):
        return False
    has_model = any(name in native_models.ARCHITECTURES for name in map(str, architectures))
    has_config = config.get("model_type") in native_models.MODEL_TYPES
    if kind == "AutoConfig":
        return has_config
    return has_model if kind.startswith("AutoModel") else has_model and has_config


def _parse(path: str, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise IntegrityError(
            f"{path} is not JSON, so nobody can tell which code it asks to run",
            hint=f"leave it out with --exclude '{path}', or ask the repository's owner",
        ) from None
    return config if isinstance(config, dict) else {"": config}


def _class_names(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the class names under every `auto_map`, each after its key in the outermost one."""
    top = config.get("auto_map")
    if isinstance(top, dict):
        for kind, value in top.items():
            yield from ((kind, name) for name in _strings(value))
    else:
        yield from (("", name) for name in _strings(top))
    waiting: list[Any] = [value for key, value in config.items() if key != "auto_map"]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from (("", name) for name in _strings(value.get("auto_map")))
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

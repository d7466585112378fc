"""Reading modelshelf.yaml: from text to a checked `Config`."""

from __future__ import annotations

import json
import os

from pydantic import ValidationError

from modelshelf.config.root_section import Config
from modelshelf.config.rules import broken_rules
from modelshelf.config.validation_errors import explain, refusal
from modelshelf.config.yaml_reader import read_yaml
from modelshelf.shelf.errors import UsageError

__all__ = ["Config", "load", "parse"]

CONFIG_FILE = "modelshelf.yaml"


def load(path: str | os.PathLike[str] = CONFIG_FILE) -> Config:
    """Read a modelshelf.yaml.

    Raises:
        UsageError: The file is missing or cannot be read, or `parse` refuses its text.
    """
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        raise UsageError(
            f"there is no {path}", hint="write one with modelshelf init, or name it with --file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}") from None
    return parse(text, path)


def parse(text: str, path: str = CONFIG_FILE) -> Config:
    """Read the text of a modelshelf.yaml.

    Args:
        text: YAML.
        path: The name of the file, for errors.

    Raises:
        UsageError: The text is not valid YAML, a key or a value is not allowed, or two parts of
            the file contradict each other.
    """
    document = read_yaml(text, path)
    if document.data is None:
        raise UsageError(f"{path} is empty", hint="modelshelf init writes one that works")
    try:
        # pydantic's strict mode takes a list for a tuple only if it reads JSON. Strict mode is
        # needed because otherwise the text "1" would pass as a number, and the number 1 as true.
        config = Config.model_validate_json(
            json.dumps(document.data), strict=True, by_alias=True, by_name=False
        )
    except ValidationError as error:
        problems = explain(Config, error.errors(include_url=False))
        raise refusal(path, document, problems) from None
    if problems := list(broken_rules(config)):
        raise refusal(path, document, problems)
    return config

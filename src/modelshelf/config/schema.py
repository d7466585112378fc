"""The shape of modelshelf.yaml as JSON Schema, for editors."""

from __future__ import annotations

from typing import Any

from modelshelf.config.file import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The JSON Schema of modelshelf.yaml.

    docs/reference/modelshelf.schema.json is written from it. It knows keys and types; what else
    `file.parse` refuses, such as names that nothing may have, it does not.
    """
    shape = Config.model_json_schema(by_alias=True)
    return {"$schema": DIALECT, **shape, "title": "modelshelf.yaml"}

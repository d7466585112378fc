"""The JSON Schema of modelshelf.yaml, which editors use."""

from __future__ import annotations

from typing import Any

from modelshelf.config.root_section import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of modelshelf.yaml.

    `make reference` writes docs/reference/modelshelf.schema.json from it. The schema knows the keys
    and the types of their values. `file.parse` refuses more, such as names that Kubernetes does not
    allow.
    """
    shape = Config.model_json_schema(by_alias=True)
    return {"$schema": DIALECT, **shape, "title": "modelshelf.yaml"}

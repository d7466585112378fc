"""modelshelf.yaml and modelshelf.lock as frozen values.

`file` reads modelshelf.yaml and `lock` reads modelshelf.lock. `schema` describes modelshelf.yaml to
editors. This module imports nothing, because pydantic and PyYAML load slowly and most verbs need
neither.
"""

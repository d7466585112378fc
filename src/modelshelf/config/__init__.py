"""modelshelf.yaml and modelshelf.lock: what they say, as frozen values.

`file` reads the YAML file and `lock` the lock; `schema` is the file's shape for editors. Nothing
is imported here, since pydantic and PyYAML are slow to load and most verbs need neither.
"""

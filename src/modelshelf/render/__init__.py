"""From modelshelf.yaml and modelshelf.lock to Kubernetes objects. Pure.

Objects are plain dicts, so tests compare them by equality. `modelshelf up` applies them to a
cluster, and `modelshelf render` writes them to files.
"""

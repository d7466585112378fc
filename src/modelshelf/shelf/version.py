"""The version of this modelshelf, and the name that snapshots record for it."""

__version__ = "0.1.0"
TOOL = f"modelshelf {__version__}"

"""Which modelshelf this is."""

__version__ = "0.1.0"
TOOL = f"modelshelf {__version__}"

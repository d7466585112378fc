"""modelshelf: download a model once, serve it from every pod.

`pull` brings a model to a `Shelf`, complete and verified. `serve` serves it on this machine. Public
names are imported when they are first used, so that `import modelshelf` takes almost no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelshelf.api import pull
    from modelshelf.shelf.errors import (
        BusyError,
        Error,
        IntegrityError,
        NoSpaceError,
        NotAShelfError,
        NotAuthorisedError,
        NotFoundError,
        NotOnShelfError,
        NotWritableError,
        RefusedError,
        ShelfError,
        SourceError,
        TargetError,
        TimedOutError,
        UsageError,
    )
    from modelshelf.shelf.events import Event, Listener
    from modelshelf.shelf.shelf import Shelf
    from modelshelf.shelf.values import File, ModelRef, Snapshot
    from modelshelf.shelf.verify import Fault, verify
    from modelshelf.shelf.version import __version__
    from modelshelf.targets.local import Server, prime, serve

_NAMES_BY_MODULE = {
    "modelshelf.api": ("pull",),
    "modelshelf.shelf.errors": (
        "BusyError",
        "Error",
        "IntegrityError",
        "NoSpaceError",
        "NotAShelfError",
        "NotAuthorisedError",
        "NotFoundError",
        "NotOnShelfError",
        "NotWritableError",
        "RefusedError",
        "ShelfError",
        "SourceError",
        "TargetError",
        "TimedOutError",
        "UsageError",
    ),
    "modelshelf.shelf.events": ("Event", "Listener"),
    "modelshelf.shelf.values": ("File", "ModelRef", "Snapshot"),
    "modelshelf.shelf.shelf": ("Shelf",),
    "modelshelf.shelf.verify": ("Fault", "verify"),
    "modelshelf.shelf.version": ("__version__",),
    "modelshelf.targets.local": ("Server", "prime", "serve"),
}
_MODULE_OF_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = [
    "BusyError",
    "Error",
    "Event",
    "Fault",
    "File",
    "IntegrityError",
    "Listener",
    "ModelRef",
    "NoSpaceError",
    "NotAShelfError",
    "NotAuthorisedError",
    "NotFoundError",
    "NotOnShelfError",
    "NotWritableError",
    "RefusedError",
    "Server",
    "Shelf",
    "ShelfError",
    "Snapshot",
    "SourceError",
    "TargetError",
    "TimedOutError",
    "UsageError",
    "__version__",
    "prime",
    "pull",
    "serve",
    "verify",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a public name may be anything
    module = _MODULE_OF_NAME.get(name)
    if module is None:
        raise AttributeError(f"module 'modelshelf' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return __all__

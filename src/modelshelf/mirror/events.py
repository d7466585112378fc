"""What the mirror tells, as frozen values."""

from __future__ import annotations

import dataclasses

from modelshelf.shelf.events import Event


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorListening(Event):
    """The mirror answers on this base URL: the value for `HF_ENDPOINT`."""

    url: str

"""The events that the mirror emits."""

from __future__ import annotations

import dataclasses

from modelshelf.shelf.events import Event


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorListening(Event):
    """The mirror accepts connections. Set `HF_ENDPOINT` to `url` to use it."""

    url: str

"""Tell a listener about the state of things, but only when it is another state than before."""

from __future__ import annotations

from modelshelf.shelf.events import Event, Listener
from modelshelf.targets.kubernetes.events import Awaiting


class ChangeReporter:
    """Remembers the last state that was told of each thing, so that nothing is told twice."""

    def __init__(self, tell: Listener) -> None:
        self._tell = tell
        self._last_states: dict[str, str] = {}

    def report_wait(self, what: str, reason: str) -> None:
        """Tell why something is waited for, if there is a reason and it is a new one."""
        if reason:
            self.report(what, reason, Awaiting(what, reason))

    def report(self, thing: str, state: str, event: Event) -> None:
        """Tell an event about a thing, if the thing's state is a new one."""
        if self._last_states.get(thing) != state:
            self._last_states[thing] = state
            self._tell(event)

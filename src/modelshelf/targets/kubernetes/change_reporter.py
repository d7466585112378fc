"""Tell a listener the state of pods, Jobs and claims, but only when it has changed."""

from __future__ import annotations

from modelshelf.shelf.events import Event, Listener
from modelshelf.targets.kubernetes.events import Awaiting


class ChangeReporter:
    """Remembers the last state of each subject that was told, so that nothing is told twice."""

    def __init__(self, tell: Listener) -> None:
        self._tell = tell
        self._last_states: dict[str, str] = {}

    def report_wait(self, what: str, reason: str) -> None:
        """Tell why something is waited for, if there is a reason and it is a new one."""
        if reason:
            self.report(what, reason, Awaiting(what, reason))

    def report(self, subject: str, state: str, event: Event) -> None:
        """Tell an event about a subject, such as a pod, if the subject has a new state."""
        if self._last_states.get(subject) != state:
            self._last_states[subject] = state
            self._tell(event)

"""Read the logs of several pods at once; what they say comes out in one place, in order."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterable, Iterator

from modelshelf.kube.client import Cluster
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.shelf.errors import Error


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line of a pod's container.

    Attributes:
        name: What the reader was told that this pod is for: a server's or a model's key.
        several: Whether other pods are read as well.
    """

    name: str
    pod: str
    text: str
    several: bool = False


class Readers:
    """One thread for each log. A thread ends with its log; it never outlives the process.

    Attributes:
        refusal: That this user may read no logs, once it was found out.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}
        self._last: dict[str, str] = {}
        self.refusal: ForbiddenError | None = None

    def read(
        self,
        name: str,
        pod: str,
        *,
        container: str | None = None,
        follow: bool = True,
        tail: int | None = None,
    ) -> None:
        """Begin to read a pod's log, unless it is being read.

        A log that broke off is gone on with at its end.
        """
        thread = self._threads.get(pod)
        if thread is not None and thread.is_alive():
            return
        known = self._last.get(pod)
        tail = tail if known is None else 1

        def work() -> None:
            try:
                for text in self._cluster.logs(
                    pod, self._namespace, container, follow=follow, tail=tail
                ):
                    if text != known:
                        self._lines.put(Line(name, pod, text, len(self._threads) > 1))
                    self._last[pod] = text
            except ForbiddenError as error:
                self.refusal = error
            except Error:
                # The container is not there yet, or not any more; the pod's state tells which.
                return

        thread = threading.Thread(target=work, name=f"log-{pod}", daemon=True)
        self._threads[pod] = thread
        thread.start()

    def reading(self) -> bool:
        """Whether any log is still being read."""
        return any(thread.is_alive() for thread in self._threads.values())

    def ended(self, pod: str) -> bool:
        """Whether a pod's log was read to its end."""
        return pod in self._threads and not self._threads[pod].is_alive()

    def finish(self, pods: Iterable[str], seconds: float) -> None:
        """Wait until the logs of pods that have ended are read."""
        for pod in pods:
            if pod in self._threads:
                self._threads[pod].join(seconds)

    def lines(self, wait: float = 0.0) -> Iterator[Line]:
        """The lines that are there; waits some seconds for the first."""
        try:
            yield self._lines.get(timeout=wait) if wait else self._lines.get_nowait()
            while True:
                yield self._lines.get_nowait()
        except queue.Empty:
            return

"""Read the logs of several pods at once, and hand out their lines in one sequence."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterable, Iterator

from modelshelf.kube.client import Cluster
from modelshelf.kube.refusals import ForbiddenError
from modelshelf.shelf.errors import Error


@dataclasses.dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a pod's container.

    Attributes:
        name: The key of the server or the model that the pod works for.
        pod: The pod's name.
        text: The line, without its end.
        several: Whether other pods are read as well.
    """

    name: str
    pod: str
    text: str
    several: bool = False


class LogReaders:
    """One thread for each log.

    A thread ends with its log. The threads are daemons, so a log that never ends does not keep the
    process alive.

    Attributes:
        refusal: The cluster's answer that this user may not read logs; None if it gave none.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._lines: queue.SimpleQueue[LogLine] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}
        self._last_texts: dict[str, str] = {}
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
        """Start to read a pod's log, unless a thread reads it already.

        A log whose reading broke off is read on from its last line.

        Args:
            name: The key of the server or the model that the pod works for.
            pod: The pod's name.
            container: Which container; None where the pod has only one.
            follow: Whether to read on until the container ends.
            tail: How many of the last lines to read; None for all.
        """
        thread = self._threads.get(pod)
        if thread is not None and thread.is_alive():
            return
        last_text = self._last_texts.get(pod)
        tail = tail if last_text is None else 1

        def read_log() -> None:
            try:
                for text in self._cluster.logs(
                    pod, self._namespace, container, follow=follow, tail=tail
                ):
                    if text != last_text:
                        self._lines.put(LogLine(name, pod, text, len(self._threads) > 1))
                    self._last_texts[pod] = text
            except ForbiddenError as error:
                self.refusal = error
            except Error:
                # The container does not exist yet, or not any more; the pod's state tells which.
                return

        thread = threading.Thread(target=read_log, name=f"log-{pod}", daemon=True)
        self._threads[pod] = thread
        thread.start()

    def are_reading(self) -> bool:
        """Whether any log is still being read."""
        return any(thread.is_alive() for thread in self._threads.values())

    def has_read(self, pod: str) -> bool:
        """Whether a pod's log was read to its end."""
        return pod in self._threads and not self._threads[pod].is_alive()

    def wait_for(self, pods: Iterable[str], seconds: float) -> None:
        """Wait until the logs of some pods are read, at most some seconds for each."""
        for pod in pods:
            if pod in self._threads:
                self._threads[pod].join(seconds)

    def take_lines(self, wait: float = 0.0) -> Iterator[LogLine]:
        """Take the lines that have arrived.

        Args:
            wait: Seconds to wait for the first of them.
        """
        try:
            yield self._lines.get(timeout=wait) if wait else self._lines.get_nowait()
            while True:
                yield self._lines.get_nowait()
        except queue.Empty:
            return

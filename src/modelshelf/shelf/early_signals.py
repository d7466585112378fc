"""SIGTERM in the first moments of a program, before it can handle the signal.

A container's main process is the first of its PID namespace, and the kernel drops a signal for that
process unless it has a handler (pid_namespaces(7)). Python needs some tens of milliseconds for its
imports. A SIGTERM that came meanwhile would be lost, and the pod would work on until the kubelet
kills it at the end of the grace period. So the `__main__` of each package records such a signal
before it imports anything slow, and `pod_command` acts on it once it can.

The alternative, a handler that raises KeyboardInterrupt at once, would end a program in the middle
of an import with a traceback.
"""

import signal

received: list[int] = []
"""The numbers of the signals that came so far, in order."""


def record_sigterm() -> None:
    """From now on, record SIGTERM in `received` instead of ending or ignoring it."""
    signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))

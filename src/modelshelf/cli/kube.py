"""What the Kubernetes verbs share: options, the file with its lock and cluster, and questions."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Annotated

import typer

from modelshelf import resolve
from modelshelf.cli import kubernetes_event_text  # noqa: F401 - registers a cluster's events
from modelshelf.cli.lock import changes
from modelshelf.cli.verb import FileRun
from modelshelf.config.file import Config, load
from modelshelf.config.lock import Lock, lock_path, read_lock
from modelshelf.kube.client import Cluster
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import Listener
from modelshelf.targets.kubernetes.session import Session, Timeouts

ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="NAME",
        help="The kubeconfig's context; it takes precedence over the file's `context`.",
    ),
]
KubeconfigOption = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="The kubeconfig to use instead of KUBECONFIG or ~/.kube/config.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="The longest time for each wait; the default depends on what is waited for.",
    ),
]
LockedOption = Annotated[
    bool, typer.Option("--locked", help="Fail if modelshelf.lock is not up to date.")
]
TokenFileOption = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file with the Hub's token; the default is the variable HF_TOKEN.",
    ),
]
ServerArgument = Annotated[
    str, typer.Argument(metavar="SERVER", help="A key of `servers` in modelshelf.yaml.")
]


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A modelshelf.yaml, its lock and the cluster that it is for.

    Attributes:
        config: The content of the modelshelf.yaml.
        lock: The content of its lock file.
        lock_path: The lock file.
        cluster: The cluster.
    """

    config: Config
    lock: Lock
    lock_path: str
    cluster: Cluster

    def site(self, listener: Listener, timeout: float | None = None) -> Session:
        """What the functions of `targets.kubernetes` work on.

        Args:
            listener: Receives the events.
            timeout: The longest time for each wait, in seconds; None for the wait's own default.
        """
        timeouts = Timeouts() if timeout is None else Timeouts.all(timeout)
        return Session(self.config, self.cluster, listener, timeouts)

    def keep(self, lock: Lock) -> None:
        """Write the lock file if its content changed."""
        if lock != self.lock:
            resolve.write_lock(self.lock_path, lock)


@contextlib.contextmanager
def opened(run: FileRun, context: str | None, kubeconfig: str | None) -> Iterator[Opened]:
    """Read the file and its lock, and choose the cluster, without a request to it.

    Args:
        run: Names the file, and prints messages.
        context: The kubeconfig's context; None for the one of the file, or the current one.
        kubeconfig: The kubeconfig; None for the default ones.

    Raises:
        UsageError: The file, the lock or the kubeconfig cannot be used.
    """
    config = load(run.file)
    path = lock_path(run.file)
    if context and config.context and context != config.context:
        run.output.note(f"--context {context} is used; {run.file} says {config.context}")
    with Cluster.connect(kubeconfig, context or config.context) as cluster:
        yield Opened(config, read_lock(path), path, cluster)


def resolved(
    run: FileRun,
    opened: Opened,
    *,
    locked: bool = False,
    write: bool = True,
    token: str | None = None,
) -> Lock:
    """The lock with every model of the file; the Hub is asked for models that it lacks.

    Args:
        run: Prints messages.
        opened: The file and its lock.
        locked: Raise an error instead of asking the Hub.
        write: Write the lock file if its content changed.
        token: The Hub's token; None for HF_TOKEN or a login.

    Raises:
        UsageError: The lock is not up to date, and `locked` forbids a change.
        SourceError: The Hub cannot be reached.
    """
    settled = resolve.update_lock(
        opened.config,
        opened.lock,
        opened.lock_path,
        locked=locked,
        write=write,
        token=token,
        on_event=run.output.event,
    )
    if write and settled.lock != settled.previous_lock:
        for sentence in changes(settled):
            run.output.note(f"{settled.lock_path}: {sentence}")
    return settled.lock


def token_for(opened: Opened, path: str | None) -> str | None:
    """The Hub's token for pull Jobs: from a file, or else from HF_TOKEN.

    Args:
        opened: The modelshelf.yaml, which may name a Secret that has the token.
        path: The file with the token; None for HF_TOKEN.

    Returns:
        The token; None if there is none, or if the Jobs use the Secret.

    Raises:
        UsageError: The file cannot be read, or does not hold exactly one token.
    """
    if opened.config.hub.secret is not None and path is None:
        return None  # HF_TOKEN serves `lock` alone then: the Jobs have the Secret
    return token_of(path)


def token_of(path: str | None) -> str | None:
    """The Hub's token: from a file, or else from HF_TOKEN; None if there is none.

    Raises:
        UsageError: The file cannot be read, or does not hold exactly one token.
    """
    if path is None:
        return os.environ.get("HF_TOKEN", "").strip() or None
    try:
        with open(path, encoding="utf-8") as file:
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"the token file {path} cannot be read: {why}") from error
    if not token or token.split() != [token]:
        raise UsageError(f"the token file {path} does not hold one token and nothing else")
    return token


def confirmed(run: FileRun, question: str, *, expected: str, yes: bool) -> bool:
    """Whether the user agrees to a question.

    Args:
        run: Prints the question.
        question: The question.
        expected: The answer that means agreement: `y`, or a name.
        yes: Whether --yes was given; then nothing is asked.

    Raises:
        UsageError: There is no terminal, so nobody can be asked.
    """
    if yes:
        return True
    if not run.output.can_ask():
        raise UsageError("there is nobody to ask", hint="agree beforehand with --yes")
    return run.output.ask(question).strip() in {expected, expected.capitalize()}

"""What the Kubernetes verbs have in common: their options, the file, its lock, and the cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from modelshelf.cli.verb import FileRun
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.events import Listener

if TYPE_CHECKING:
    from modelshelf.config.file import Config
    from modelshelf.config.lock import Lock
    from modelshelf.kube.client import Cluster
    from modelshelf.targets.kubernetes.site import Site

ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="NAME", help="The kubeconfig's context; before that of the file."
    ),
]
KubeconfigOption = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig", metavar="FILE", help="The kubeconfig; by default those of KUBECONFIG."
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="For each wait; by default as long as the model's size asks for.",
    ),
]
LockedOption = Annotated[
    bool, typer.Option("--locked", help="Refuse if modelshelf.lock would have to change.")
]
TokenFileOption = Annotated[
    str | None,
    typer.Option("--token-file", metavar="FILE", help="The hub's token; else of HF_TOKEN."),
]
ServerArgument = Annotated[str, typer.Argument(metavar="SERVER", help="A key of `servers`.")]


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """A file, its lock, and the cluster that they are for."""

    config: Config
    lock: Lock
    lock_path: str
    cluster: Cluster

    def site(self, tell: Listener, timeout: float | None = None) -> Site:
        """What the verbs work on.

        Args:
            tell: Who is told.
            timeout: Seconds for each wait; None for as long as the thing itself allows for.
        """
        from modelshelf.targets.kubernetes.site import Site, Timeouts  # noqa: PLC0415

        timeouts = Timeouts() if timeout is None else Timeouts.all(timeout)
        return Site(self.config, self.cluster, tell, timeouts)

    def keep(self, lock: Lock) -> None:
        """Write the lock, if it is another than before."""
        from modelshelf import resolve  # noqa: PLC0415 - slow, and not every verb needs it

        if lock != self.lock:
            resolve.write_lock(self.lock_path, lock)


@contextlib.contextmanager
def opened(run: FileRun, context: str | None, kubeconfig: str | None) -> Iterator[Opened]:
    """Read the file and its lock, and choose the cluster; nothing is asked of it yet.

    Raises:
        UsageError: The file, the lock or the kubeconfig cannot be used.
    """
    from modelshelf.config import file, lock  # noqa: PLC0415 - slow, and not every verb needs it
    from modelshelf.kube.client import Cluster  # noqa: PLC0415

    importlib.import_module("modelshelf.cli.kube_words")
    config = file.load(run.file)
    path = lock.lock_path(run.file)
    if context and config.context and context != config.context:
        run.output.note(f"--context {context} is used; {run.file} says {config.context}")
    with Cluster.connect(kubeconfig, context or config.context) as cluster:
        yield Opened(config, lock.read_lock(path), path, cluster)


def resolved(
    run: FileRun,
    opened: Opened,
    *,
    locked: bool = False,
    write: bool = True,
    token: str | None = None,
) -> Lock:
    """The lock with every model of the file.

    Args:
        run: Whose words go where.
        opened: The file and its lock.
        locked: Refuse a change instead.
        write: Write it, if it is another than before.
        token: For the hub, instead of HF_TOKEN or a login.

    Raises:
        UsageError: It would change, and must not.
        SourceError: The hub cannot be asked.
    """
    from modelshelf import resolve  # noqa: PLC0415 - slow, and not every verb needs it
    from modelshelf.cli.lock import changes  # noqa: PLC0415

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
    """The hub's token for pulls: of a file, else of HF_TOKEN; None if there is none.

    Raises:
        UsageError: The file cannot be read, or holds no token.
    """
    if opened.config.hub.secret is not None and path is None:
        return None  # HF_TOKEN is for `lock`; pulls have the Secret that the file names
    return token_of(path)


def token_of(path: str | None) -> str | None:
    """The hub's token: of a file, else of HF_TOKEN; None if there is none.

    Raises:
        UsageError: The file cannot be read, or holds no token.
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
    """Whether somebody agrees.

    Args:
        run: Where to ask.
        question: What is asked.
        expected: What must be typed: `y`, or a name.
        yes: It was agreed to beforehand.

    Raises:
        UsageError: Nobody is there to be asked.
    """
    if yes:
        return True
    if not run.output.can_ask():
        raise UsageError("there is nobody to ask", hint="agree beforehand with --yes")
    return run.output.ask(question).strip() in {expected, expected.capitalize()}

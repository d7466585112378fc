"""The Secret with the Hub's token, which is given to the pods of pull Jobs alone."""

from __future__ import annotations

from modelshelf.render.hub_token import token_secret
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.session import Session


def provide(session: Session, token: str | None, *, force: bool = False) -> None:
    """Make a Secret of a token, or check the Secret that the file names.

    If there is no token and the file names no Secret, nothing is done: the Secret of an earlier run
    stays.

    Args:
        session: The file and the cluster.
        token: The Hub's token; None if the user gave none.
        force: Take over a Secret that is not ours.

    Raises:
        UsageError: A token is given, and the file names a Secret.
        TargetError: The Secret that the file names does not exist, or has no such key.
    """
    reference = session.config.hub.secret
    if reference is None:
        if token:
            applying.apply(session, token_secret(session.config, token), force=force)
        return
    if token:
        raise UsageError(
            f"a token is given, but pulls use the Secret {reference.name} that hub.secret names",
            hint="take hub.secret out of modelshelf.yaml, or --token-file out of the command",
        )
    secret = session.cluster.get("Secret", reference.name, session.namespace)
    if secret is None:
        raise TargetError(
            f"there is no Secret {session.namespace}/{reference.name}, which hub.secret names",
            hint=f"kubectl -n {session.namespace} create secret generic {reference.name} "
            f"--from-file={reference.key}=FILE",
        )
    if reference.key not in (secret.get("data") or {}):
        keys = ", ".join(sorted(secret.get("data") or {})) or "none"
        raise TargetError(
            f"the Secret {session.namespace}/{reference.name} has no key {reference.key}; it has "
            f"{keys}",
            hint="set hub.secret.key to the one that holds the token",
        )

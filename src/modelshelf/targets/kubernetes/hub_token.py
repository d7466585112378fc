"""The Secret with the Hub's token, which pull Jobs alone get to see."""

from __future__ import annotations

from modelshelf.render.hub_token import token_secret
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.site import Site


def provide(site: Site, token: str | None, *, force: bool = False) -> None:
    """Make a Secret of a token, or look at the one that the file names.

    Without a token nothing is done: a Secret of an earlier run stays.

    Raises:
        UsageError: A token is given, and the file names a Secret.
        TargetError: The Secret that the file names is not there, or has no such key.
    """
    named = site.config.hub.secret
    if named is None:
        if token:
            applying.apply(site, token_secret(site.config, token), force=force)
        return
    if token:
        raise UsageError(
            f"a token is given, but pulls use the Secret {named.name} that hub.secret names",
            hint="take hub.secret out of modelshelf.yaml, or --token-file out of the command",
        )
    secret = site.cluster.get("Secret", named.name, site.namespace)
    if secret is None:
        raise TargetError(
            f"there is no Secret {site.namespace}/{named.name}, which hub.secret names",
            hint=f"kubectl -n {site.namespace} create secret generic {named.name} "
            f"--from-file={named.key}=FILE",
        )
    if named.key not in (secret.get("data") or {}):
        has = ", ".join(sorted(secret.get("data") or {})) or "none"
        raise TargetError(
            f"the Secret {site.namespace}/{named.name} has no key {named.key}; it has {has}",
            hint="set hub.secret.key to the one that holds the token",
        )

"""The namespace of a file."""

from __future__ import annotations

from modelshelf.kube.refusals import ForbiddenError
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.session import Session


def apply_namespace(session: Session, namespace: Object) -> None:
    """Create the namespace if it does not exist; one of somebody else is used as it is."""
    try:
        live = applying.get_live(session, names.key(namespace))
    except ForbiddenError:
        # The user has rights inside the namespace alone. If it does not exist, the next request
        # says so.
        return
    if live is None or applying.is_ours(live, session.config):
        applying.apply(session, namespace)

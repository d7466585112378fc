"""`scale`: set how many pods a server has, and wait until they are ready."""

from __future__ import annotations

from modelshelf.kube.refusals import MissingError
from modelshelf.render import names
from modelshelf.shelf.errors import TargetError
from modelshelf.targets.kubernetes.events import Scaled
from modelshelf.targets.kubernetes.rollout import wait_until_ready
from modelshelf.targets.kubernetes.server_objects import require_server
from modelshelf.targets.kubernetes.session import Session


def scale(session: Session, server: str, replicas: int) -> None:
    """Set a server's number of pods, and wait until they are ready. The next `up` keeps it.

    Args:
        session: The file, the cluster, and how long to wait.
        server: The server's key in the file.
        replicas: How many pods it shall have.

    Raises:
        UsageError: The file has no such server.
        TargetError: It is not in the cluster, or does not get ready; the message has the reason.
    """
    require_server(session.config, server)
    try:
        answer = session.cluster.patch(
            "Deployment",
            names.fitted(server),
            session.namespace,
            {"spec": {"replicas": replicas}},
            subresource="scale",
        )
    except MissingError:
        raise TargetError(
            f"server {server} is not in namespace {session.namespace}", hint="run modelshelf up"
        ) from None
    before = int((answer.get("status") or {}).get("replicas") or 0)
    session.tell(Scaled(server, before, replicas))
    wait_until_ready(session, [server])

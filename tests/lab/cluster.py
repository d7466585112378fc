"""The cluster that tests use: one node inside this namespace, or somebody's own."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lab import control, namespace, node
from lab.control import KUBECONFIG
from lab.parts import inside, say

GPU = "nvidia.com/gpu"
_FOLDER = Path("/run/lab/cluster")
_OWNER = 1000
_NOT_YET = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster with an administrator's access.

    Attributes:
        kubeconfig: The administrator's.
        address: Where pods reach this process, as `10.77.0.1`.
        node: The name of a node that takes pods.
        share: A folder on that node that stands for the share, of user and group 1000; None for
            somebody's own cluster.
        logs: The folder of each program's log; None likewise.
        user: Makes a kubeconfig for a user in groups; None likewise.
        mount: Shows folders of the node, read-only, in every container of an image: which image,
            and where → which folder; None likewise.
    """

    kubeconfig: Path
    address: str
    node: str
    share: Path | None = None
    logs: Path | None = None
    user: Callable[[str, Sequence[str]], Path] | None = None
    mount: Callable[[str, Mapping[str, Path]], None] | None = None

    @property
    def own(self) -> bool:
        """Whether this is the lab's cluster, not somebody's."""
        return self.user is not None

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it wrote to its output.

        Raises:
            lab.control.KubectlError: It failed.
        """
        return control.kubectl(self.kubeconfig, *args, stdin=stdin)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with which one is that user, in those groups, by a client certificate.

        Raises:
            NotImplementedError: This is somebody's own cluster, whose authority is not ours.
        """
        if self.user is None:
            raise NotImplementedError(f"{KUBECONFIG} names a cluster that signs nothing for us")
        return self.user(user, groups)

    def await_service(self, address: str, port: int, seconds: float = 20) -> None:
        """Wait until connections to a Service are led to a pod, which needs to be ready before.

        kube-proxy follows the endpoints in its own time. Until then it refuses connections, and
        before it knows the Service nothing leads there: what a test counts begins afterwards.

        Raises:
            OSError: They are not led to any by then.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection((address, port), timeout=seconds).close()
                return
            except OSError as error:
                if error.errno not in _NOT_YET or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def set_gpus(self, count: int, resource: str = GPU) -> None:
        """Make the node offer that many GPUs to the scheduler; the processes see none."""
        amount = {resource: str(count)}
        body = {"status": {"capacity": amount, "allocatable": amount}}
        patch = ["--subresource=status", "--type=merge", "--patch", json.dumps(body)]
        self.kubectl("patch", "node", self.node, *patch)


@contextlib.contextmanager
def one_node() -> Iterator[Cluster]:
    """A cluster of one node, or the one that MODELSHELF_TEST_KUBECONFIG names.

    Raises:
        lab.parts.PartError: A part cannot be made here.
        lab.processes.StartError: A program does not come up.
    """
    if os.environ.get(KUBECONFIG):
        yield _somebodys(Path(os.environ[KUBECONFIG]))
        return
    share = _FOLDER / "share"
    share.mkdir(parents=True)
    os.chown(share, _OWNER, _OWNER)
    with control.Control(_FOLDER) as plane, node.Node(plane, _FOLDER / "node") as running:
        yield Cluster(
            kubeconfig=plane.kubeconfig,
            address=control.ADDRESS,
            node=node.NAME,
            share=share,
            logs=plane.logs,
            user=plane.kubeconfig_for,
            mount=running.mount,
        )


def why_not() -> str | None:
    """One line saying why there is no cluster for tests here, or None."""
    if os.environ.get(KUBECONFIG):
        return None
    if reason := namespace.why_not():
        return reason
    if not inside():
        return "a test cluster lives in a namespace: python -m lab run pytest …"
    return None


def _somebodys(kubeconfig: Path) -> Cluster:
    say(f"using the cluster of {kubeconfig}")
    jsonpath = "-o=jsonpath={.clusters[0].cluster.server}"
    server = control.kubectl(kubeconfig, "config", "view", "--minify", jsonpath)
    parts = urlsplit(server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: this only asks by which address one would go there.
        probe.connect((parts.hostname or "127.0.0.1", parts.port or 443))
        address: str = probe.getsockname()[0]
    first = "-o=jsonpath={.items[0].metadata.name}"
    return Cluster(kubeconfig, address, control.kubectl(kubeconfig, "get", "nodes", first))

"""A real control plane: etcd, API server, controller manager and scheduler, in this namespace."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lab import binaries, debian
from lab.parts import key as short
from lab.parts import register
from lab.pki import Authority, Pair
from lab.processes import Process

# Names a cluster to use instead of one of the lab.
KUBECONFIG = "MODELSHELF_TEST_KUBECONFIG"
ADDRESS = "10.77.0.1"
PORT = 6443
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
AUDITED = "audited"  # a group: what its users ask for is written to `logs/audit.log`
_AUDIT = f"""\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {{level: Metadata, userGroups: [{AUDITED}]}}
- {{level: None}}
"""
_FIRST_SERVICE = "10.96.0.1"
_ETCD = "http://127.0.0.1:2379"
_NAMES = (
    "DNS:kubernetes",
    "DNS:kubernetes.default.svc",
    "DNS:localhost",
    "IP:127.0.0.1",
    f"IP:{_FIRST_SERVICE}",
    f"IP:{ADDRESS}",
)
PACKAGES = (
    "etcd-server",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
)


class KubectlError(Exception):
    """kubectl failed; the message is what it said."""


@register("cluster-tools")
def tools() -> debian.Tree:
    """Debian's programs for a cluster on this machine: etcd, containerd, runc, iptables, CNI.

    Raises:
        lab.parts.PartError: They cannot be fetched here.
    """
    return debian.unpacked("cluster-tools", PACKAGES)


def kubectl(kubeconfig: Path, *args: str, stdin: str | None = None) -> str:
    """Run kubectl and return what it wrote to its output.

    Raises:
        KubectlError: It failed.
    """
    done = subprocess.run(
        [_program(), "--kubeconfig", kubeconfig, *args],
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def _program() -> str | Path:
    """The kubectl that is built with the rest; with somebody's own cluster, also theirs."""
    theirs = shutil.which("kubectl") if os.environ.get(KUBECONFIG) else None
    return theirs or binaries.kubernetes() / "kubectl"


class Control:
    """The control plane, at https://10.77.0.1:6443; use it as a context manager.

    RBAC and Node authorisation, Pod Security admission and everything else that an API server
    has by default. It must run inside `lab.namespace`, whose bridge has the address.

    Args:
        folder: Where it keeps data, certificates and logs; best on a tmpfs.
        controller_flags: More flags of the controller manager.

    Attributes:
        folder: That folder.
        logs: The folder of each program's log.
        authority: Signs certificates of this cluster.
        kubeconfig: The administrator's.
    """

    def __init__(self, folder: Path, controller_flags: Sequence[str] = ()) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.authority = Authority(folder / "pki")
        self.kubeconfig = self.kubeconfig_for("admin", ["system:masters"])
        self._controller_flags = controller_flags
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._running:
            self._running.pop().stop()

    def certificate(self, name: str, subject: str, names: Sequence[str] = ()) -> Pair:
        """A certificate and key signed by this cluster's authority; see `Authority.certify`."""
        return self.authority.certify(name, subject, names)

    def kubeconfig_for(
        self, user: str, groups: Sequence[str] = (), namespace: str = "default"
    ) -> Path:
        """A kubeconfig with which one is that user, in those groups; it holds all it needs."""
        name = f"user-{short([user, *groups, namespace])}"
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        pair = self.authority.certify(name, subject)
        path = self.folder / f"{name}.kubeconfig"
        server = f"https://{ADDRESS}:{PORT}"
        path.write_text(self.authority.kubeconfig(server, pair, namespace), encoding="utf-8")
        return path

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it wrote to its output.

        Raises:
            KubectlError: It failed.
        """
        return kubectl(self.kubeconfig, *args, stdin=stdin)

    def run(self, name: str, argv: Sequence[str | Path]) -> Process:
        """Start a program that ends with the control plane."""
        process = Process(name, argv, self.logs, tools().env)
        self._running.append(process)
        return process

    def _start(self) -> None:
        programs = binaries.kubernetes()
        peer = "http://127.0.0.1:2380"
        etcd: list[str | Path] = [tools().program("etcd"), "--unsafe-no-fsync"]
        etcd += ["--data-dir", self.folder / "etcd"]
        etcd += ["--listen-client-urls", _ETCD, "--advertise-client-urls", _ETCD]
        etcd += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self.run("etcd", [*etcd, "--initial-cluster", f"default={peer}"])
        # The API server waits for etcd by itself.
        server = self.run("kube-apiserver", [programs / "kube-apiserver", *self._server_flags()])
        server.until(self._answers, "the API server is ready", 60)
        access = f"--kubeconfig={self.kubeconfig}"
        alone = [access, "--leader-elect=false"]
        manager = [
            *alone,
            f"--service-account-private-key-file={self.authority.account_key}",
            f"--root-ca-file={self.authority.certificate}",
            "--use-service-account-credentials=true",
            *self._controller_flags,
        ]
        controllers = programs / "kube-controller-manager"
        self.run("kube-controller-manager", [controllers, *manager])
        self.run("kube-scheduler", [programs / "kube-scheduler", *alone])

    def _server_flags(self) -> list[str]:
        policy = self.folder / "audit.yaml"
        policy.write_text(_AUDIT, encoding="utf-8")
        serving = self.authority.certify("apiserver", "/CN=kube-apiserver", _NAMES)
        client = self.authority.certify("kubelet-client", "/O=system:masters/CN=kube-apiserver")
        return [
            f"--etcd-servers={_ETCD}",
            f"--secure-port={PORT}",
            # Not loopback: then no pod could reach it, and it no kubelet.
            f"--advertise-address={ADDRESS}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            f"--kubelet-client-certificate={client.certificate}",
            f"--kubelet-client-key={client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.authority.account_public}",
            f"--service-account-signing-key-file={self.authority.account_key}",
            "--authorization-mode=Node,RBAC",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.logs}/audit.log",
            f"--service-cluster-ip-range={SERVICES}",
            "--allow-privileged=true",
            # Otherwise it writes a certificate of its own to /var/run/kubernetes.
            f"--cert-dir={self.folder}/pki",
        ]

    def _answers(self) -> bool:
        trusting = ssl.create_default_context(cafile=str(self.authority.certificate))
        connection = http.client.HTTPSConnection(ADDRESS, PORT, timeout=2, context=trusting)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()

"""A node on this machine, inside this namespace: containerd, kubelet and kube-proxy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from lab import binaries, containerd, control, images, namespace, vllm_image
from lab.parts import register, run
from lab.processes import Process

NAME = "lab"
_PODS = "10.244.0.0/24"
# Debian's alternatives, which a maintainer script would have set.
_IPTABLES = tuple(f"ip{six}tables{what}" for six in ("", "6") for what in ("", "-save", "-restore"))


@register("node-images")
def baked() -> Path:
    """The root of a containerd that has the images of this node's pods.

    Raises:
        lab.parts.PartError: It cannot be made here.
    """
    return containerd.baked((*images.images(), vllm_image.image()))


class Node:
    """A node named `lab` that runs pods for real; use it as a context manager.

    It keeps to its folder and to a cgroup of its own, and sets nothing for the whole machine.

    Args:
        plane: The running control plane.
        folder: Where it keeps everything; best on a tmpfs.

    Raises:
        lab.processes.StartError: On entering: a program ended, or the node did not get ready.
    """

    def __init__(self, plane: control.Control, folder: Path) -> None:
        self._plane = plane
        self._folder = folder
        self._programs = folder / "bin"
        self._running: list[Process] = []
        self._runtime: containerd.Containerd | None = None

    def mount(self, image: str, folders: Mapping[str, Path]) -> None:
        """Show folders of the node in every container of an image; see `Containerd.mount`."""
        assert self._runtime is not None, "the node does not run"
        self._runtime.mount(image, folders)

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

    def _start(self) -> None:
        self._programs.mkdir(parents=True)
        _make_cgroup()
        # Services' addresses are rewritten on their way out, so there has to be a way out.
        run(["ip", "route", "add", control.SERVICES, "dev", namespace.BRIDGE])
        self._link_iptables()
        runtime = self._folder / "containerd"
        _write(runtime / "cni/10-pods.conflist", _network())
        running = containerd.Containerd(runtime, self._plane.logs, baked(), self._programs)
        self._running.append(running.process)
        self._runtime = running
        kubelet = self._run_kubelet(running.socket)
        self._run_proxy()
        kubelet.until(self._is_ready, f"node {NAME} is Ready", 60)

    def _run_kubelet(self, socket: Path) -> Process:
        folder = self._folder
        kubeconfig = self._plane.kubeconfig_for(f"system:node:{NAME}", ["system:nodes"])
        # A machine's own resolv.conf may be a link into the /run that is covered here.
        (folder / "resolv.conf").write_text("", encoding="ascii")
        config = _kubelet(folder, socket, self._plane.authority.certificate)
        _write(folder / "kubelet.json", config)
        program = binaries.kubernetes() / "kubelet"
        argv = [f"{program}", f"--config={folder}/kubelet.json", f"--kubeconfig={kubeconfig}"]
        argv += [f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet-pki"]
        argv += [f"--hostname-override={NAME}", f"--node-ip={control.ADDRESS}"]
        return self._run("kubelet", argv)

    def _run_proxy(self) -> None:
        kubeconfig = self._plane.kubeconfig_for("system:kube-proxy")
        _write(self._folder / "proxy.json", _proxy(kubeconfig))
        program = binaries.kubernetes() / "kube-proxy"
        argv = [f"--config={self._folder}/proxy.json", f"--hostname-override={NAME}"]
        self._run("kube-proxy", [f"{program}", *argv])

    def _run(self, name: str, argv: list[str]) -> Process:
        env = containerd.environment(self._programs)
        process = Process(name, argv, self._plane.logs, env)
        self._running.append(process)
        return process

    def _link_iptables(self) -> None:
        """Give iptables its name: nft's where the kernel has it, else the older one."""
        tools = control.tools()
        nft = tools.program("xtables-nft-multi")
        env = {**os.environ, **tools.env}
        tried = subprocess.run(
            [nft, "iptables", "-t", "nat", "-L"], env=env, check=False, capture_output=True
        )
        program = nft if tried.returncode == 0 else tools.program("xtables-legacy-multi")
        for name in _IPTABLES:
            (self._programs / name).symlink_to(program)

    def _is_ready(self) -> bool:
        path = f"/api/v1/nodes/{NAME}"
        try:
            node = json.loads(self._plane.kubectl("get", "--raw", path))
        except control.KubectlError:
            return False
        conditions = node["status"].get("conditions", [])
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        # A new node is tainted until the controller manager has seen that it is ready.
        return ready and not node["spec"].get("taints")


def _make_cgroup() -> None:
    """Make this namespace's cgroup in each hierarchy; with version 2, let it divide resources."""
    for hierarchy in namespace.hierarchies():
        if (hierarchy / "cgroup.controllers").exists():
            able = (hierarchy / "cgroup.controllers").read_text(encoding="ascii").split()
            wanted = " ".join(f"+{name}" for name in able)
            (hierarchy / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
        (hierarchy / namespace.cgroup()).mkdir(exist_ok=True)
        if (hierarchy / "cpuset.cpus").exists():
            # A cpuset of version 1 begins without any processor or memory.
            for name in ("cpuset.cpus", "cpuset.mems"):
                value = (hierarchy / name).read_text(encoding="ascii")
                (hierarchy / namespace.cgroup() / name).write_text(value, encoding="ascii")


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def _network() -> dict[str, object]:
    """Pods' network: https://www.cni.dev/docs/spec/ ."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": _PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        # A pod may be its own Service's only pod.
        "hairpinMode": True,
        "ipam": addresses,
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _kubelet(folder: Path, socket: Path, authority: Path) -> dict[str, object]:
    """Source: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/ ."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": control.ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{namespace.cgroup()}",
        # There is no DNS. A lookup is refused at once, so that no program waits for an answer.
        "clusterDNS": [control.ADDRESS],
        "containerRuntimeEndpoint": f"unix://{socket}",
        "enforceNodeAllocatable": [],
        # The machine's disk is not the test's: only a full one matters.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        # No image would come back.
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{folder}/pods",
        "resolvConf": f"{folder}/resolv.conf",
        "volumePluginDir": f"{folder}/plugins",
    }


def _proxy(kubeconfig: Path) -> dict[str, object]:
    """Source: https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/ ."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": control.ADDRESS,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": control.PODS,
        # These are the whole machine's to set.
        "conntrack": {"maxPerCore": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
        "iptables": {"minSyncPeriod": "0s"},
        "mode": "iptables",
    }

"""vLLM without a network: it starts and answers, and does not try to reach anything."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import pytest
from support.vllm_processes import Starter

TESTS = pathlib.Path(__file__).parents[1]
WAY_OUT = "out0"
RESOLVER = "192.0.2.53"
ETH_P_ALL = 3
# IPv6 "next header" numbers of the packets that the kernel itself sends on a new link: hop-by-hop
# options and ICMPv6.
KERNEL_HEADERS = (0, 58)


@pytest.fixture(scope="module")
def isolated(starter: Starter) -> list[str]:
    """The command that runs this file as a program, in network and mount namespaces of its own."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "mount"))):
        pytest.skip("a network that leads nowhere needs root (sudo), unshare, ip and mount")
    facts = json.dumps({name: str(path) for name, path in dataclasses.asdict(starter).items()})
    return ["unshare", "--net", "--mount", "--", sys.executable, __file__, facts]


def run(isolated: list[str], what: str) -> dict[str, object]:
    """Run this file with an argument in there, and return what it prints."""
    env = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run([*isolated, what], env=env, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr.decode()[-6000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_sniffer_sees_what_leaves(isolated: list[str]) -> None:
    """An attempt to connect to somewhere else is a packet on the way out."""
    told = run(isolated, "noisy")
    assert told["packets"]
    assert told["answer"] == ""


@pytest.mark.parametrize("how", ["stock", "fast"])
def test_a_start_sends_nothing(isolated: list[str], how: str) -> None:
    """From a start to its end not one packet leaves, and nothing stays behind."""
    told = run(isolated, how)
    assert told["packets"] == []
    assert str(told["answer"]).startswith(" Paris")
    assert told["how"] == how
    assert (told["code"], told["left"]) == (0, [])


@contextlib.contextmanager
def sniffed() -> Iterator[list[str]]:
    """Set default routes that lead nowhere, and yield a growing list of the packets sent there."""
    for words in (
        "mount --make-rprivate /",
        "ip link set lo up",
        f"ip link add {WAY_OUT} type veth peer name nobody",
        "ip link set nobody up",
        f"ip address add 192.0.2.1/24 dev {WAY_OUT}",
        f"ip link set {WAY_OUT} up",
        f"ip neighbour add 192.0.2.254 lladdr 02:00:00:00:00:01 dev {WAY_OUT}",
        "ip route add default via 192.0.2.254",
    ):
        subprocess.run(words.split(), check=True)
    # This fails on a kernel without IPv6, which needs no such route.
    subprocess.run(["ip", "-6", "route", "add", "default", "dev", WAY_OUT], check=False)
    with tempfile.NamedTemporaryFile("w") as resolver:
        resolver.write(f"nameserver {RESOLVER}\n")
        resolver.flush()
        subprocess.run(["mount", "--bind", resolver.name, "/etc/resolv.conf"], check=True)
    packets: list[str] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sniffer:
        sniffer.bind((WAY_OUT, ETH_P_ALL))
        sniffer.settimeout(0.2)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    packet = sniffer.recv(2048)
                    if not (packet[0] >> 4 == 6 and packet[6] in KERNEL_HEADERS):
                        packets.append(packet.hex())

        thread = threading.Thread(target=listen)
        thread.start()
        yield packets
        time.sleep(0.5)
        stop.set()
        thread.join()


def try_to_connect() -> None:
    """Try to connect to a host that is not there."""
    with contextlib.suppress(OSError), socket.socket() as client:
        client.settimeout(0.5)
        client.connect(("198.51.100.7", 443))


def main() -> None:
    """Do what the last argument says without a network, and print what was seen."""
    facts, what = json.loads(sys.argv[1]), sys.argv[2]
    starter = Starter(**{name: pathlib.Path(path) for name, path in facts.items()})
    told: dict[str, object] = {"answer": "", "how": what}
    with sniffed() as packets:
        if what == "noisy":
            try_to_connect()
        else:
            began = time.monotonic()
            fast = {"fast": {"fork": True}} if what == "fast" else {}
            with starter.supervised("--enforce-eager", **fast) as engine:
                engine.wait_ready(began)
                told["answer"] = engine.complete("The capital of France is")
                told["how"] = engine.events("engine-starting")[-1]["how"]
                segments = engine.segments()
                told["code"] = engine.end()
                told["left"] = [*engine.members(), *filter(os.path.exists, segments)]
    sys.stdout.write(json.dumps(told | {"packets": packets}) + "\n")


if __name__ == "__main__":
    main()

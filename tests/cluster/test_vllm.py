"""Real vLLM in pods, on a node that has no route out."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lab import vllm_image
from lab.cluster import Cluster
from lab.control import KubectlError
from support.cluster_project import SERVER, Done, Project
from support.packet_capture import Sniffer

from modelshelf.engines.images import IMAGES

pytestmark = pytest.mark.timeout(300)
_LONG = 200  # tokens: some seconds of work, begun before the server is told to end


@pytest.fixture(scope="module")
def started_server(vllm_project: Project) -> tuple[Done, Sniffer]:
    """The end of an `up` of a primed server, and what its node sent meanwhile."""
    vllm_project.file["servers"][SERVER]["prime"] = True
    with Sniffer() as sniffer:
        done = vllm_project.run("up")
    return done, sniffer


def _pod(project: Project) -> dict[str, Any]:
    (pod,) = project.pods()
    return pod


def _run_in_engine(project: Project, code: str) -> str:
    """Run a Python program in the engine's container, and return its output."""
    name = _pod(project)["metadata"]["name"]
    return project.kubectl("exec", name, "-c", "engine", "--", "python3", "-c", code)


def test_the_node_has_the_rendered_vllm_image() -> None:
    """The node has an image under the name that pods of vLLM without a GPU use."""
    assert IMAGES["vllm-cpu"] == vllm_image.VLLM


def test_vllm_answers_through_its_service(started_server: tuple[Done, Sniffer]) -> None:
    """`up` pulls the model and starts the engine, which answers the question right."""
    assert "Paris" in started_server[0].answer


def test_vllm_needs_and_asks_for_nothing_outside(
    vllm_project: Project, started_server: tuple[Done, Sniffer]
) -> None:
    """A pod has no route out, and from its start to its answer the engine tried to use none.

    No connection that it began, no datagram and no question for a name left its pod.
    """
    ask = "import socket; print(socket.socket().connect_ex(('192.0.2.1', 443)))"
    assert os.strerror(int(_run_in_engine(vllm_project, ask))) == "Network is unreachable"
    address = _pod(vllm_project)["status"]["podIP"]
    begun = started_server[1].begun
    assert begun.get(address, set()) == set()
    # The sniffer hears pods: the one that pulled asked the hub.
    hub = urlsplit(vllm_project.hub.url)
    assert any((hub.hostname, hub.port, "tcp") in each for each in begun.values())


def _events_in_engine(project: Project) -> list[dict[str, Any]]:
    """The events that our code wrote in the engine's container."""
    lines = project.kubectl("logs", _pod(project)["metadata"]["name"], "-c", "engine").splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"event": ')]


def test_an_engine_gets_the_published_compile_cache(
    vllm_project: Project, started_server: tuple[Done, Sniffer]
) -> None:
    """A Job publishes the engine's compile cache first, and `start` unpacks it, read-only."""
    (primed,) = started_server[0].of("primed", server=SERVER)
    assert primed["how"] == "made"
    events = {line["event"]: line for line in _events_in_engine(vllm_project)}
    assert list(events)[:2] == ["cache-unpacked", "engine-starting"]
    assert events["cache-unpacked"]["key"] == primed["key"]
    assert events["engine-starting"]["how"] == "fast", events["engine-starting"]
    assert events["engine-ready"]["seconds"] > 0
    share = Path(vllm_project.file["shelf"]["hostPath"]["path"])
    archive = share / "compile-cache" / primed["key"] / "caches.tar"
    assert archive.stat().st_mode & 0o222 == 0
    write = "open('/compile-cache/x', 'w')"
    with pytest.raises(KubectlError, match="Read-only file system"):
        _run_in_engine(vllm_project, write)


def test_a_primed_server_is_not_primed_again(
    vllm_project: Project, started_server: tuple[Done, Sniffer]
) -> None:
    """The next `up` changes nothing and starts no engine; `status` says when it was primed."""
    again = vllm_project.run("up")
    assert [event["how"] for event in again.of("prime-started")] == ["present"]
    assert again.changed == []
    (status,) = vllm_project.run("status", "--timeline").events
    assert [(each["server"], each["state"]) for each in status["primes"]] == [(SERVER, "complete")]
    (start,) = status["timelines"]
    shown = {phase["name"] for phase in start["phases"]}
    assert {"gate", "unpack", "import", "weights", "ready"} <= shown


def _ask(address: str, tokens: int) -> tuple[int, int]:
    """Ask a question; return the status of the answer and its number of tokens."""
    connection = http.client.HTTPConnection(address, 80, timeout=60)
    body = {"model": SERVER, "prompt": "One, two,", "max_tokens": tokens, "ignore_eos": True}
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/completions", json.dumps(body), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer.get("usage", {}).get("completion_tokens", 0)


def test_a_server_finishes_its_requests_before_it_ends(
    vllm_project: Project, cluster: Cluster, started_server: tuple[Done, Sniffer]
) -> None:
    """A server that is scaled down answers the long requests that are under way in full."""
    address = vllm_project.get("service", SERVER)["spec"]["clusterIP"]
    cluster.await_service(address, 80)
    name = _pod(vllm_project)["metadata"]["name"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = [pool.submit(_ask, address, _LONG) for _ in range(3)]
        vllm_project.run("scale", SERVER, "0")
        assert not any(each.done() for each in asked)
        assert [each.result() for each in asked] == [(200, _LONG)] * 3
    began = time.monotonic()
    vllm_project.kubectl("wait", "--for=delete", "--timeout=60s", f"pod/{name}")
    assert time.monotonic() - began < 40

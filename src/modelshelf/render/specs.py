"""What our code in a server's pod is told: the gate, `start` and `drain`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace

from modelshelf.config.server_section import ServerConfig
from modelshelf.engines.pods import Container
from modelshelf.render.code import Verb
from modelshelf.render.confined import SHELF_PATH
from modelshelf.render.names import Object
from modelshelf.shelf.layout import COMPILE_CACHE
from modelshelf.shelf.values import Snapshot

CACHE_PATH = "/compile-cache"  # where an engine's container sees that folder of the shelf
# A gate waits as long as it takes. Its end is only so that the pod's status tells why it waits; the
# kubelet starts it again within seconds, since it ran for more than ten minutes.
_GATE_SECONDS = 3600
_QUIET = 2  # seconds without a request under way after which a pod that is to stop does


def specs(server: ServerConfig, snapshot: Snapshot, container: Container) -> Mapping[Verb, Object]:
    """Verb → its spec, for the verbs that run in a server's pods."""
    gate = _gate_spec(snapshot)
    if container.start is None:
        return {"gate": gate}
    drain = container.drain
    return {
        "gate": gate,
        "start": start_spec(server, snapshot, container),
        "drain": {
            "port": container.port,
            "metrics": container.start.metrics,
            "settle": drain.settle,
            "quiet": min(_QUIET, drain.settle),
            "most": drain.most,
        },
    }


def _gate_spec(snapshot: Snapshot) -> Object:
    # The whole snapshot, so that a rollback reads from the cluster what it returns to. When it was
    # published, and by what, is the shelf's to say; and another name for the same commit, as where
    # `main` is pinned to it, is no reason to start pods again.
    source = f"{snapshot.source.removesuffix(f'@{snapshot.revision}')}@{snapshot.commit}"
    told = replace(snapshot, source=source, revision=snapshot.commit, created=0.0, tool="")
    return {"shelf": SHELF_PATH, "snapshot": told.to_json(), "timeout": _GATE_SECONDS}


def prime_specs(snapshot: Snapshot, container: Container, seconds: int) -> Mapping[Verb, Object]:
    """Verb → its spec, for the verbs that run in the Job that primes a server."""
    body = {"model": container.model, "prompt": "1 2 3", "max_tokens": 4}
    prime: Object = {
        "shelf": SHELF_PATH,
        "compile_cache": compile_cache(snapshot, container, f"{SHELF_PATH}/{COMPILE_CACHE}"),
        "health": f"{_base(container)}{container.health_path}",
        "timeout": seconds,
        "ask": {"url": f"{_base(container)}/v1/completions", "body": body},
    }
    return {"prime": prime, "gate": _gate_spec(snapshot)}


def _base(container: Container) -> str:
    return f"http://127.0.0.1:{container.port}"


def start_spec(server: ServerConfig, snapshot: Snapshot, container: Container) -> Object:
    """What `start` is told."""
    start = container.start
    spec: Object = {"health": f"{_base(container)}{container.health_path}"}
    if start is not None and start.prefetch:
        spec["prefetch"] = {"paths": [model_path(container.model)], "memory": None}
    if start is not None and start.fork is not None:
        spec["fast"] = {"fork": start.fork}
    if server.prime:
        spec["compile_cache"] = compile_cache(snapshot, container, CACHE_PATH)
    return spec


def compile_cache(snapshot: Snapshot, container: Container, folder: str) -> Object:
    """Where a snapshot's compile caches lie, and the engine's folder that one is unpacked to."""
    into = next(iter(container.writable))
    named = f"{snapshot.repo_id}@{snapshot.id}"
    return {"folder": folder, "snapshot": named, "into": f"{into}/.modelshelf"}


def model_path(name: str) -> str:
    """Where an engine sees its model.

    It is the same for every snapshot: vLLM's cache of compiled code is keyed by it.
    """
    return "/models/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-") or "model")

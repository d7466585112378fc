"""The specs of the verbs in an engine's pod: `gate`, `start`, `drain` and `prime`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace

from modelshelf.config.server_section import ServerConfig
from modelshelf.engines.pod_engine import Container
from modelshelf.render.code import Verb
from modelshelf.render.names import Object
from modelshelf.render.security import SHELF_PATH
from modelshelf.shelf.layout import COMPILE_CACHE
from modelshelf.shelf.values import Snapshot

CACHE_PATH = "/compile-cache"  # where an engine's container sees that folder of the shelf
# A gate waits until the model is there. It ends now and then so that the pod's status shows why it
# waits. The kubelet restarts it within seconds, because the back-off is reset after ten minutes.
_GATE_SECONDS = 3600
_QUIET_SECONDS = 2  # without a request, after which a draining pod stops


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
            "settle": drain.keep_serving,
            "quiet": min(_QUIET_SECONDS, drain.keep_serving),
            "most": drain.before_sigterm,
        },
    }


def _gate_spec(snapshot: Snapshot) -> Object:
    # The whole snapshot, so that a rollback can read from the cluster what it returns to. Left out
    # is what may change while the files stay the same, since a change of the spec restarts the
    # pods: the time of publishing, and the revision's name (`main` may later be pinned to this
    # commit).
    source = f"{snapshot.source.removesuffix(f'@{snapshot.revision}')}@{snapshot.commit}"
    stable = replace(snapshot, source=source, revision=snapshot.commit, created=0.0, tool="")
    return {"shelf": SHELF_PATH, "snapshot": stable.to_json(), "timeout": _GATE_SECONDS}


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
    """The spec of `start`."""
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
    name = f"{snapshot.repo_id}@{snapshot.id}"
    return {"folder": folder, "snapshot": name, "into": f"{into}/.modelshelf"}


def model_path(name: str) -> str:
    """The folder at which an engine's container mounts its model.

    It is the same for every snapshot, because vLLM's compile cache is keyed by this path.
    """
    return "/models/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-") or "model")

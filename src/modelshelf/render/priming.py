"""The Job in which a server's engine compiles once, for every later start. Pure.

Its pod is the server's but for who it is and what it may write: compiled code fits the processor,
the GPU and the arguments that it was made with. And it asks for as much, which a server that runs
may have: so a complete Job is left alone, whatever our code in it.
"""

from collections.abc import Iterable, Mapping

from modelshelf.config.file import Config
from modelshelf.config.lock import LockedModel
from modelshelf.render import code
from modelshelf.render.confined import SHELF_PATH, identity
from modelshelf.render.keeping import template_hash
from modelshelf.render.names import (
    PRIME,
    SNAPSHOT,
    TEMPLATE,
    Object,
    key,
    labels,
    selector,
)
from modelshelf.render.pod import SHELF_VOLUME, Parts, pod_spec
from modelshelf.render.pulling import named, unnamed
from modelshelf.render.serving import container_of
from modelshelf.render.specs import CACHE_PATH, prime_specs
from modelshelf.render.storage import claims

_RETRIES = 1  # an engine that fails twice fails for a reason, and each try holds a GPU
_BEFORE = 3600 + 1200  # seconds: the gate waits for the model, and an image is pulled
_GRACE = 60
# Of the server's pod. What is left out is for pods of which there are several, or that serve.
_OF_POD = (
    "enableServiceLinks",
    "automountServiceAccountToken",
    "tolerations",
    "initContainers",
    "volumes",
    "nodeSelector",
    "priorityClassName",
)
_OF_CONTAINER = (
    "image",
    "imagePullPolicy",
    "args",
    "env",
    "resources",
    "securityContext",
    "terminationMessagePolicy",
)


def prime_objects(
    config: Config, server_key: str, locked: LockedModel, code_maps: Mapping[code.Package, str]
) -> list[Object]:
    """What primes a server: its spec, and the Job.

    Args:
        config: The file.
        server_key: The server's key in it.
        locked: What its model was resolved to.
        code_maps: Package of ours → the name of its ConfigMap.

    Raises:
        UsageError: Its engine cannot serve these files, or not as it is configured.
    """
    server, snapshot = config.servers[server_key], locked.snapshot
    container, start = container_of(config, server_key, snapshot)
    told = prime_specs(snapshot, container, start)
    spec = code.spec_map(config, PRIME, server_key, told)
    chosen = selector(config, server_key)
    mounted = {package: code_maps[package] for package in code.packages_for(told)}
    parts = Parts(config, server, snapshot, container, start, mounted, key(spec).name, chosen)
    own = labels(config, PRIME, server_key)
    job = unnamed(config, own, _pod(parts), _BEFORE + (1 + _RETRIES) * start, _RETRIES)
    about = {SNAPSHOT: f"{snapshot.repo_id}@{snapshot.id}", TEMPLATE: template_hash(job)}
    return [spec, named(job, f"prime-{server_key}", about)]


def job_of(objects: Iterable[Object]) -> Object:
    """The Job among the objects that prime a server."""
    return next(obj for obj in objects if obj["kind"] == "Job")


def same_work(one: Object, other: Object) -> bool:
    """Whether two Jobs do the same, whatever our code in them."""
    hashes = {(job["metadata"].get("annotations") or {}).get(TEMPLATE) for job in (one, other)}
    return len(hashes) == 1 and None not in hashes


def _pod(parts: Parts) -> Object:
    pod = pod_spec(parts)
    (engine,) = pod["containers"]
    mounts = [mount for mount in engine["volumeMounts"] if mount["mountPath"] != CACHE_PATH]
    shelf, group = parts.config.shelf, parts.container.group
    writing = {"persistentVolumeClaim": {"claimName": claims(parts.config).rw}}
    return {
        **{name: pod[name] for name in _OF_POD if name in pod},
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE,
        # Who pulls, since it writes to the shelf; vLLM is content with a name in USER.
        "securityContext": identity(
            shelf.user, shelf.group if group is None else group, shelf.group
        ),
        "containers": [
            {
                **{name: engine[name] for name in _OF_CONTAINER},
                "name": PRIME,
                "command": [*code.command("prime"), "--", *parts.container.command],
                "volumeMounts": [{"name": SHELF_VOLUME, "mountPath": SHELF_PATH}, *mounts],
            }
        ],
        "volumes": [
            {"name": SHELF_VOLUME, **writing} if volume["name"] == SHELF_VOLUME else volume
            for volume in pod["volumes"]
        ],
    }

"""The Job in which a server's engine compiles once, for every later start of its pods. Pure.

Compiled code fits only the processor, the GPU and the arguments that it was compiled for. So the
Job's pod is the server's pod, with another user and the right to write to the shelf. It needs the
same GPUs, which the running server may occupy. That is why a complete Job is not run again for a
new version of our code.
"""

from collections.abc import Mapping

from modelshelf.config.file import Config
from modelshelf.config.lock import LockedModel
from modelshelf.render import code
from modelshelf.render.carry_over import template_hash
from modelshelf.render.jobs import job, with_name
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
from modelshelf.render.security import SHELF_PATH, pod_security
from modelshelf.render.server_objects import container_of
from modelshelf.render.storage import claims
from modelshelf.render.verb_specs import CACHE_PATH, prime_specs

_RETRIES = 1  # an engine that fails twice fails for a reason, and each try holds a GPU
_WAIT_SECONDS = 3600 + 1200  # until the gate has seen the model, and the image is pulled
_GRACE_SECONDS = 60
# The fields that are taken from the server's pod. The others are for pods that serve requests, or
# of which there are several.
_POD_FIELDS = (
    "enableServiceLinks",
    "automountServiceAccountToken",
    "tolerations",
    "initContainers",
    "volumes",
    "nodeSelector",
    "priorityClassName",
)
_CONTAINER_FIELDS = (
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
    """The objects that prime a server: the spec of the prime, and the Job.

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
    specs = prime_specs(snapshot, container, start)
    spec = code.spec_map(config, PRIME, server_key, specs)
    found_by = selector(config, server_key)
    mounted = {package: code_maps[package] for package in code.packages_for(specs)}
    parts = Parts(config, server, snapshot, container, start, mounted, key(spec).name, found_by)
    own = labels(config, PRIME, server_key)
    prime = job(config, own, _pod(parts), _WAIT_SECONDS + (1 + _RETRIES) * start, _RETRIES)
    annotations = {SNAPSHOT: f"{snapshot.repo_id}@{snapshot.id}", TEMPLATE: template_hash(prime)}
    return [spec, with_name(prime, f"prime-{server_key}", annotations)]


def same_work(one: Object, other: Object) -> bool:
    """Whether two Jobs differ in the version of our code alone."""
    hashes = {(each["metadata"].get("annotations") or {}).get(TEMPLATE) for each in (one, other)}
    return len(hashes) == 1 and None not in hashes


def _pod(parts: Parts) -> Object:
    pod = pod_spec(parts)
    (engine,) = pod["containers"]
    mounts = [mount for mount in engine["volumeMounts"] if mount["mountPath"] != CACHE_PATH]
    shelf, group = parts.config.shelf, parts.container.group
    writable = {"persistentVolumeClaim": {"claimName": claims(parts.config).rw}}
    return {
        **{name: pod[name] for name in _POD_FIELDS if name in pod},
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        # The user of pulls, since it writes to the shelf. This user may have no entry in the
        # image's /etc/passwd; vLLM then takes the name from the variable USER.
        "securityContext": pod_security(
            shelf.user, shelf.group if group is None else group, shelf.group
        ),
        "containers": [
            {
                **{name: engine[name] for name in _CONTAINER_FIELDS},
                "name": PRIME,
                "command": [*code.command("prime"), "--", *parts.container.command],
                "volumeMounts": [{"name": SHELF_VOLUME, "mountPath": SHELF_PATH}, *mounts],
            }
        ],
        "volumes": [
            {"name": SHELF_VOLUME, **writable} if volume["name"] == SHELF_VOLUME else volume
            for volume in pod["volumes"]
        ],
    }

"""Everything that a modelshelf.yaml and its lock come to in a cluster. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelshelf.config.file import Config
from modelshelf.config.lock import Lock, Locked
from modelshelf.core.errors import UsageError
from modelshelf.targets.render.code import OF_SERVERS, code_map
from modelshelf.targets.render.keeping import code_map_of, deployment_of
from modelshelf.targets.render.names import Object, key
from modelshelf.targets.render.priming import prime_objects
from modelshelf.targets.render.pulling import pull_objects
from modelshelf.targets.render.serving import server_objects
from modelshelf.targets.render.storage import namespace, storage

_WAVE = "argocd.argoproj.io/sync-wave"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of one file, in the order in which they are applied.

    Attributes:
        namespace: The namespace.
        storage: Volumes and claims; empty where the claim is the user's.
        code: The map for pulls, then those that servers mount.
        pulls: Key of a model → its spec and its Job.
        servers: Key of a server → its spec, Deployment, Service and the rest.
        prime_code: The map that Jobs mount which prime servers; empty if there are none.
        primes: Key of a server that shall be primed → the spec and the Job that do it.
    """

    namespace: Object
    storage: list[Object]
    code: list[Object]
    pulls: Mapping[str, list[Object]]
    servers: Mapping[str, list[Object]]
    prime_code: list[Object] = field(default_factory=list)
    primes: Mapping[str, list[Object]] = field(default_factory=dict)

    def pull_folder(self) -> list[Object]:
        """What comes first: storage, and the pulls; in Argo CD's first wave."""
        pulls = [obj for objects in self.pulls.values() for obj in objects]
        return [in_wave(0, obj) for obj in (self.namespace, *self.storage, *self.code[:1], *pulls)]

    def prime_folder(self) -> list[Object]:
        """What comes once the models are there: engines that compile; in Argo CD's second wave."""
        primes = [obj for objects in self.primes.values() for obj in objects]
        return [in_wave(1, obj) for obj in (*self.prime_code, *primes)]

    def serve_folder(self) -> list[Object]:
        """What comes last: servers; in Argo CD's next wave."""
        servers = [obj for objects in self.servers.values() for obj in objects]
        wave = 2 if self.primes else 1
        return [in_wave(wave, obj) for obj in (*self.code[1:], *servers)]

    def in_order(self) -> list[Object]:
        """All of them."""
        return [*self.pull_folder(), *self.prime_folder(), *self.serve_folder()]


def render(config: Config, lock: Lock) -> Rendered:
    """Decide on every object.

    Args:
        config: The file.
        lock: With every model of the file.

    Raises:
        UsageError: The lock lacks a model, or the file asks for what cannot be.
    """
    maps = {which: code_map(config, which) for which in OF_SERVERS}
    names = {which: key(made).name for which, made in maps.items()}
    servers = {
        server: server_objects(config, server, _locked(lock, config.servers[server].model), names)
        for server in sorted(config.servers)
    }
    primed = {
        server: _locked(lock, config.servers[server].model)
        for server in sorted(config.servers)
        if config.servers[server].prime
    }
    prime_code = [code_map(config, "prime")] if primed else []
    primes = {
        server: prime_objects(config, server, locked, key(prime_code[0]).name)
        for server, locked in primed.items()
    }
    mounted = {code_map_of(deployment_of(objects)) for objects in servers.values()}
    return Rendered(
        namespace=namespace(config),
        storage=storage(config),
        code=[
            code_map(config, "pull"),
            *(made for made in maps.values() if key(made).name in mounted),
        ],
        pulls={
            model: pull_objects(config, model, _locked(lock, model))
            for model in sorted(config.models)
        },
        servers=servers,
        prime_code=prime_code,
        primes=primes,
    )


def _locked(lock: Lock, model: str) -> Locked:
    if model not in lock.models:
        raise UsageError(f"modelshelf.lock lacks the model {model}", hint="run modelshelf lock")
    return lock.models[model]


def in_wave(wave: int, obj: Object) -> Object:
    """An object with its place in Argo CD's order."""
    metadata = obj["metadata"]
    annotations = {**metadata.get("annotations", {}), _WAVE: str(wave)}
    return obj | {"metadata": metadata | {"annotations": annotations}}

"""Everything that a modelshelf.yaml and its lock come to in a cluster. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelshelf.config.file import Config
from modelshelf.config.lock import Lock, LockedModel
from modelshelf.render.carry_over import code_maps_of, deployment_of
from modelshelf.render.code import PACKAGES, Package, code_map
from modelshelf.render.jobs import job_of
from modelshelf.render.names import Object, key
from modelshelf.render.prime_job import prime_objects
from modelshelf.render.server_objects import server_objects
from modelshelf.render.shelf_jobs import pull_objects
from modelshelf.render.storage import namespace, storage
from modelshelf.shelf.errors import UsageError

_WAVE = "argocd.argoproj.io/sync-wave"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of one file, in the order in which they are applied.

    Attributes:
        namespace: The namespace.
        storage: Volumes and claims; empty where the claim is the user's.
        code: Package of ours → the ConfigMap with its files, for each that a pod mounts.
        pulls: Key of a model → its spec and its Job.
        servers: Key of a server → its spec, Deployment, Service and the rest.
        primes: Key of a server that shall be primed → the spec and the Job that do it.
    """

    namespace: Object
    storage: list[Object]
    code: Mapping[Package, Object]
    pulls: Mapping[str, list[Object]]
    servers: Mapping[str, list[Object]]
    primes: Mapping[str, list[Object]] = field(default_factory=dict)

    def pull_folder(self) -> list[Object]:
        """What comes first: storage, our code, and the pulls; in Argo CD's first wave."""
        pulls = [obj for objects in self.pulls.values() for obj in objects]
        first = (self.namespace, *self.storage, *self.code.values(), *pulls)
        return [in_wave(0, obj) for obj in first]

    def prime_folder(self) -> list[Object]:
        """What comes once the models are there: engines that compile; in Argo CD's second wave."""
        return [in_wave(1, obj) for objects in self.primes.values() for obj in objects]

    def serve_folder(self) -> list[Object]:
        """What comes last: servers; in Argo CD's next wave."""
        wave = 2 if self.primes else 1
        return [in_wave(wave, obj) for objects in self.servers.values() for obj in objects]

    def in_order(self) -> list[Object]:
        """All of them."""
        return [*self.pull_folder(), *self.prime_folder(), *self.serve_folder()]

    def code_named(self, names: frozenset[str]) -> list[Object]:
        """Those of the ConfigMaps with our code that have one of some names."""
        return [obj for obj in self.code.values() if key(obj).name in names]


def render(config: Config, lock: Lock) -> Rendered:
    """Decide on every object.

    Args:
        config: The file.
        lock: With every model of the file.

    Raises:
        UsageError: The lock lacks a model, or the file asks for what cannot be.
    """
    code = {package: code_map(config, package) for package in PACKAGES}
    names = {package: key(obj).name for package, obj in code.items()}
    pulls = {
        model: pull_objects(config, model, _locked(lock, model), names)
        for model in sorted(config.models)
    }
    servers = {
        server: server_objects(config, server, _locked(lock, config.servers[server].model), names)
        for server in sorted(config.servers)
    }
    primes = {
        server: prime_objects(config, server, _locked(lock, config.servers[server].model), names)
        for server in sorted(config.servers)
        if config.servers[server].prime
    }
    jobs = [job_of(objects) for objects in (*pulls.values(), *primes.values())]
    deployments = [deployment_of(objects) for objects in servers.values()]
    mounted = {package for each in (*jobs, *deployments) for package in code_maps_of(each)}
    return Rendered(
        namespace=namespace(config),
        storage=storage(config),
        code={package: obj for package, obj in code.items() if package in mounted},
        pulls=pulls,
        servers=servers,
        primes=primes,
    )


def _locked(lock: Lock, model: str) -> LockedModel:
    if model not in lock.models:
        raise UsageError(f"modelshelf.lock lacks the model {model}", hint="run modelshelf lock")
    return lock.models[model]


def in_wave(wave: int, obj: Object) -> Object:
    """An object with its place in Argo CD's order."""
    metadata = obj["metadata"]
    annotations = {**metadata.get("annotations", {}), _WAVE: str(wave)}
    return obj | {"metadata": metadata | {"annotations": annotations}}

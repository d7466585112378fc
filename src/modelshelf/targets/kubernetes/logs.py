"""`logs`: what the pods of a server, or of a model's pull, say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from modelshelf.config.file import Config
from modelshelf.render import names
from modelshelf.render.names import Object
from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.targets.kubernetes.reading import Line, Readers
from modelshelf.targets.kubernetes.site import Site

_WAIT = 0.2  # seconds for the next line


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Which lines are wanted.

    Attributes:
        follow: Go on with what comes, new pods included, until interrupted.
        tail: How many of the last lines of each pod; None for all.
        pod: Of one pod alone.
    """

    follow: bool = False
    tail: int | None = None
    pod: str | None = None


def logs(site: Site, name: str, choice: Choice) -> Iterator[Line]:
    """The lines of a server's pods, or of a model's pulls.

    Of a pod whose engine has not started, those of its gate.

    Raises:
        UsageError: The file has no such server or model.
        TargetError: There is no such pod, or this user may not read its log.
    """
    config = site.config
    labels = _labels(config, name)
    readers = Readers(site.cluster, site.namespace)
    reading: dict[str, str | None] = {}
    while True:
        mine = site.cluster.list("Pod", site.namespace, labels)
        mine = [pod for pod in mine if choice.pod in {None, pod["metadata"]["name"]}]
        if not mine and not reading:
            raise _no_pods(config, name, choice)
        _begin(readers, reading, name, mine, choice)
        yield from readers.lines(_WAIT)
        while readers.reading() and not choice.follow:
            yield from readers.lines(_WAIT)
        yield from readers.lines()
        if readers.refusal:
            raise readers.refusal
        if not choice.follow:
            return
        site.pace.sleep(site.pace.look)


def _begin(
    readers: Readers,
    reading: dict[str, str | None],
    name: str,
    mine: Sequence[Object],
    choice: Choice,
) -> None:
    for pod in mine:
        pod_name = pod["metadata"]["name"]
        container = speaking(pod)
        if container is None or reading.get(pod_name) == container:
            continue
        if readers.ended(pod_name) or pod_name not in reading:
            reading[pod_name] = container
            readers.read(
                name, pod_name, container=container, follow=choice.follow, tail=choice.tail
            )


def _labels(config: Config, name: str) -> dict[str, str]:
    component = names.SERVER if name in config.servers else names.PULL
    if name not in config.servers and name not in config.models:
        known = ", ".join([*sorted(config.servers), *sorted(config.models)])
        raise UsageError(
            f"modelshelf.yaml has no server and no model {name}", hint=f"it has {known}"
        )
    return {**names.of_file(config), names.COMPONENT: component, names.NAME: names.fitted(name)}


def speaking(pod: Object) -> str | None:
    """The container of a pod that has something to say; None if none has begun. Pure."""
    status = pod.get("status", {})
    for part in ("containerStatuses", "initContainerStatuses"):
        for each in reversed(status.get(part) or []):
            begun = {"running", "terminated"} & set(each.get("state") or {})
            if begun or each.get("lastState"):
                return str(each["name"])
    return None


def _no_pods(config: Config, name: str, choice: Choice) -> TargetError:
    if choice.pod:
        return TargetError(
            f"{name} has no pod {choice.pod} in namespace {config.namespace}",
            hint="modelshelf status names its pods",
        )
    return TargetError(
        f"{name} has no pods in namespace {config.namespace}", hint="run modelshelf up first"
    )

"""`modelshelf status`: the state of servers and models in a cluster."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from modelshelf.cli import kube
from modelshelf.cli.formats import age, short_id, size
from modelshelf.cli.output import Output
from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.targets import kubernetes
from modelshelf.targets.kubernetes.status import ModelStatus, PrimeStatus, ServerStatus, Status


@file_verb
def status(
    run: FileRun,
    *,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Show the phases of each pod's last start.")
    ] = False,
    context: kube.ContextOption = None,
    kubeconfig: kube.KubeconfigOption = None,
) -> None:
    """Show the state of each server and model in the cluster.

    The state of a model is what its last pull or check found on the shelf.
    """
    with kube.opened(run, context, kubeconfig) as it:
        site = it.site(run.output.event)
        found = kubernetes.status(site)
        starts = kubernetes.timelines(site) if timeline else []
    value = dataclasses.asdict(found)
    if timeline:
        value["timelines"] = [
            {"server": each.server, "pod": each.pod, **each.timeline.to_json()} for each in starts
        ]
    run.output.document(value)
    _show(run.output, found)
    if starts:
        from modelshelf.cli.timelines import draw  # noqa: PLC0415 - rich is slow to import

        for each in starts:
            draw(run.output, f"{each.server}: pod {each.pod}", each.timeline)


def _show(output: Output, found: Status) -> None:
    output.note(f"{found.cluster} (context {found.context}), namespace {found.namespace}")
    output.table(
        ("SERVER", "READY", "MODEL", "COMMIT", "SIZE>", "URL"),
        [_server(each) for each in found.servers],
    )
    for server in found.servers:
        if server.reason:
            output.data(f"{server.name}: {server.reason}")
        for pod in server.pods:
            detail = f": {pod.reason}" if pod.reason else ""
            output.data(f"  {pod.name}  {pod.phase}, {age(pod.seconds)} old{detail}")
    for prime in found.primes:
        output.data(f"{prime.server}: {_prime(prime)}")
    output.table(
        ("MODEL", "SNAPSHOT", "SIZE>", "LAST LOOK"), [_model(each) for each in found.models]
    )


def _server(server: ServerStatus) -> tuple[str, ...]:
    replicas = f"{server.ready}/{server.wanted}"
    bytes_ = size(server.bytes) if server.bytes else "-"
    return (server.name, replicas, server.model, server.commit[:12] or "-", bytes_, server.url)


def _prime(prime: PrimeStatus) -> str:
    return {
        "complete": f"primed {age(prime.seconds)} ago",
        "failed": f"priming failed {age(prime.seconds)} ago: {prime.detail}",
        "running": f"being primed for {age(prime.seconds)}",
        "never": "never primed; up does it",
    }[prime.state]


def _model(model: ModelStatus) -> tuple[str, ...]:
    repo_id, _, snapshot = model.snapshot.partition("@")
    named = f"{repo_id}@{short_id(snapshot)}" if snapshot else "-"
    looks = {
        "whole": f"whole, {age(model.seconds)} ago",
        "failed": f"failed {age(model.seconds)} ago: {model.detail}",
        "running": f"being pulled for {age(model.seconds)}",
        "never": "never",
    }
    return (model.name, named, size(model.bytes) if model.bytes else "-", looks[model.look])

"""The Jobs that pull models to the shelf, and the Job that deletes models from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelshelf.render.jobs import job_of
from modelshelf.render.names import Object
from modelshelf.render.rendered import Rendered
from modelshelf.shelf.events import Purged
from modelshelf.targets.kubernetes import applying
from modelshelf.targets.kubernetes.events import PullEvent, PullStarted, PullTrouble
from modelshelf.targets.kubernetes.job_runner import JobKind, run_jobs
from modelshelf.targets.kubernetes.session import Session
from modelshelf.transfer.events import Published

_PULL = JobKind("model", PullStarted, PullEvent, PullTrouble, (Published, Purged))


def pull_models(
    session: Session,
    rendered: Rendered,
    models: Iterable[str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Pull models. The Job of a model that is on the shelf already only looks at its files.

    Args:
        session: The file, the cluster, and how long to wait.
        rendered: The objects of the file.
        models: Keys of the models; None for all.
        force: Take over ConfigMaps that are not ours.

    Raises:
        Error: A Job failed. The error is the one that its pod reported, else a `TargetError`.
    """
    objects_of: Mapping[str, list[Object]] = {
        model: rendered.pulls[model] for model in (rendered.pulls if models is None else models)
    }
    jobs = {model: job_of(objects) for model, objects in objects_of.items()}
    applying.apply_code(session, rendered, jobs.values(), force=force)
    applying.apply_all_but_jobs(session, objects_of.values(), force=force)
    run_jobs(session, jobs, _PULL)


def run_purge(session: Session, job: Object) -> None:
    """Run the Job that deletes models from the shelf.

    Raises:
        Error: The Job failed. The error is the one that its pod reported, else a `TargetError`.
    """
    run_jobs(session, {"purge": job}, _PULL)

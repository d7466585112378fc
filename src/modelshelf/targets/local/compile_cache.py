"""Unpacks the compile cache of a model for one server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from modelshelf.shelf import layout
from modelshelf.shelf.errors import Error
from modelshelf.shelf.events import Listener
from modelshelf.start import cache_store
from modelshelf.start.cache_unpack import unpack
from modelshelf.start.events import CacheMissing, CacheUnpacked
from modelshelf.targets.local.cache_slots import reserve_slot, slots_folder
from modelshelf.targets.local.serving_plan import (
    ServingPlan,
    engine_environment,
    make_server_spec,
)


def cache_settings(plan: ServingPlan, target: str) -> dict[str, str]:
    """The arguments of `cache_unpack.unpack` that say which cache it unpacks.

    Args:
        plan: The model that is served.
        target: The folder to unpack to.
    """
    return {
        "folder": os.path.join(plan.shelf.path, layout.COMPILE_CACHE),
        "snapshot": f"{plan.snapshot.repo_id}@{plan.snapshot.id}",
        "into": target,
    }


@contextlib.contextmanager
def unpacked_compile_cache(plan: ServingPlan, on_event: Listener) -> Iterator[dict[str, str]]:
    """Unpack the compile cache that fits a server, and delete it in the end.

    All replicas use the same folder. Without a cache that fits, they use vLLM's own cache of this
    user, which keeps their compiled code for the next start.

    Args:
        plan: The model that is served.
        on_event: Gets `CacheUnpacked`, or `CacheMissing` with the reason.

    Yields:
        The environment variables that point the engine to the folder; empty without a cache.
    """
    spec = make_server_spec(plan)
    model_folder = layout.compile_cache_folder(plan.snapshot.repo_id, plan.snapshot.id)
    if spec.fork is None or not os.path.isdir(os.path.join(plan.shelf.path, model_folder)):
        yield {}
        return
    with contextlib.ExitStack() as stack:
        variables: dict[str, str] = {}
        try:
            target = stack.enter_context(reserve_slot(slots_folder()))
            env = engine_environment(plan, spec)
            event = unpack(**cache_settings(plan, target), argv=spec.argv, env=env)
            on_event(event)
            if isinstance(event, CacheUnpacked):
                variables = cache_store.build_environment(target)
        except Error as error:
            # The engine can compile again. That takes time, but the server works.
            on_event(CacheMissing("", str(error)))
        yield variables

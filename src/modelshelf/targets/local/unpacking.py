"""What was primed for a model, in a folder of this server's own."""

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
from modelshelf.targets.local.jobs import Plan, environment_of, spec_of
from modelshelf.targets.local.slots import slot, slots_folder


def caches(plan: Plan, into: str) -> dict[str, str]:
    """Where compiled caches lie, of what, and the folder that they belong into."""
    folder = os.path.join(plan.shelf.path, layout.COMPILE_CACHE)
    return {
        "folder": folder,
        "snapshot": f"{plan.snapshot.repo_id}@{plan.snapshot.id}",
        "into": into,
    }


@contextlib.contextmanager
def unpacked(plan: Plan, tell: Listener) -> Iterator[dict[str, str]]:
    """Unpack what was primed for a model; the variables that lead an engine to it.

    Its replicas share it. Without anything that fits, they share what vLLM keeps for this user
    anyway, which is there at the next start, too.

    Args:
        plan: What is served.
        tell: Told what was unpacked, or why nothing was.
    """
    spec = spec_of(plan)
    ours = layout.compile_cache_folder(plan.snapshot.repo_id, plan.snapshot.id)
    if spec.fork is None or not os.path.isdir(os.path.join(plan.shelf.path, ours)):
        yield {}
        return
    with contextlib.ExitStack() as stack:
        found: dict[str, str] = {}
        try:
            into = stack.enter_context(slot(slots_folder()))
            env = environment_of(plan, spec)
            told = unpack(**caches(plan, into), argv=spec.argv, env=env)
            tell(told)
            if isinstance(told, CacheUnpacked):
                found = cache_store.build_environment(into)
        except Error as error:
            # It costs time, and is no reason not to serve.
            tell(CacheMissing("", str(error)))
        yield found

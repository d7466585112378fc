"""Serving on this machine: a process for each replica, and a router if there are several.

`serve`, `Server`, `prime` and `coldstarts` are the public names. They rest on three groups of
modules:

- What runs: `serving_plan` decides what is served and describes its processes, with the help of
  `environment`, `gpus`, `interpreters`, `mounts`, `ports`, `requirements`, `router` and
  `start_command`.
- How it runs: `restarting_process` keeps one process running, `child_process` starts and ends it,
  `wait_times` decides how long to wait, and `log_files` and `log_recorder` handle its log.
- Compile caches: `compile_cache` unpacks one, into a folder that `cache_slots` reserves.
"""

from modelshelf.targets.local.coldstart_benchmark import coldstarts
from modelshelf.targets.local.prime_run import prime
from modelshelf.targets.local.server import Server, serve

__all__ = ["Server", "coldstarts", "prime", "serve"]

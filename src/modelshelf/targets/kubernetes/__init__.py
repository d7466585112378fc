"""Kubernetes as a target: bring a cluster to what modelshelf.yaml and modelshelf.lock say.

Each verb has a module of its own: `up`, `prime`, `diff`, `status`, `scale`, `rollback`, `logs`,
`down`. No verb imports another one. `timelines` and `cold_starts` measure how long pods take to
start. The modules below them, from the bottom:

- `clock`, `session`, `change_reporter`, `events`: what every step gets, and what it tells.
- `server_objects`, `pods`, `job_state`: what objects of the cluster say.
- `diagnosis`: why something is not ready.
- `applying`, `namespace`, `hub_token`, `volumes`: steps that change single objects, and wait.
- `pod_logs`, `job_runner`, `pull_jobs`, `prime_jobs`: Jobs, from their start to their end.
- `servers`, `rollout`, `prune`, `ask`: the steps after the Jobs.
"""

from modelshelf.targets.kubernetes.cold_starts import coldstarts
from modelshelf.targets.kubernetes.diff import Change, diff
from modelshelf.targets.kubernetes.down import down, list_removals, repo_ids
from modelshelf.targets.kubernetes.logs import LogChoice, logs
from modelshelf.targets.kubernetes.prime import prime
from modelshelf.targets.kubernetes.rollback import rollback
from modelshelf.targets.kubernetes.scale import scale
from modelshelf.targets.kubernetes.session import Session, Timeouts
from modelshelf.targets.kubernetes.status import Status, status
from modelshelf.targets.kubernetes.timelines import PodTimeline, timelines
from modelshelf.targets.kubernetes.up import Options, Report, up

__all__ = [
    "Change",
    "LogChoice",
    "Options",
    "PodTimeline",
    "Report",
    "Session",
    "Status",
    "Timeouts",
    "coldstarts",
    "diff",
    "down",
    "list_removals",
    "logs",
    "prime",
    "repo_ids",
    "rollback",
    "scale",
    "status",
    "timelines",
    "up",
]

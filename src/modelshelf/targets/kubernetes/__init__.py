"""Kubernetes as a target: bring a cluster to what modelshelf.yaml and modelshelf.lock say.

`up`, `prime`, `diff`, `status`, `scale`, `rollback`, `logs` and `down` are the public names, a
module each. Below them: `applying` applies one object and says what changed; `volumes`,
`hub_token`, `pulls`, `primes`, `servers`, `prune`, `ready` and `ask` are the steps of `up`; `jobs`
and `pods` decide purely; `site` holds what every step needs.
"""

from modelshelf.targets.kubernetes.coldstart import coldstarts
from modelshelf.targets.kubernetes.diff import Change, diff
from modelshelf.targets.kubernetes.down import down, repo_ids, there
from modelshelf.targets.kubernetes.logs import Choice as LogChoice
from modelshelf.targets.kubernetes.logs import logs
from modelshelf.targets.kubernetes.prime import prime
from modelshelf.targets.kubernetes.rollback import rollback
from modelshelf.targets.kubernetes.scale import scale
from modelshelf.targets.kubernetes.site import Site, Timeouts
from modelshelf.targets.kubernetes.status import Status, status
from modelshelf.targets.kubernetes.timelines import PodTimeline, timelines
from modelshelf.targets.kubernetes.up import Options, Report, up

__all__ = [
    "Change",
    "LogChoice",
    "Options",
    "PodTimeline",
    "Report",
    "Site",
    "Status",
    "Timeouts",
    "coldstarts",
    "diff",
    "down",
    "logs",
    "prime",
    "repo_ids",
    "rollback",
    "scale",
    "status",
    "there",
    "timelines",
    "up",
]

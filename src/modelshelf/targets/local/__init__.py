"""This machine as a target: one process for each replica, a router before several.

`serve`, `Server`, `prime` and `coldstarts` are the public names. Below them: `kept` keeps one
process running, `process` starts and ends it, `recording` notes what its start was made of,
`interpreters` finds the Python that an engine is in, `starting` has `core` start it; `jobs`,
`router`, `environment`, `ports`, `needs` and `waits` decide purely.
"""

from modelshelf.targets.local.coldstart import coldstarts
from modelshelf.targets.local.priming import prime
from modelshelf.targets.local.server import Server, serve

__all__ = ["Server", "coldstarts", "prime", "serve"]

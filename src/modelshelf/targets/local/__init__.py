"""This machine as a target: one process for each replica, a router before several.

`serve` and `Server` are the public names. Below them: `kept` keeps one process running, `process`
starts and ends it, `router`, `environment`, `ports`, `needs` and `waits` decide purely.
"""

from modelshelf.targets.local.server import Server, serve

__all__ = ["Server", "serve"]

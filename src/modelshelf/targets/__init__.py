"""Targets: where servers run. `local` is this machine."""

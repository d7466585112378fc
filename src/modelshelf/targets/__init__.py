"""The places where servers run: `local` is this machine, `kubernetes` is a cluster."""

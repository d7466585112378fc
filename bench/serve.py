"""`python -m bench.serve [GB]`: serve the benchmark's model until Ctrl-C, to try things by hand."""

from __future__ import annotations

import signal
import sys

from bench.memory import scratch
from bench.nginx_hub import serve


def main() -> None:
    """Serve the model, print the ports, and wait for a signal."""
    size = int(float((sys.argv[1:] or ["3.2"])[0]) * 1e9)
    with scratch(2 * size) as folder, serve(folder, size) as hub:
        for name in ("plain", "slow", "tls"):
            print(f"{name}: HF_ENDPOINT={getattr(hub, name)}")
        print(f"models: {hub.four.repo_id} and {hub.one.repo_id}; SSL_CERT_FILE={hub.authority}")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()

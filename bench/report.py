"""The page docs/benchmarks.md and its promises, made of measurements. Pure."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from bench.contenders import CONTENDERS, CURLS, HASHED_CURLS, OURS, SNAPSHOT
from bench.local_figures import Starts, Verified
from bench.pull import ONE, PLAIN, SLOW, Results


@dataclasses.dataclass(frozen=True, slots=True)
class Promise:
    """A threshold and whether it was kept.

    Attributes:
        text: The promise.
        value: The measurement, as text.
        met: Whether the promise was kept.
    """

    text: str
    value: str
    met: bool


def ratios(results: Results, above: tuple[str, str], below: tuple[str, str]) -> list[float]:
    """One time divided by another, round by round; each is a (row title, contender)."""
    pairs = zip(results[above], results[below], strict=True)
    return [numerator.seconds / denominator.seconds for numerator, denominator in pairs]


def promises(results: Results, verified: Verified, starts: Starts) -> list[Promise]:
    """Compare what is promised with the medians of what was measured."""
    faster = _median(results, (PLAIN, SNAPSHOT), (PLAIN, OURS))
    slower = _median(results, (PLAIN, OURS), (PLAIN, CURLS))
    hashed = _median(results, (PLAIN, OURS), (PLAIN, HASHED_CURLS))
    one = _median(results, (ONE, OURS), (PLAIN, OURS))
    slow = _median(results, (SLOW, SNAPSHOT), (SLOW, OURS))
    share = verified.speed / (verified.cores * verified.one_core)
    extra = (starts.imported - starts.bare) * 1000
    return [
        Promise("at least 2.2 times as fast as snapshot_download", f"{faster:.2f}", faster >= 2.2),
        Promise("at most 1.6 times the time of four curls", f"{slower:.2f}", slower <= 1.6),
        Promise(
            "at most 0.95 times the time of four curls, each followed by openssl dgst -sha256",
            f"{hashed:.2f}",
            hashed <= 0.95,
        ),
        Promise("one file at most 1.3 times slower than four", f"{one:.2f}", one <= 1.3),
        Promise(
            "at least 3 times as fast as snapshot_download at 50 ms and 40 MB/s a connection",
            f"{slow:.2f}",
            slow >= 3,
        ),
        Promise("verify: at least 90 % of cores times sha256", f"{share:.0%}", share >= 0.9),
        Promise(
            "verify: at least as fast as openssl dgst -sha256 of the files, two at a time",
            f"{verified.over_openssl:.2f}",
            verified.over_openssl >= 1,
        ),
        Promise("modelshelf --help < 0.2 s", f"{starts.help:.3f} s", starts.help < 0.2),
        Promise("ls over 1,000 snapshots < 0.5 s", f"{starts.ls:.3f} s", starts.ls < 0.5),
        Promise("path < 0.25 s", f"{starts.path:.3f} s", starts.path < 0.25),
        Promise(
            "pull of a model that is there < 0.25 s",
            f"{starts.pull_again:.3f} s",
            starts.pull_again < 0.25,
        ),
        Promise("import modelshelf < 50 ms over bare Python", f"{extra:.0f} ms", extra < 50),
    ]


def _median(results: Results, above: tuple[str, str], below: tuple[str, str]) -> float:
    return statistics.median(ratios(results, above, below))


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """The circumstances of the measurements.

    Attributes:
        command: The command that was run.
        date: The day, as YYYY-MM-DD.
        size: Bytes of the model's weights.
        machine: Name and value of what affects the figures.
    """

    command: str
    date: str
    size: int
    machine: dict[str, str]


def page(results: Results, verified: Verified, starts: Starts, setting: Setting) -> str:
    """The text of docs/benchmarks.md."""
    rounds = len(next(iter(results.values())))
    kept = [
        (promise.text, promise.value, "yes" if promise.met else "**no**")
        for promise in promises(results, verified, starts)
    ]
    parts = [
        "# Benchmarks",
        _ABOUT.format(command=setting.command, date=setting.date, rounds=rounds),
        table(("what", "value"), setting.machine.items()),
        "## What was promised",
        "Medians of the rounds; ratios are taken within each round.",
        table(("promise", "measured", "kept"), kept),
        _ABOUT_PROMISES,
        "## Pulling",
        _ABOUT_PULLING.format(size=setting.size / 1e9),
        table(_HEADINGS, _pull_rows(results, setting.size)),
        "## Verifying and starting",
        table(("what", "measured"), _local_rows(verified, starts)),
    ]
    return "\n\n".join(parts) + "\n"


_ABOUT_PROMISES = """\
On a machine with few cores everything here waits for the processor, the server included, so two \
of these are bounded by more than our own code. Curl hashes nothing and starts at once; hashing \
every byte takes the processor time that the last table gives, and starting Python and asking for \
the metadata takes 0.3 s. Verifying reads from memory here, a copy made by the very cores that \
hash: what both allow together is in the last table, too, beside what was reached."""

_ABOUT = """\
Written by `{command}` on {date}: one machine, one run, {rounds} rounds. In each round every row \
and contender takes its turn, so that whatever else the machine does meets all alike. What it \
takes on Kubernetes is on [a page of its own](benchmarks-kubernetes.md), and so are [cold starts \
of vLLM](benchmarks-vllm.md)."""

_ABOUT_PULLING = """\
A model of {size:.1f} GB of random weights in safetensors files is served from loopback by nginx \
and pulled to a tmpfs, each time by a new process into an empty folder.

- `modelshelf pull` hashes every byte, compares it with the hub's checksum, checks the headers and \
publishes; its time includes starting Python and asking for the metadata.
- `snapshot_download` is huggingface_hub's, into a `local_dir`, with `HF_HUB_DISABLE_XET=1`. It \
checks lengths only.
- `four curls` write what comes, unchecked: one for each file, or each a quarter of the only one.
- `four curls, openssl` are the same, and each file is hashed by `openssl dgst -sha256` when it is \
there: what a careful person does by hand. (Debian's `sha256sum` is slower than OpenSSL.)

Not compared: hf_xet, huggingface_hub's other way of downloading. It speaks a protocol of its own \
to servers that no local hub can stand in for.

*Time over ours* is the contender's time divided by ours in the same round: above 1, we were \
faster. *CPU* is processor time of the client alone, per GB: on a GPU node the puller is a guest."""

_HEADINGS = (
    "served",
    "contender",
    "seconds: median (min, max)",
    "GB/s",
    "time over ours (min, max)",
    "CPU s/GB",
    "peak memory",
)


def _pull_rows(results: Results, size: int) -> list[tuple[str, ...]]:
    rows = []
    for (title, name), runs in results.items():
        seconds = [took.seconds for took in runs]
        over = ratios(results, (title, name), (title, OURS))
        middle = statistics.median(seconds)
        rows.append(
            (
                title,
                name if name in (CURLS, HASHED_CURLS) else f"`{name}`",
                spread(seconds),
                f"{size / middle / 1e9:.2f}",
                "1" if name == OURS else spread(over),
                f"{statistics.median(took.cpu for took in runs) / (size / 1e9):.2f}",
                f"{max(took.memory for took in runs) / 1e6:.0f} MB",
            )
        )
    order = list(CONTENDERS)
    titles = list(dict.fromkeys(title for title, _ in results))
    return sorted(rows, key=lambda row: (titles.index(row[0]), order.index(row[1].strip("`"))))


def _local_rows(verified: Verified, starts: Starts) -> list[tuple[str, str]]:
    gb = 1e9
    return [
        ("`modelshelf verify` of the model in four files", f"{spread(verified.seconds)} s"),
        ("the same of an empty shelf", f"{verified.start:.2f} s"),
        (
            "`openssl dgst -sha256` of the same files, two at a time",
            f"{spread(verified.openssl)} s",
        ),
        ("so it verifies", f"{verified.speed / gb:.2f} GB/s"),
        ("sha256 in this Python, one core", f"{verified.one_core / gb:.2f} GB/s"),
        (
            f"sha256 in this Python, {verified.cores} cores at once",
            f"{verified.all_cores / gb:.2f} GB/s",
        ),
        ("reading the files on all cores, not hashing", f"{verified.read / gb:.2f} GB/s"),
        ("reading and hashing one after the other, at best", f"{verified.ceiling / gb:.2f} GB/s"),
        ("`modelshelf --help`", f"{starts.help:.3f} s"),
        ("`modelshelf ls` over 1,000 snapshots", f"{starts.ls:.3f} s"),
        ("`modelshelf path`", f"{starts.path:.3f} s"),
        ("`modelshelf pull` of a model that is there", f"{starts.pull_again:.3f} s"),
        ("`import modelshelf`, Python's start included", f"{starts.imported:.3f} s"),
        ("Python's start", f"{starts.bare:.3f} s"),
    ]


def spread(values: Sequence[float]) -> str:
    """The median, and in brackets the minimum and the maximum."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}, {max(values):.2f})"


def table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

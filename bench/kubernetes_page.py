"""The page docs/benchmarks-kubernetes.md and its promises, made of measurements. Pure."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence

from bench.cluster_stage import Second, Start
from bench.many_servers import SERVERS, Render, Status
from bench.report import Promise, spread, table

_MAX_STATUS_CALLS, _MAX_RENDER_SECONDS = 5, 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured.

    Attributes:
        size: Bytes of the model's files.
        ours: The title of our way among the others.
        starts: (title of a way, replicas) → one start for each round.
        seconds: Title of a way → one second replica for each round.
        renders: How long `render` took, for one model and for many.
        up: Seconds that `up` of all servers took.
        statuses: The calls of `status` of all servers.
    """

    size: int
    ours: str
    starts: Mapping[tuple[str, int], Sequence[Start]]
    seconds: Mapping[str, Sequence[Second]]
    renders: Sequence[Render]
    up: float
    statuses: Sequence[Status]


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """The circumstances of the measurements.

    Attributes:
        command: The command that was run.
        date: The day, as YYYY-MM-DD.
        rounds: How many rounds were measured.
        machine: Name and value of what affects the figures.
    """

    command: str
    date: str
    rounds: int
    machine: Mapping[str, str]


def promises(measured: Measured) -> list[Promise]:
    """Compare what is promised with what was measured; the slowest median counts."""
    ours = [each for (title, _), runs in measured.starts.items() if title == measured.ours
            for each in runs]  # fmt: skip
    times = max(each.fetched for each in ours) / measured.size
    again = max(each.fetched for each in measured.seconds[measured.ours])
    renders = [
        statistics.median(each) for one in measured.renders for each in (one.first, one.again)
    ]
    calls = max(len(each.calls) for each in measured.statuses)
    return [
        Promise(
            "each byte comes from the hub once, however many replicas",
            f"{times:.2f} times the model",
            all(each.fetched == measured.size for each in ours),
        ),
        Promise("a second replica takes nothing from the hub", f"{again} bytes", again == 0),
        Promise(
            f"render of {SERVERS} servers < {_MAX_RENDER_SECONDS:g} s",
            f"{max(renders):.2f} s",
            max(renders) < _MAX_RENDER_SECONDS,
        ),
        Promise(
            f"status of {SERVERS} servers: at most {_MAX_STATUS_CALLS} API calls",
            str(calls),
            calls <= _MAX_STATUS_CALLS,
        ),
    ]


def page(measured: Measured, setting: Setting) -> str:
    """The text of the page."""
    kept = [
        (promise.text, promise.value, "yes" if promise.met else "**no**")
        for promise in promises(measured)
    ]
    parts = [
        "# Benchmarks on Kubernetes",
        _ABOUT.format(command=setting.command, date=setting.date, rounds=setting.rounds),
        table(("what", "value"), setting.machine.items()),
        "## What was promised",
        table(("promise", "measured", "kept"), kept),
        "## From nothing to an answer",
        _ABOUT_STARTS.format(size=measured.size / 1e6),
        table(_START_HEADINGS, _start_rows(measured)),
        _ABOUT_BY_HAND,
        table(("way", "part", "seconds: median (min, max)"), _span_rows(measured)),
        "## The way there, with one replica",
        _ABOUT_TIMELINE,
        table(("way", "what", "at, seconds", "after the line before"), _timeline_rows(measured)),
        "## A second replica",
        _ABOUT_SECOND,
        table(_SECOND_HEADINGS, _second_rows(measured)),
        f"## {SERVERS} servers",
        _ABOUT_MANY.format(up=measured.up, servers=SERVERS),
        table(("`modelshelf render` of", "into", "seconds: median (min, max)"),
              _render_rows(measured.renders)),
        table(("`modelshelf status` while", "calls", "which", "seconds"),
              [_status_row(each) for each in measured.statuses]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


_ABOUT = """\
Written by `{command}` on {date}: one machine, one run; rounds: {rounds}, in each of which every \
way takes its turn. The cluster is the tests' own: a real control plane and kubelet on one node, \
which is this machine, and the hub, the load and the pods share its processors. Pulling alone is \
measured on [another page](benchmarks.md)."""

_ABOUT_STARTS = """\
One model, SmolLM2-135M-Instruct as one GGUF file of {size:.0f} MB, served by the real \
llama-server. Each measurement begins without a namespace, with an empty folder as the share and \
images on the node, and ends when all replicas are ready and one has answered a question that was \
asked through the API server.

- `modelshelf up`: locks, makes volumes and claims, pulls and verifies by a Job, applies the \
server, waits and asks. Its time includes starting Python.
- By hand, with a shared folder: `kubectl apply` of a namespace, a volume and a claim, and of a \
Job that runs `pip install huggingface_hub` and `snapshot_download` into the share; `kubectl wait` \
for it; `kubectl apply` of a Deployment and a Service; `kubectl rollout status`. Nobody has to \
think or type between these.
- By hand, without: a Deployment whose pods have an init container that does the same into an \
`emptyDir`, whenever a pod starts.

By hand, the engine has the image, arguments, requests and probes that modelshelf renders, so that \
what differs is how the model gets there. `snapshot_download` runs with `HF_HUB_DISABLE_XET=1` and \
checks lengths only. Pods have no route to a package index: the bench serves wheels from this \
machine, so pip installs faster than from afar. The image stands in for `python:3.13-slim` and has \
no pip: it is mounted, compiled, from the node.

The hub answers from this machine's memory, so bytes cost next to nothing here: over a real line \
each multiple of the model's size takes its time again. Kubernetes looks every second \
whether an engine has loaded, in every way alike, so that times to ready jump by up to that."""

_START_HEADINGS = (
    "way",
    "replicas",
    "all ready, seconds: median (min, max)",
    "answered, seconds",
    "bytes from the hub",
    "over the model's size",
    "bytes of Python packages",
)

_ABOUT_BY_HAND = """\
What these took by hand inside their pods; where several do it at the same time, it is their \
median:"""

_ABOUT_TIMELINE = """\
Medians of the rounds. `up` looks twice a second, so a moment may be told half a second late, and \
a phase that is shorter may be missing."""

_ABOUT_SECOND = """\
From one replica to two, by `modelshelf scale` and by `kubectl scale` with `kubectl rollout \
status`, beside what the first took once its objects were applied, the model being on the shelf. A \
pod's own time, from its creation to ready, is counted by Kubernetes in whole seconds."""

_SECOND_HEADINGS = (
    "way",
    "first: applied to ready, seconds",
    "second: command to ready, seconds",
    "first pod",
    "second pod",
    "bytes from the hub for the second",
    "bytes of Python packages for it",
)

_ABOUT_MANY = """\
A file with {servers} servers. `render` is timed as a whole command, with one model for all and \
with a model for each, into an empty folder and again. For `status`, `modelshelf up` brought \
{servers} servers of one model to the cluster, with no replica each, in {up:.0f} s; then each was \
made to want one that no node takes, so that for each a reason had to be found. The API server's \
audit log says what `status` asked."""


def _start_rows(measured: Measured) -> list[tuple[str, ...]]:
    return [
        (
            title,
            str(replicas),
            spread([run.ready for run in runs]),
            f"{statistics.median(run.answered for run in runs):.2f}",
            _bytes([run.fetched for run in runs]),
            f"{statistics.median(run.fetched for run in runs) / measured.size:.2f}",
            _bytes([run.packages for run in runs]),
        )
        for (title, replicas), runs in measured.starts.items()
    ]


def _span_rows(measured: Measured) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for (title, replicas), runs in measured.starts.items():
        took = collections.defaultdict(list)
        for run in runs:
            for name, seconds in run.spans:
                took[name].append(seconds)
        pods = "1 replica" if replicas == 1 else f"{replicas} replicas"
        rows += [(f"{title}, {pods}", f"`{name}`", spread(each)) for name, each in took.items()]
    return rows


def _timeline_rows(measured: Measured) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for (title, replicas), runs in measured.starts.items():
        if replicas == 1:
            rows += [(title, *row) for row in _timeline(runs)]
    return rows


def _timeline(runs: Sequence[Start]) -> Iterator[tuple[str, ...]]:
    at = collections.defaultdict(list)
    for run in runs:
        for moment in run.moments:
            at[moment.what].append(moment.at)
    before = 0.0
    for seconds, what in sorted((statistics.median(each), what) for what, each in at.items()):
        yield (what, f"{seconds:.2f}", f"{seconds - before:.2f}")
        before = seconds


def _second_rows(measured: Measured) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for title, seconds in measured.seconds.items():
        first = measured.starts[title, 1]
        rows.append(
            (
                title,
                spread([run.ready - run.applied for run in first]),
                spread([run.ready for run in seconds]),
                f"{statistics.median(pod for run in first for pod in run.pods):g} s",
                f"{statistics.median(run.pod for run in seconds):g} s",
                _bytes([run.fetched for run in seconds]),
                _bytes([run.packages for run in seconds]),
            )
        )
    return rows


def _render_rows(renders: Sequence[Render]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for render in renders:
        models = "one model" if render.models == 1 else f"{render.models} models"
        what = f"{SERVERS} servers of {models}"
        rows.append((what, f"an empty folder: {render.files} files", spread(render.first)))
        rows.append((what, "the same folder again", spread(render.again)))
    return rows


def _status_row(status: Status) -> tuple[str, ...]:
    counted = collections.Counter(status.calls)
    which = ", ".join(f"{call} {n} times" if n > 1 else call for call, n in counted.items())
    return (status.state, str(len(status.calls)), which, f"{status.seconds:.2f}")


def _bytes(sizes: Sequence[int]) -> str:
    return f"{statistics.median(sizes):,.0f}"

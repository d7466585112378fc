"""Pulls of the same model by every contender, in rounds in which all take turns."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator

from bench.contenders import CONTENDERS
from bench.memory import remove
from bench.nginx_hub import Hub, Model
from bench.timing import FailedError, Took, clean_environment, measure

PLAIN, ONE, SLOW, TLS = (
    "loopback, four files",
    "loopback, one file",
    "50 ms to the first byte, 40 MB/s a connection, four files",
    "TLS, four files",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One kind of server and model.

    Attributes:
        title: Its name in the table.
        model: The model that is pulled.
        url: The base URL that it is pulled from.
    """

    title: str
    model: Model
    url: str


def rows_of(hub: Hub) -> list[Row]:
    """The rows of the table for a hub."""
    return [
        Row(PLAIN, hub.four, hub.plain),
        Row(ONE, hub.one, hub.plain),
        Row(SLOW, hub.four, hub.slow),
        Row(TLS, hub.four, hub.tls),
    ]


Results = dict[tuple[str, str], list[Took]]


def compare(
    hub: Hub, rows: list[Row], rounds: int, folder: str, say: Callable[[str], None]
) -> Results:
    """Time every row and contender once a round, so that other load affects all of them alike.

    Returns:
        For each (row title, contender): one `Took` a round, in order.
    """
    results: Results = {}
    for name in CONTENDERS:
        # Untimed: compiles what was never run, and makes the kernel find the memory.
        _once(hub, rows[0], name, folder)
    for number in range(rounds):
        for row in rows:
            for name in _rotated(list(CONTENDERS), number):
                took = _once(hub, row, name, folder)
                results.setdefault((row.title, name), []).append(took)
                say(f"round {number + 1}/{rounds}  {row.title}  {name}: {took.seconds:.2f} s")
    return results


def _rotated(names: list[str], by: int) -> Iterator[str]:
    """Each round begins with another contender."""
    yield from names[by % len(names) :]
    yield from names[: by % len(names)]


def _once(hub: Hub, row: Row, name: str, folder: str) -> Took:
    target = tempfile.mkdtemp(dir=folder)
    try:
        env = clean_environment(
            target,
            HF_HOME=os.path.join(target, "home"),
            HF_ENDPOINT=row.url,
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            SSL_CERT_FILE=hub.authority,
            CURL_CA_BUNDLE=hub.authority,
        )
        took = measure(CONTENDERS[name](row.model, row.url, target), env)
        _check(target, row, name)
        return took
    finally:
        remove(target)


def _check(target: str, row: Row, name: str) -> None:
    """Refuse a run that brought fewer bytes: it would look fast."""
    wanted = sum(file.size for file in row.model.weights)
    found = sum(
        os.path.getsize(os.path.join(parent, file))
        for parent, _, files in os.walk(target)
        for file in files
    )
    if found < wanted:
        raise FailedError(f"{name} brought {found:,} of {wanted:,} bytes ({row.title})")

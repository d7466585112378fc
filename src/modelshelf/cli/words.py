"""Events and numbers as people read them. Pure."""

from __future__ import annotations

import datetime as dt
import functools

from modelshelf.mirror.events import MirrorListening
from modelshelf.shelf.events import Damaged, Event, GateOpen, GateWaiting, Purged, Verified
from modelshelf.start.events import (
    CacheMissing,
    CacheUnpacked,
    Drained,
    EngineEnded,
    EngineReady,
    EngineStarting,
    Prefetched,
    Primed,
)
from modelshelf.targets.local.events import (
    Draining,
    ModelReading,
    ReplicaDied,
    ReplicaReady,
    ReplicaStarting,
    RouterDied,
    Serving,
)
from modelshelf.transfer.events import FileDone, Planned, Published, Retrying, Waiting

_STEP = 1000
_UNITS = ("kB", "MB", "GB", "TB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def size(count: float) -> str:
    """Bytes in decimal units, as hubs and disks state them: `14.5 GB`."""
    if count < _STEP:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= _STEP
        if count < _STEP or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}" if count < _STEP / 10 else f"{count:.0f} {unit}"


def when(seconds: float) -> str:
    """A time since 1970 as local date and minute."""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def count(number: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `2 d`."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} d"


def short(snapshot_id: str) -> str:
    """Enough digits of an id to tell it from others, and the digits of its choice of files."""
    commit, _, files = snapshot_id.partition("-")
    return f"{commit[:12]}-{files}"


@functools.singledispatch
def told_by(event: Event) -> tuple[str, Event]:
    """Which of several things at work tells an event, and the event; empty where there is one."""
    return "", event


@functools.singledispatch
def sentence(event: Event) -> str:  # noqa: ARG001 - the kinds of events below have words
    """An event as a line of text; empty for those that only a bar can show."""
    return ""


@sentence.register
def _(event: Planned) -> str:
    name = f"{event.repo_id} at {event.revision}: {short(event.snapshot)}"
    free = size(max(event.free_after, 0))
    lines = [
        f"{name}, {count(event.files, 'file')}, {size(event.bytes)}",
        f"  to fetch {size(event.fetch)}, here already {size(event.here)}, free after it {free}",
    ]
    lines += [
        f"  left out: {count(part.files, 'file')}, {size(part.bytes)}: {part.reason}"
        for part in event.left_out
    ]
    return "\n".join(lines)


@sentence.register
def _(event: Published) -> str:
    name = f"{event.repo_id}@{short(event.snapshot)}"
    if event.how == "present":
        return f"{name} is on the shelf already\n  {event.path}"
    if event.how == "waited":
        return f"{name} was pulled by another\n  {event.path}"
    rate = f" at {size(event.fetched / event.seconds)}/s" if event.fetched else ""
    fetched = f"{size(event.fetched)} fetched in {event.seconds:.1f} s{rate}"
    return f"{name}: {size(event.bytes)} verified, {fetched}\n  {event.path}"


@sentence.register
def _(event: Retrying) -> str:
    return f"{event.path}: {event.reason}; trying again in {event.wait:g} s"


@sentence.register
def _(event: FileDone) -> str:
    return f"{event.path}: {size(event.size)} {event.how}, verified"


@sentence.register
def _(event: Waiting) -> str:
    return f"waiting for {event.holder}, which is pulling the same snapshot"


@sentence.register
def _(event: Damaged) -> str:
    return f"{event.repo_id}@{short(event.snapshot)}: {event.path}: {event.problem}"


@sentence.register
def _(event: Verified) -> str:
    state = f"{count(event.damaged, 'file')} damaged" if event.damaged else "whole"
    what = f"{count(event.files, 'file')}, {size(event.bytes)}"
    return f"{event.repo_id}@{short(event.snapshot)}: {what}: {state}"


@sentence.register
def _(event: Purged) -> str:
    what = f"{count(event.snapshots, 'snapshot')}, {size(event.bytes)}"
    return f"{event.repo_id} deleted: {what}"


@sentence.register
def _(event: GateWaiting) -> str:
    return f"waiting: {event.reason}"


@sentence.register
def _(event: GateOpen) -> str:
    return f"the model is whole: {event.path}"


@sentence.register
def _(event: EngineStarting) -> str:
    why = f": {event.reason}" if event.reason else ""
    return f"starting the engine ({event.how}){why}"


@sentence.register
def _(event: EngineReady) -> str:
    return f"the engine is ready after {event.seconds:.1f} s"


@sentence.register
def _(event: EngineEnded) -> str:
    return f"the engine has ended with {event.exit_code}"


@sentence.register
def _(event: Prefetched) -> str:
    rate = f" at {size(event.bytes / event.seconds)}/s" if event.bytes and event.seconds else ""
    why = f"; {event.reason}" if event.reason else ""
    return f"read {size(event.bytes)} ahead in {event.seconds:.1f} s{rate}{why}"


@sentence.register
def _(event: CacheUnpacked) -> str:
    return f"unpacked {event.key}: {size(event.bytes)} in {event.seconds:.1f} s"


@sentence.register
def _(event: CacheMissing) -> str:
    return f"not primed: {event.reason}"


@sentence.register
def _(event: Primed) -> str:
    if event.how == "present":
        return f"primed already\n  {event.path}"
    return f"primed in {event.seconds:.0f} s: {size(event.bytes)}\n  {event.path}"


@sentence.register
def _(event: Drained) -> str:
    return f"drained in {event.seconds:.1f} s: {event.reason}"


@sentence.register
def _(event: ModelReading) -> str:
    return f"the engine reads {event.model} {event.load}"


@sentence.register
def _(event: ReplicaStarting) -> str:
    where = f"process {event.pid} on port {event.port}, log {event.log}"
    return f"replica {event.replica}: {where}"


@sentence.register
def _(event: ReplicaReady) -> str:
    how = ": ".join(filter(None, (event.how, event.reason)))
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in event.phases)
    made = "".join([f" ({how})" if how else "", f": {parts}" if parts else ""])
    return f"replica {event.replica}: ready after {event.seconds:.1f} s{made}"


@sentence.register
def _(event: ReplicaDied) -> str:
    ended = f"replica {event.replica}: ended with {event.exit_code}"
    return f"{ended}; starting it again in {event.wait:g} s"


@sentence.register
def _(event: RouterDied) -> str:
    return f"the router ended with {event.exit_code}; starting it again in {event.wait:g} s"


@sentence.register
def _(event: Serving) -> str:
    return f"serving {event.model} with {count(event.replicas, 'replica')} at {event.url}"


@sentence.register
def _(event: Draining) -> str:
    return f"stopping: requests in flight have {event.seconds:g} s to finish"


@sentence.register
def _(event: MirrorListening) -> str:
    return f"the shelf is a Hub at {event.url}: set HF_ENDPOINT={event.url}"

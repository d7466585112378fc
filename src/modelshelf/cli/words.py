"""Events and numbers as people read them. Pure."""

from __future__ import annotations

import datetime

from modelshelf.core.events import (
    Damaged,
    Draining,
    Event,
    FileDone,
    GateOpen,
    GateWaiting,
    MirrorListening,
    Planned,
    Published,
    ReplicaDied,
    ReplicaReady,
    ReplicaStarting,
    Retrying,
    Serving,
    Verified,
    Waiting,
)

_STEP = 1000
_UNITS = ("kB", "MB", "GB", "TB")


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
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def count(number: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(snapshot_id: str) -> str:
    """Enough digits of an id to tell it from others, and the digits of its choice of files."""
    commit, _, files = snapshot_id.partition("-")
    return f"{commit[:12]}-{files}"


def sentence(event: Event) -> str:
    """An event as a line of text; empty for those that only a bar can show."""
    match event:
        case Planned():
            return _plan(event)
        case Published():
            return _published(event)
        case Retrying():
            return f"{event.path}: {event.reason}; trying again in {event.wait:g} s"
        case FileDone():
            return f"{event.path}: {size(event.size)} {event.how}, verified"
        case Waiting():
            return f"waiting for {event.holder}, which is pulling the same snapshot"
        case Damaged():
            return f"{event.repo_id}@{short(event.snapshot)}: {event.path}: {event.problem}"
        case Verified():
            state = f"{count(event.damaged, 'file')} damaged" if event.damaged else "whole"
            what = f"{count(event.files, 'file')}, {size(event.bytes)}"
            return f"{event.repo_id}@{short(event.snapshot)}: {what}: {state}"
        case GateWaiting():
            return f"waiting: {event.reason}"
        case GateOpen():
            return f"the model is whole: {event.path}"
    return _serving(event)


def _serving(event: Event) -> str:
    match event:
        case ReplicaStarting():
            return (
                f"replica {event.replica}: process {event.pid} on port {event.port}, "
                f"log {event.log}"
            )
        case ReplicaReady():
            return f"replica {event.replica}: ready after {event.seconds:.1f} s"
        case ReplicaDied():
            return (
                f"replica {event.replica}: ended with {event.exit_code}; "
                f"starting it again in {event.wait:g} s"
            )
        case Serving():
            replicas = count(event.replicas, "replica")
            return f"serving {event.model} with {replicas} at {event.url}"
        case Draining():
            return f"stopping: requests in flight have {event.seconds:g} s to finish"
        case MirrorListening():
            return f"the shelf is a Hub at {event.url}: set HF_ENDPOINT={event.url}"
    return ""


def _plan(event: Planned) -> str:
    lines = [
        f"{event.repo_id} at {event.revision}: {short(event.snapshot)}, "
        f"{count(event.files, 'file')}, {size(event.bytes)}",
        f"  to fetch {size(event.fetch)}, here already {size(event.here)}, "
        f"free afterwards {size(max(event.free_after, 0))}",
    ]
    lines += [
        f"  left out: {count(part.files, 'file')}, {size(part.bytes)}: {part.reason}"
        for part in event.left_out
    ]
    return "\n".join(lines)


def _published(event: Published) -> str:
    if event.how == "present":
        return f"{event.repo_id}@{short(event.snapshot)} is on the shelf already: {event.path}"
    if event.how == "waited":
        return f"{event.repo_id}@{short(event.snapshot)} was pulled by another: {event.path}"
    rate = event.fetched / event.seconds if event.seconds else 0.0
    fetched = f"{size(event.fetched)} fetched in {event.seconds:.1f} s ({size(rate)}/s)"
    return f"{event.repo_id}@{short(event.snapshot)}: {fetched}, verified: {event.path}"

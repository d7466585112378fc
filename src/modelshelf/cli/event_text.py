"""Events as sentences for people. Pure."""

from __future__ import annotations

import functools

from modelshelf.cli.formats import count, short_id, size
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


@functools.singledispatch
def unwrap(event: Event) -> tuple[str, Event]:
    """Split an event that is passed on for one of several models or servers.

    Returns:
        The name of the model or server, and the event itself. The name is empty for an event that
        was not passed on.
    """
    return "", event


@functools.singledispatch
def sentence(event: Event) -> str:  # noqa: ARG001 - each kind of event has a function below
    """Describe an event in one or more lines; empty for events that only a progress bar shows."""
    return ""


@sentence.register
def _(event: Planned) -> str:
    name = f"{event.repo_id} at {event.revision}: {short_id(event.snapshot)}"
    room = "" if event.free_after is None else f", free after it {size(max(event.free_after, 0))}"
    lines = [
        f"{name}, {count(event.files, 'file')}, {size(event.bytes)}",
        f"  to fetch {size(event.fetch)}, here already {size(event.here)}{room}",
    ]
    lines += [
        f"  left out: {count(part.files, 'file')}, {size(part.bytes)}: {part.reason}"
        for part in event.left_out
    ]
    return "\n".join(lines)


@sentence.register
def _(event: Published) -> str:
    name = f"{event.repo_id}@{short_id(event.snapshot)}"
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
    return f"{event.repo_id}@{short_id(event.snapshot)}: {event.path}: {event.problem}"


@sentence.register
def _(event: Verified) -> str:
    state = f"{count(event.damaged, 'file')} damaged" if event.damaged else "whole"
    what = f"{count(event.files, 'file')}, {size(event.bytes)}"
    return f"{event.repo_id}@{short_id(event.snapshot)}: {what}: {state}"


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

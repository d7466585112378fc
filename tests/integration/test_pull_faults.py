"""The puller against a Hub that misbehaves: each fault ends as the design says."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub, Pattern, Repo, safetensors
from support.pull_runs import (
    FAST,
    KIB,
    Recorder,
    add_model,
    assert_nothing_published,
    assert_right,
    finished_paths,
    partial_lengths,
    quick_pull,
    spec_of,
    wait_for_quiet,
)

from modelshelf.shelf.errors import (
    IntegrityError,
    NotAuthorisedError,
    NotFoundError,
    RefusedError,
    SourceError,
)
from modelshelf.shelf.shelf import Shelf
from modelshelf.transfer.events import FileDone, Planned, Progressed, Published, Retrying
from modelshelf.transfer.fetch import Fetch, _StoppedError
from modelshelf.transfer.hub_source import HubSource
from modelshelf.transfer.meter import Meter
from modelshelf.transfer.replies import RetryableError
from modelshelf.transfer.retries import Backoff

LARGE = "model.safetensors"
OTHER = "adapter/weights.safetensors"
SMALL = "config.json"
SIZE = 3_000_000
# Sent on connections before they are closed, at most.
IN_SOCKETS = FAST.limits.max_connections * SIZE


@pytest.fixture
def far() -> Iterator[Hub]:
    """A Hub that sends clients to another host for LFS files."""
    with Hub(redirect=True) as hub:
        yield hub


@pytest.fixture
def repo(hub: Hub) -> Repo:
    """A model on the plain Hub."""
    return add_model(hub)


def pull_right(shelf: Shelf, hub: Hub, repo: Repo) -> Recorder:
    """Pull and look that all is right; what happened."""
    events = Recorder()
    assert_right(quick_pull(shelf, spec_of(hub, repo), events), repo)
    return events


def test_a_healthy_hub(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """Every byte is fetched once, every GET has a Range, and events tell plan, files and end."""
    events = pull_right(shelf, hub, repo)
    total = sum(entry.size for entry in repo.files.values())
    assert hub.bytes_sent() == total
    assert all(request.range for request in hub.requests)
    (planned,) = events.of(Planned)
    assert (planned.files, planned.bytes, planned.fetch, planned.here) == (3, total, total, 0)
    assert {(e.path, e.how) for e in events.of(FileDone)} == {
        (path, "fetched") for path in repo.files
    }
    assert events.of(Progressed)[-1].done == total
    (published,) = events.of(Published)
    assert (published.fetched, published.how) == (total, "pulled")
    again = Recorder()
    quick_pull(shelf, spec_of(hub, repo), again)
    assert again.of(Published)[0].how == "present"
    assert hub.bytes_sent() == total


def test_a_byte_flipped_once(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A file that arrives wrong is fetched once more, alone, and is then right."""
    hub.misbehave("flip", LARGE, at=1_234_567, times=1)
    events = pull_right(shelf, hub, repo)
    assert hub.bytes_sent(LARGE) == 2 * SIZE
    assert hub.bytes_sent(OTHER) == 1_000_000
    assert [e.path for e in events.of(Retrying)] == [LARGE]
    assert events.of(Progressed)[-1].done == sum(e.size for e in repo.files.values())


@pytest.mark.parametrize("path", [LARGE, SMALL])
def test_a_byte_flipped_always(shelf: Shelf, hub: Hub, repo: Repo, path: str) -> None:
    """A file that is wrong twice is refused, and the verified others are kept for next time."""
    hub.misbehave("flip", path, at=7)
    hub.misbehave("slow", path, delay=0.2)
    with pytest.raises(IntegrityError, match=path) as failed:
        quick_pull(shelf, spec_of(hub, repo))
    assert failed.value.exit_code == 14
    assert_nothing_published(shelf)
    assert hub.bytes_sent(path) == 2 * repo.files[path].size
    kept = finished_paths(shelf, repo)
    assert kept == set(repo.files) - {path}
    hub.faults.clear()
    wait_for_quiet(hub)
    hub.requests.clear()
    pull_right(shelf, hub, repo)
    assert hub.bytes_sent() == repo.files[path].size


@pytest.mark.parametrize("kind", ["reset", "short"])
@pytest.mark.parametrize("after", [0, 100_000])
def test_a_body_that_breaks_off(shelf: Shelf, hub: Hub, repo: Repo, kind: str, after: int) -> None:
    """After a reset or an early end the rest is fetched; what came in whole pieces is kept."""
    hub.misbehave(kind, LARGE, after=after, times=3)  # type: ignore[arg-type]
    pull_right(shelf, hub, repo)
    assert SIZE <= hub.bytes_sent(LARGE) <= SIZE + 3 * FAST.piece


def test_every_body_breaks_off(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """If each connection breaks early, the model still arrives, in smaller pieces."""
    hub.misbehave("reset", LARGE, after=100_000)
    events = Recorder()
    spec = spec_of(hub, repo)
    assert_right(quick_pull(shelf, spec, events, piece=256 * KIB), repo)
    assert len(events.of(Retrying)) > 20


@pytest.mark.parametrize("kind", ["long", "long-chunked", "long-close"])
@pytest.mark.parametrize("path", [LARGE, SMALL])
def test_a_body_that_runs_long(shelf: Shelf, hub: Hub, repo: Repo, kind: str, path: str) -> None:
    """A body longer than its range is cut off and refused, however its end is told."""
    hub.misbehave(kind, path, extra=10_000_000)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match=path) as failed:
        quick_pull(shelf, spec_of(hub, repo))
    assert failed.value.exit_code == 14
    assert_nothing_published(shelf)
    assert sum(partial_lengths(shelf, repo).values()) <= sum(e.size for e in repo.files.values())


def test_429_with_retry_after(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A Hub that asks for a pause gets it."""
    hub.misbehave("status", LARGE, status=429, retry_after=1, times=1)
    events = Recorder()
    backoff = Backoff(max_tries=4, first_seconds=0.01, max_seconds=30.0)
    assert_right(quick_pull(shelf, spec_of(hub, repo), events, backoff=backoff), repo)
    (retrying,) = events.of(Retrying)
    assert retrying.wait == pytest.approx(1.0, abs=0.1)
    assert "429" in retrying.reason
    (published,) = events.of(Published)
    assert published.seconds >= 1.0


@pytest.mark.parametrize("retry_after", ["86400", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_retry_after_is_capped(shelf: Shelf, hub: Hub, repo: Repo, retry_after: str) -> None:
    """A Retry-After of a day, or of decades, is cut to the most that a pull waits."""
    hub.misbehave("status", LARGE, status=503, retry_after=retry_after, times=1)
    events = Recorder()
    backoff = Backoff(max_tries=4, first_seconds=0.01, max_seconds=0.3)
    assert_right(quick_pull(shelf, spec_of(hub, repo), events, backoff=backoff), repo)
    assert [e.wait for e in events.of(Retrying)] == [0.3]


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_status_that_passes(shelf: Shelf, hub: Hub, repo: Repo, status: int) -> None:
    """An error of the server that passes costs a few requests, and no byte twice."""
    hub.misbehave("status", "*", status=status, times=5)
    events = pull_right(shelf, hub, repo)
    assert len(events.of(Retrying)) == 5
    assert hub.bytes_sent() == sum(entry.size for entry in repo.files.values())


def test_500_always(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A server that keeps failing is given up after a bounded number of tries."""
    fault = hub.misbehave("status", LARGE, status=500)
    with pytest.raises(SourceError, match="500") as failed:
        quick_pull(shelf, spec_of(hub, repo))
    assert failed.value.exit_code == 15
    assert "again" in failed.value.hint
    assert fault.hits <= FAST.limits.max_connections * FAST.backoff.max_tries
    assert_nothing_published(shelf)


def test_a_host_that_never_accepts(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """Connections that are reset as soon as they are made end as a failing source."""
    hub.misbehave("refuse")
    with pytest.raises(SourceError) as failed:
        quick_pull(shelf, spec_of(hub, repo))
    assert failed.value.exit_code == 15


def test_a_port_where_nobody_listens(shelf: Shelf) -> None:
    """A refused connection is named as such."""
    with Hub() as hub:
        repo = add_model(hub)
        spec = spec_of(hub, repo)
    with pytest.raises(SourceError, match="connection refused") as failed:
        quick_pull(shelf, spec)
    assert failed.value.exit_code == 15


def test_once_a_pull_has_failed_no_other_file_is_tried_again() -> None:
    """A file that fails after another one has failed for good is not said to be tried again."""
    events = Recorder()
    fetching = Fetch([], HubSource("http://127.0.0.1:1"), Meter(0, events), FAST)
    fetching._stop.set()
    with pytest.raises(_StoppedError):
        fetching._pause(LARGE, RetryableError("the host answered 503", status=503), 1)
    assert events.events == []


@pytest.mark.parametrize("path", [LARGE, "*"])
def test_range_ignored(shelf: Shelf, hub: Hub, repo: Repo, path: str) -> None:
    """A server that ignores ranges is supported, and sends little more than each file once."""
    hub.misbehave("ignore-range", path)
    pull_right(shelf, hub, repo)
    assert hub.bytes_sent(LARGE) <= SIZE + IN_SOCKETS
    for small in set(repo.files) - {LARGE}:
        assert hub.bytes_sent(small) <= repo.files[small].size + IN_SOCKETS


@pytest.mark.parametrize("slow", [0, 2])
def test_range_ignored_once(shelf: Shelf, hub: Hub, repo: Repo, slow: int) -> None:
    """One whole file in place of a range, while other ranges are under way, does no harm."""
    hub.misbehave("slow", LARGE, delay=0.2, begins=slow * FAST.chunk)
    hub.misbehave("ignore-range", LARGE, begins=FAST.chunk, times=1)
    pull_right(shelf, hub, repo)
    assert hub.bytes_sent(LARGE) <= 2 * SIZE + IN_SOCKETS


def test_range_ignored_from_some_time_on(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A server that begins to ignore ranges, while several are under way, does no harm."""
    hub.misbehave("slow", LARGE, delay=0.2, begins=0)
    for chunk in range(1, 12):
        hub.misbehave("ignore-range", LARGE, begins=chunk * FAST.chunk)
    pull_right(shelf, hub, repo)
    assert hub.bytes_sent(LARGE) <= 2 * SIZE + IN_SOCKETS


def test_range_ignored_when_a_file_is_resumed(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A resumed file whose server sends it from its beginning goes on where it stopped."""
    hub.misbehave("status", LARGE, status=500, begins=4 * FAST.chunk)
    with pytest.raises(SourceError):
        quick_pull(shelf, spec_of(hub, repo))
    assert partial_lengths(shelf, repo)[LARGE] == 4 * FAST.chunk
    hub.faults.clear()
    wait_for_quiet(hub)
    hub.requests.clear()
    hub.misbehave("ignore-range", LARGE)
    events = pull_right(shelf, hub, repo)
    assert events.of(Planned)[0].here >= 4 * FAST.chunk
    assert hub.bytes_sent(LARGE) <= SIZE + IN_SOCKETS


def test_a_stall(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A body that goes quiet is noticed and asked for again, from where it stopped."""
    hub.misbehave("stall", LARGE, after=150_000, times=1)
    events = pull_right(shelf, hub, repo)
    host = hub.url.removeprefix("http://")
    assert [e.reason for e in events.of(Retrying)] == [f"{host}: no byte came for 0.5 s"]
    assert hub.bytes_sent(LARGE) <= SIZE + FAST.piece


def test_a_content_range_that_starts_elsewhere(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A reply that says it is another range is not used: once it costs a request, always a pull."""
    hub.misbehave("wrong-start", LARGE, times=1)
    events = pull_right(shelf, hub, repo)
    assert [e.path for e in events.of(Retrying)] == [LARGE]
    shelf.remove(shelf.find(repo.repo_id))
    hub.misbehave("wrong-start", LARGE)
    with pytest.raises(SourceError, match="another range") as failed:
        quick_pull(shelf, spec_of(hub, repo))
    assert failed.value.exit_code == 15


def test_a_content_range_with_another_total(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A file that has another size where it is served is refused."""
    hub.misbehave("wrong-total", LARGE)
    with pytest.raises(IntegrityError, match=LARGE) as failed:
        quick_pull(shelf, spec_of(hub, repo))
    assert failed.value.exit_code == 14
    assert_nothing_published(shelf)


def test_a_content_length_too_small(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A body that is stated shorter than its range is taken, and the rest asked for."""
    hub.misbehave("wrong-length", LARGE, by=-1000, times=4)
    pull_right(shelf, hub, repo)


def test_a_content_length_too_large(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A body that is stated longer than its range is refused."""
    hub.misbehave("wrong-length", LARGE, by=1000)
    with pytest.raises(IntegrityError, match=LARGE):
        quick_pull(shelf, spec_of(hub, repo))


def test_a_reply_without_content_range(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A 206 that does not say which range it is cannot be used."""
    hub.misbehave("headers", LARGE, headers={"Content-Range": ""}, times=1)
    events = pull_right(shelf, hub, repo)
    assert len(events.of(Retrying)) == 1


def test_a_file_shorter_than_listed(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A file that ends before its listed size is refused."""
    repo.files[LARGE].size += 1_000_000
    with pytest.raises(IntegrityError, match=LARGE):
        quick_pull(shelf, spec_of(hub, repo))


def test_gets_without_range_are_refused(shelf: Shelf, far: Hub) -> None:
    """A file host that refuses a GET without Range serves every request of a pull."""
    fault = far.misbehave("need-range", "*")
    pull_right(shelf, far, add_model(far))
    assert fault.hits == 0
    assert all(request.range for request in far.requests)


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "/etc/escaped",
        "a/../../escaped",
        "a//escaped",
        "./escaped",
        "back\\slash",
        "C:escaped",
        "bell\x07",
        "new\nline",
        "right\u202eleft",
        ".snapshot.json",
        "sub/.writer.json",
        "x.part",
        "nul",
        "dot.",
        "a" * 256,
    ],
)
def test_names_that_are_refused(shelf: Shelf, hub: Hub, tmp_path: Path, name: str) -> None:
    """A name that could leave its folder or trick a filesystem stops the pull before a request."""
    repo = hub.add("org/evil", {name: b"x", "ok": b"y"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RefusedError) as failed:
        quick_pull(shelf, spec_of(hub, repo))
    assert failed.value.exit_code == 14
    assert str(failed.value).isprintable()
    assert hub.requests == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "pair",
    [
        ("Config.json", "config.json"),
        (unicodedata.normalize("NFC", "é.bin"), unicodedata.normalize("NFD", "é.bin")),
        ("straße", "STRASSE"),
        ("a", "a/b"),
        ("A/b", "a/c"),
    ],
)
def test_names_that_collide(shelf: Shelf, hub: Hub, pair: tuple[str, str]) -> None:
    """Two names that are one on some filesystem stop the pull before a request."""
    repo = hub.add("org/evil", dict.fromkeys(pair, b"x"))
    with pytest.raises(RefusedError):
        quick_pull(shelf, spec_of(hub, repo))
    assert hub.requests == []
    assert_nothing_published(shelf)


def test_names_that_need_quoting(shelf: Shelf, far: Hub) -> None:
    """Spaces, signs that URLs give a meaning, and other scripts are fetched under their names."""
    names = ["with space.txt", "50%.txt", "q?a#b&c=d;e+f.txt", "模型/größe.bin", "a%2Fb.txt"]
    repo = far.add("org/odd", {name: name.encode() for name in names}, lfs=names[2:4])
    pull_right(shelf, far, repo)


def test_a_weights_file_with_a_broken_header(shelf: Shelf, hub: Hub) -> None:
    """A truncated upload has a perfect checksum and is refused all the same, and fetched once."""
    whole = safetensors(1_000_000)
    cut = b"".join(whole.blocks(0, 600_000))
    repo = hub.add("org/cut", {LARGE: cut}, lfs=[LARGE])
    for _ in range(2):
        with pytest.raises(IntegrityError, match="not a whole safetensors file"):
            quick_pull(shelf, spec_of(hub, repo))
    assert hub.bytes_sent() == 600_000


def test_gated(shelf: Shelf, hub: Hub) -> None:
    """Without a token that may read, and with another, the pull says which to set."""
    repo = add_model(hub, token="hf_right")
    for token in (None, "hf_wrong"):
        with pytest.raises(NotAuthorisedError, match=r"40[13]") as failed:
            quick_pull(shelf, spec_of(hub, repo, token=token))
        assert failed.value.exit_code == 10
        assert "HF_TOKEN" in failed.value.hint
    assert_right(quick_pull(shelf, spec_of(hub, repo, token="hf_right")), repo)


def test_a_file_that_is_gone(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A file that the commit does not have any more is named."""
    spec = spec_of(hub, repo)
    del repo.files[SMALL]
    with pytest.raises(NotFoundError, match=SMALL) as failed:
        quick_pull(shelf, spec)
    assert failed.value.exit_code == 11


def test_empty_files(shelf: Shelf, hub: Hub) -> None:
    """Files without a byte are there without a request."""
    repo = hub.add("org/empty", {"a/__init__.py": b"", "b.bin": b"", "c": b"c"}, lfs=["b.bin"])
    pull_right(shelf, hub, repo)
    assert {request.file for request in hub.requests} == {"c"}


def test_half_of_what_was_asked(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A server that answers with the beginning of a range, as it may, is asked for the rest."""
    hub.misbehave("part", LARGE, after=100_000)
    events = pull_right(shelf, hub, repo)
    assert hub.bytes_sent(LARGE) == SIZE
    assert events.of(Retrying) == []


@pytest.mark.parametrize("kind", ["long-chunked", "long-close"])
def test_a_body_without_a_length(shelf: Shelf, hub: Hub, repo: Repo, kind: str) -> None:
    """A chunked body, or one that ends with its connection, is read like any other."""
    hub.misbehave(kind, "*", extra=0)  # type: ignore[arg-type]
    events = pull_right(shelf, hub, repo)
    assert hub.bytes_sent() == sum(entry.size for entry in repo.files.values())
    assert events.of(Retrying) == []


def test_a_body_in_chunks_that_breaks_off(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A body in chunks that ends early is not taken for a whole one."""
    hub.misbehave("long-chunked", LARGE, extra=0)
    hub.misbehave("short", LARGE, after=100_000, times=3)
    pull_right(shelf, hub, repo)


def test_connections_that_serve_once(shelf: Shelf, hub: Hub, repo: Repo) -> None:
    """A server that closes after every reply costs connections and nothing else."""
    hub.misbehave("headers", "*", headers={"Connection": "close"})
    events = pull_right(shelf, hub, repo)
    assert hub.hub.accepted == len(hub.requests)
    assert events.of(Retrying) == []


def test_sha1_files_of_many_chunks(shelf: Shelf, hub: Hub) -> None:
    """A file known by its git blob id alone is verified, however many ranges it takes."""
    repo = hub.add("org/plain", {"data.txt": Pattern(2_000_000)})
    pull_right(shelf, hub, repo)
    assert hub.bytes_sent() == 2_000_000

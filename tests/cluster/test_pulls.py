"""Pull Jobs on a real cluster: killed, refused, behind proxies, and asked for what is there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub import Hub, Proxy, make_certificate
from lab.cluster import Cluster
from support.cluster_project import (
    TINY_ID,
    TINY_MODEL,
    WEIGHTS,
    Project,
    add_tiny,
    next_of,
)

MIB = 1 << 20
CHUNK = 6 * MIB  # what a pull asks for at once
TOKEN = "hf_" + "Ab3dE6" * 6


def shelved(share: Path, repo_id: str = TINY_ID) -> list[Path]:
    """The weights on the share that belong to a snapshot."""
    return sorted(share.glob(f"models/{repo_id}/*/{WEIGHTS}"))


def job_pods(project: Project, model: str = TINY_MODEL) -> list[dict[str, Any]]:
    """A model's pods, ended ones too."""
    label = f"app.kubernetes.io/component=pull,app.kubernetes.io/name={model}"
    found: list[dict[str, Any]] = project.get("pods", None, "-l", label)["items"]
    return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def stall_after(hub: Hub, size: int, whole: int) -> None:
    """Let `whole` chunks of the weights pass, and of each further one a quarter."""
    for begins in range(whole * CHUNK, size, CHUNK):
        hub.misbehave("stall", path=WEIGHTS, begins=begins, after=CHUNK // 4)


def until_written(share: Path, size: int) -> None:
    """Wait until that much of the weights lies on the share, all that the Hub lets pass."""
    deadline = time.monotonic() + 60
    while sum(part.stat().st_size for part in share.glob(f"staging/*/*/*/{WEIGHTS}.part")) < size:
        assert time.monotonic() < deadline, f"{size} bytes were never written"
        time.sleep(0.1)


def kill(project: Project) -> None:
    """End the pull's process as the kernel does when memory is short."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"/modelshelf/transfer/__main__.py\0pull" in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
                return
    raise AssertionError(f"nothing pulls in {project.namespace}")


def force_delete(project: Project) -> None:
    """Delete the pull's pod as somebody does who is in a hurry."""
    (pod,) = job_pods(project)
    project.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")


@pytest.mark.parametrize("end", [kill, force_delete])
def test_a_pull_whose_pod_is_killed_goes_on_in_the_next_pod(
    unserved: Project, hub: Hub, share: Path, end: Callable[[Project], None]
) -> None:
    """The Job's next pod fetches what was not on the disk, and no more."""
    size, whole = 8 * CHUNK, 6
    add_tiny(hub, size=size)
    stall_after(hub, size, whole)
    process = unserved.start("up")
    until_written(share, whole * CHUNK)
    (first,) = job_pods(unserved)
    hub.faults.clear()  # for what is asked from now on; what stalls goes on stalling
    end(unserved)
    done = unserved.finish(process)

    (published,) = done.of("published")
    assert published["how"] == "pulled"
    # What was in memory when it ended, a quarter of each stalled chunk, comes twice.
    twice = (8 - whole) * CHUNK // 4 + 2 * MIB
    assert size <= hub.bytes_sent(WEIGHTS) <= size + twice
    assert job_pods(unserved)[-1]["metadata"]["uid"] != first["metadata"]["uid"]
    (weights,) = shelved(share)
    assert weights.stat().st_size == size


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_is_gone_on_with_by_the_next(
    unserved: Project, hub: Hub, share: Path, how: signal.Signals
) -> None:
    """Interrupting the command leaves the Job at work, and the next command joins it."""
    size = 2 * CHUNK
    add_tiny(hub, size=size)
    stall_after(hub, size, 1)
    process = unserved.start("up")
    until_written(share, CHUNK)
    process.send_signal(how)
    interrupted = unserved.finish(process, code=None)
    assert interrupted.code in {128 + how, -how}
    assert "Traceback" not in interrupted.stderr

    second = unserved.start("up")
    assert next_of(second, "pull-started")["how"] == "attached"
    hub.release()
    done = unserved.finish(second)
    assert done.of("published", how="pulled")
    assert done.changed == []
    assert hub.bytes_sent(WEIGHTS) == size
    assert len(job_pods(unserved)) == 1


def gate(hub: Hub) -> None:
    """Put the model behind a licence."""
    repo = add_tiny(hub)
    repo.token, repo.gated = TOKEN, True


def lose(hub: Hub) -> None:
    """Take a file away that the lock has."""
    hub.misbehave("status", path=WEIGHTS, status=404, error_code="EntryNotFound")


def spoil(hub: Hub) -> None:
    """Send a wrong byte."""
    hub.misbehave("flip", path=WEIGHTS, at=1_000_000)


@pytest.mark.parametrize(("fault", "code"), [(gate, 10), (lose, 11), (spoil, 14)])
def test_what_no_second_try_mends_ends_the_pull_at_once(
    unserved: Project,
    hub: Hub,
    share: Path,
    fault: Callable[[Hub], None],
    code: int,
) -> None:
    """The pod's error becomes the command's, after one pod."""
    unserved.run("lock")
    fault(hub)
    failed = unserved.run("up", code=code)
    (error,) = failed.of("error")
    assert error["exit_code"] == code
    assert TINY_MODEL in error["message"]
    # A licence is for all files, and they are asked for at the same time.
    files = (WEIGHTS, "config.json") if fault is gate else (WEIGHTS,)
    assert any(file in error["message"] for file in files)
    assert len(job_pods(unserved)) == 1
    assert shelved(share) == []


def test_a_model_that_the_hub_lacks_is_refused_before_anything_is_created(
    unserved: Project, hub: Hub
) -> None:
    """What cannot be resolved is exit 11, and the cluster was not touched."""
    unserved.file["models"][TINY_MODEL]["source"] = "hf://org/none"
    (error,) = unserved.run("up", code=11).of("error")
    assert "org/none" in error["message"]
    spaces = json.loads(unserved.cluster.kubectl("get", "namespaces", "-o=json"))["items"]
    assert unserved.namespace not in {each["metadata"]["name"] for each in spaces}


@pytest.fixture
def small_disk(share: Path) -> Iterator[Path]:
    """The share on a disk of its own with room for 2 MiB."""
    options = "size=2m,uid=1000,gid=1000,mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(share)], check=True)
    yield share
    subprocess.run(["umount", "--lazy", str(share)], check=True)


@pytest.mark.usefixtures("small_disk")
def test_a_full_share_is_told_with_what_is_missing(unserved: Project, hub: Hub) -> None:
    """No room is exit 12 in the first pod, before a byte was fetched."""
    (error,) = unserved.run("up", code=12).of("error")
    assert TINY_MODEL in error["message"]
    assert "3" in error["message"]
    assert len(job_pods(unserved)) == 1
    assert hub.bytes_sent(WEIGHTS) == 0


def test_a_share_that_this_user_may_not_write_is_told_with_the_cure(
    unserved: Project, hub: Hub, share: Path
) -> None:
    """Exit 13 before the first byte names path, uid and cure; the cure is one."""
    os.chown(share, 0, 0)
    (error,) = unserved.run("up", code=13).of("error")
    assert "/shelf" in error["message"]
    assert "1000" in error["message"]
    assert f"chown 1000:1000 {share}" in error["hint"]
    assert hub.bytes_sent(WEIGHTS) == 0
    assert len(job_pods(unserved)) == 1

    os.chown(share, 1000, 1000)
    assert unserved.run("up").of("pull-started", how="replaced")
    assert len(shelved(share)) == 1


def test_a_hub_that_fails_for_a_while_is_waited_for(unserved: Project, hub: Hub) -> None:
    """Passing trouble is tried again in the pod; what ends a pod, in the Job's next one."""
    unserved.run("lock")
    hub.misbehave("status", path=WEIGHTS, status=503, times=2)
    busy = unserved.start("up")
    assert "503" in next_of(busy, "retrying")["reason"]
    assert unserved.finish(busy).of("published", how="pulled")
    assert len(job_pods(unserved)) == 1

    repo = add_tiny(hub, seed=2)
    unserved.run("lock", "--upgrade")
    hub.misbehave("status", path=WEIGHTS, status=418, times=1)
    done = unserved.run("up")
    (trouble,) = done.of("pull-trouble")
    assert "418" in trouble["reason"]
    (published,) = done.of("published")
    assert published["snapshot"].startswith(repo.commit)


def test_a_pull_trusts_the_authority_that_the_file_names(
    unserved: Project, restricted: str, cluster: Cluster, tmp_path: Path
) -> None:
    """`pull.ca` is a ConfigMap's key, and without it the Hub's certificate is refused by name."""
    address = cluster.address
    certificate = make_certificate(tmp_path, [address])
    unserved.kubectl("create", "configmap", "trust", f"--from-file=ca.crt={certificate.authority}")
    with Hub(address=address, tls=certificate) as hub:
        add_tiny(hub)
        unserved.file["hub"] = {"endpoint": hub.url}
        unserved.file["pull"] = {"ca": {"configMap": "trust"}}
        trusting = {"SSL_CERT_FILE": certificate.authority}
        done = unserved.run("up", env=trusting)
        assert done.of("published", how="pulled")
        # A namespace that was there is used, and nobody's name is put on it.
        labels = unserved.cluster.kubectl(
            "get", "namespace", restricted, "-o=jsonpath={.metadata.labels}"
        )
        assert "modelshelf" not in labels


def test_a_certificate_that_nobody_vouches_for_is_told_as_such(
    unserved: Project, cluster: Cluster, tmp_path: Path
) -> None:
    """Without the authority the pull says that the certificate is the trouble."""
    address = cluster.address
    certificate = make_certificate(tmp_path, [address])
    with Hub(address=address, tls=certificate) as hub:
        add_tiny(hub)
        unserved.file["hub"] = {"endpoint": hub.url}
        process = unserved.start("up", env={"SSL_CERT_FILE": certificate.authority})
        trouble = next_of(process, "pull-trouble")
        process.terminate()
        unserved.finish(process, code=None)
    assert "certificate" in trouble["reason"].lower()


def test_a_pull_goes_through_the_proxy_that_the_file_names(
    unserved: Project, hub: Hub, cluster: Cluster
) -> None:
    """`pull.proxy` carries every file."""
    address = cluster.address
    with Proxy(address=address) as proxy:
        unserved.file["pull"] = {"proxy": {"http": proxy.url}}
        assert unserved.run("up").of("published", how="pulled")
        assert all(request.target.startswith(hub.url) for request in proxy.requests)
        asked = {request.target.rpartition("/")[2] for request in proxy.requests}
        assert asked == {WEIGHTS, "config.json"}


def test_a_pull_runs_where_the_file_says_and_tells_why_it_cannot(
    unserved: Project, cluster: Cluster
) -> None:
    """A nodeSelector that no node fits is the reason given; one that fits is obeyed."""
    unserved.file["pull"] = {"nodeSelector": {"disk": "fast"}}
    (error,) = unserved.run("up", "--timeout", "3", code=20).of("error")
    assert "node" in error["message"]
    assert "selector" in error["message"]

    unserved.file["pull"] = {"nodeSelector": {"kubernetes.io/hostname": cluster.node}}
    assert unserved.run("up").of("published", how="pulled")
    (pod,) = job_pods(unserved)
    assert pod["spec"]["nodeName"] == cluster.node


def test_an_image_that_is_not_there_is_named(unserved: Project) -> None:
    """A wrong image is told as soon as the wait is over, with what the kubelet says."""
    unserved.file["pull"] = {"image": "python:3.13-slimm"}
    (error,) = unserved.run("up", "--timeout", "10", code=20).of("error")
    assert "python:3.13-slimm" in error["message"]


def test_a_pull_that_takes_too_long_is_ended_by_its_own_deadline(
    unserved: Project, hub: Hub
) -> None:
    """`pull.deadline` is the Job's, whoever waits for it."""
    hub.misbehave("stall", path=WEIGHTS, after=1000)
    unserved.file["pull"] = {"deadline": 6}
    (error,) = unserved.run("up", code=20).of("error")
    assert "DeadlineExceeded" in error["message"]
    hub.release()


def test_up_with_everything_there_asks_the_hub_nothing(
    unserved: Project, hub: Hub, share: Path
) -> None:
    """The second up looks, changes nothing and needs no Hub; an emptied share it sees."""
    assert unserved.run("up").of("done")[0]["changed"] > 0
    sent = len(hub.requests)
    hub.misbehave("refuse")
    second = unserved.run("up")
    assert second.of("pull-started", how="replaced")
    assert second.of("published", how="present", fetched=0)
    assert second.of("done", changed=0)
    assert len(hub.requests) == sent

    hub.faults.clear()
    shutil.rmtree(share / "models")
    assert unserved.run("up").of("published", how="pulled")
    assert len(shelved(share)) == 1


def test_a_folder_that_was_downloaded_before_is_adopted(
    unserved: Project, hub: Hub, share: Path
) -> None:
    """`from:` takes the tutorial's own download, and fetches nothing."""
    folder = share / "downloads" / "tiny"
    folder.mkdir(parents=True)
    repo = add_tiny(hub)
    for path, entry in repo.files.items():
        blocks = entry.content.blocks(0, entry.size)
        (folder / path).write_bytes(b"".join(bytes(block) for block in blocks))
    for made in (share / "downloads", folder, *folder.iterdir()):
        os.chown(made, 1000, 1000)
    unserved.file["models"][TINY_MODEL]["from"] = "downloads/tiny"
    unserved.run("lock")
    before = hub.bytes_sent()
    done = unserved.run("up")
    assert done.of("published", fetched=0)
    assert {event["how"] for event in done.of("file-done")} <= {"recovered", "linked", "copied"}
    assert hub.bytes_sent() == before
    assert len(shelved(share)) == 1


def test_several_models_are_pulled_at_once(unserved: Project, hub: Hub, share: Path) -> None:
    """Each model has its Job, and none waits for another's."""
    add_tiny(hub, "org/other", seed=2)
    unserved.file["models"]["other"] = {"source": "hf://org/other", "engine": "vllm"}
    hub.misbehave("stall", path=WEIGHTS, after=1_000_000)
    process = unserved.start("up")
    begun = {next_of(process, "progressed")["model"]}
    while begun != {TINY_MODEL, "other"}:
        begun.add(next_of(process, "progressed")["model"])
    hub.release()
    done = unserved.finish(process)
    assert {event["model"] for event in done.of("published")} == {TINY_MODEL, "other"}
    assert len(shelved(share)) == len(shelved(share, "org/other")) == 1


def test_two_namespaces_on_one_share_fetch_a_model_once(
    unserved: Project, hub: Hub, share: Path, tmp_path: Path
) -> None:
    """Who comes second waits for the first, and finds the model there."""
    size = 2 * CHUNK
    add_tiny(hub, size=size)
    stall_after(hub, size, 1)
    folder = tmp_path / "second"
    folder.mkdir()
    name = f"{unserved.namespace}-b"
    second = Project(folder, unserved.cluster, name, hub, unserved.file["shelf"])
    second.file |= {key: unserved.file[key] for key in ("models", "servers")}
    try:
        one = unserved.start("up")
        until_written(share, CHUNK)
        other = second.start("up")
        assert next_of(other, "waiting")["holder"]
        hub.release()
        assert unserved.finish(one).of("published", how="pulled")
        assert second.finish(other).of("published", how="waited", fetched=0)
    finally:
        second.run("down", "--yes")
    assert hub.bytes_sent(WEIGHTS) == size

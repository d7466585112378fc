"""Pull Jobs on a real cluster: killed, refused, behind proxies, and repeated."""

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


def shelved_weights(share: Path, repo_id: str = TINY_ID) -> list[Path]:
    """The weight files on the share that belong to a snapshot."""
    return sorted(share.glob(f"models/{repo_id}/*/{WEIGHTS}"))


def job_pods(project: Project, model: str = TINY_MODEL) -> list[dict[str, Any]]:
    """The pods of a model's pull, finished ones too."""
    label = f"app.kubernetes.io/component=pull,app.kubernetes.io/name={model}"
    found: list[dict[str, Any]] = project.get("pods", None, "-l", label)["items"]
    return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def stall_after(hub: Hub, size: int, whole: int) -> None:
    """Make the Hub send `whole` chunks of the weights, and a quarter of each further chunk."""
    for begins in range(whole * CHUNK, size, CHUNK):
        hub.misbehave("stall", path=WEIGHTS, begins=begins, after=CHUNK // 4)


def wait_until_written(share: Path, size: int) -> None:
    """Wait until all bytes that the Hub sends before it stalls are on the share."""
    deadline = time.monotonic() + 60
    while sum(part.stat().st_size for part in share.glob(f"staging/*/*/*/{WEIGHTS}.part")) < size:
        assert time.monotonic() < deadline, f"{size} bytes were never written"
        time.sleep(0.1)


def kill_pull_process(project: Project) -> None:
    """Kill the pull's process as the kernel does when memory is short."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"/modelshelf/transfer/__main__.py\0pull" in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
                return
    raise AssertionError(f"nothing pulls in {project.namespace}")


def force_delete(project: Project) -> None:
    """Delete the pull's pod by force."""
    (pod,) = job_pods(project)
    project.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")


@pytest.mark.parametrize("end", [kill_pull_process, force_delete])
def test_the_next_pod_continues_a_killed_pull(
    unserved_project: Project, hub: Hub, share: Path, end: Callable[[Project], None]
) -> None:
    """The Job's next pod downloads only the bytes that are not on the share yet."""
    size, whole = 8 * CHUNK, 6
    add_tiny(hub, size=size)
    stall_after(hub, size, whole)
    process = unserved_project.start("up")
    wait_until_written(share, whole * CHUNK)
    (first,) = job_pods(unserved_project)
    hub.faults.clear()  # for what is asked from now on; what stalls goes on stalling
    end(unserved_project)
    done = unserved_project.finish(process)

    (published,) = done.of("published")
    assert published["how"] == "pulled"
    # What was in memory when it ended, a quarter of each stalled chunk, comes twice.
    twice = (8 - whole) * CHUNK // 4 + 2 * MIB
    assert size <= hub.bytes_sent(WEIGHTS) <= size + twice
    assert job_pods(unserved_project)[-1]["metadata"]["uid"] != first["metadata"]["uid"]
    (weights,) = shelved_weights(share)
    assert weights.stat().st_size == size


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_next_up_joins_the_job_of_an_interrupted_one(
    unserved_project: Project, hub: Hub, share: Path, how: signal.Signals
) -> None:
    """An interrupted `up` leaves the Job running, and the next `up` joins it."""
    size = 2 * CHUNK
    add_tiny(hub, size=size)
    stall_after(hub, size, 1)
    process = unserved_project.start("up")
    wait_until_written(share, CHUNK)
    process.send_signal(how)
    interrupted = unserved_project.finish(process, code=None)
    assert interrupted.code in {128 + how, -how}
    assert "Traceback" not in interrupted.stderr

    second = unserved_project.start("up")
    assert next_of(second, "pull-started")["how"] == "attached"
    hub.release()
    done = unserved_project.finish(second)
    assert done.of("published", how="pulled")
    assert done.changed == []
    assert hub.bytes_sent(WEIGHTS) == size
    assert len(job_pods(unserved_project)) == 1


def require_licence(hub: Hub) -> None:
    """Put the model behind a licence."""
    repo = add_tiny(hub)
    repo.token, repo.gated = TOKEN, True


def remove_locked_file(hub: Hub) -> None:
    """Remove a file that the lock names from the Hub."""
    hub.misbehave("status", path=WEIGHTS, status=404, error_code="EntryNotFound")


def damage_a_byte(hub: Hub) -> None:
    """Make the Hub send a wrong byte."""
    hub.misbehave("flip", path=WEIGHTS, at=1_000_000)


@pytest.mark.parametrize(
    ("fault", "code"), [(require_licence, 10), (remove_locked_file, 11), (damage_a_byte, 14)]
)
def test_a_failure_that_retrying_cannot_mend_ends_the_pull(
    unserved_project: Project,
    hub: Hub,
    share: Path,
    fault: Callable[[Hub], None],
    code: int,
) -> None:
    """The error of the Job's only pod becomes the command's error."""
    unserved_project.run("lock")
    fault(hub)
    failed = unserved_project.run("up", code=code)
    (error,) = failed.of("error")
    assert error["exit_code"] == code
    assert TINY_MODEL in error["message"]
    # A licence is for all files, and they are asked for at the same time.
    files = (WEIGHTS, "config.json") if fault is require_licence else (WEIGHTS,)
    assert any(file in error["message"] for file in files)
    assert len(job_pods(unserved_project)) == 1
    assert shelved_weights(share) == []


def test_a_model_that_the_hub_lacks_is_refused_before_anything_is_created(
    unserved_project: Project, hub: Hub
) -> None:
    """A model that the Hub does not have is exit 11, and nothing is created in the cluster."""
    unserved_project.file["models"][TINY_MODEL]["source"] = "hf://org/none"
    (error,) = unserved_project.run("up", code=11).of("error")
    assert "org/none" in error["message"]
    spaces = json.loads(unserved_project.cluster.kubectl("get", "namespaces", "-o=json"))["items"]
    assert unserved_project.namespace not in {each["metadata"]["name"] for each in spaces}


@pytest.fixture
def small_disk(share: Path) -> Iterator[Path]:
    """A share on a disk of its own that has room for 2 MiB."""
    options = "size=2m,uid=1000,gid=1000,mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(share)], check=True)
    yield share
    subprocess.run(["umount", "--lazy", str(share)], check=True)


@pytest.mark.usefixtures("small_disk")
def test_a_full_share_is_reported_with_the_missing_bytes(
    unserved_project: Project, hub: Hub
) -> None:
    """A share without room is exit 12 in the first pod, which downloads no byte."""
    (error,) = unserved_project.run("up", code=12).of("error")
    assert TINY_MODEL in error["message"]
    assert "3" in error["message"]
    assert len(job_pods(unserved_project)) == 1
    assert hub.bytes_sent(WEIGHTS) == 0


def test_a_read_only_share_is_reported_with_a_remedy(
    unserved_project: Project, hub: Hub, share: Path
) -> None:
    """An unwritable share is exit 13 with path, uid and a remedy that works."""
    os.chown(share, 0, 0)
    (error,) = unserved_project.run("up", code=13).of("error")
    assert "/shelf" in error["message"]
    assert "1000" in error["message"]
    assert f"chown 1000:1000 {share}" in error["hint"]
    assert hub.bytes_sent(WEIGHTS) == 0
    assert len(job_pods(unserved_project)) == 1

    os.chown(share, 1000, 1000)
    assert unserved_project.run("up").of("pull-started", how="replaced")
    assert len(shelved_weights(share)) == 1


def test_a_pull_waits_for_a_hub_that_fails_for_a_while(unserved_project: Project, hub: Hub) -> None:
    """The pod retries short failures, and the Job's next pod retries one that ends a pod."""
    unserved_project.run("lock")
    hub.misbehave("status", path=WEIGHTS, status=503, times=2)
    busy = unserved_project.start("up")
    assert "503" in next_of(busy, "retrying")["reason"]
    assert unserved_project.finish(busy).of("published", how="pulled")
    assert len(job_pods(unserved_project)) == 1

    repo = add_tiny(hub, seed=2)
    unserved_project.run("lock", "--upgrade")
    hub.misbehave("status", path=WEIGHTS, status=418, times=1)
    done = unserved_project.run("up")
    (trouble,) = done.of("pull-trouble")
    assert "418" in trouble["reason"]
    (published,) = done.of("published")
    assert published["snapshot"].startswith(repo.commit)


def test_a_pull_trusts_the_authority_that_the_file_names(
    unserved_project: Project, restricted: str, cluster: Cluster, tmp_path: Path
) -> None:
    """A pull trusts the authority in the ConfigMap key that `pull.ca` names."""
    address = cluster.address
    certificate = make_certificate(tmp_path, [address])
    unserved_project.kubectl(
        "create", "configmap", "trust", f"--from-file=ca.crt={certificate.authority}"
    )
    with Hub(address=address, tls=certificate) as hub:
        add_tiny(hub)
        unserved_project.file["hub"] = {"endpoint": hub.url}
        unserved_project.file["pull"] = {"ca": {"configMap": "trust"}}
        trusting = {"SSL_CERT_FILE": certificate.authority}
        done = unserved_project.run("up", env=trusting)
        assert done.of("published", how="pulled")
        # A namespace that was there is used, and nobody's name is put on it.
        labels = unserved_project.cluster.kubectl(
            "get", "namespace", restricted, "-o=jsonpath={.metadata.labels}"
        )
        assert "modelshelf" not in labels


def test_an_untrusted_certificate_is_reported(
    unserved_project: Project, cluster: Cluster, tmp_path: Path
) -> None:
    """A pull without the authority's certificate reports that it does not trust the Hub's."""
    address = cluster.address
    certificate = make_certificate(tmp_path, [address])
    with Hub(address=address, tls=certificate) as hub:
        add_tiny(hub)
        unserved_project.file["hub"] = {"endpoint": hub.url}
        process = unserved_project.start("up", env={"SSL_CERT_FILE": certificate.authority})
        trouble = next_of(process, "pull-trouble")
        process.terminate()
        unserved_project.finish(process, code=None)
    assert "certificate" in trouble["reason"].lower()


def test_a_pull_goes_through_the_proxy_that_the_file_names(
    unserved_project: Project, hub: Hub, cluster: Cluster
) -> None:
    """A pull downloads every file through the proxy that `pull.proxy` names."""
    address = cluster.address
    with Proxy(address=address) as proxy:
        unserved_project.file["pull"] = {"proxy": {"http": proxy.url}}
        assert unserved_project.run("up").of("published", how="pulled")
        assert all(request.target.startswith(hub.url) for request in proxy.requests)
        asked = {request.target.rpartition("/")[2] for request in proxy.requests}
        assert asked == {WEIGHTS, "config.json"}


def test_a_pull_runs_where_the_file_says_and_tells_why_it_cannot(
    unserved_project: Project, cluster: Cluster
) -> None:
    """A pull runs on the node that nodeSelector fits, and reports a selector that fits none."""
    unserved_project.file["pull"] = {"nodeSelector": {"disk": "fast"}}
    (error,) = unserved_project.run("up", "--timeout", "3", code=20).of("error")
    assert "node" in error["message"]
    assert "selector" in error["message"]

    unserved_project.file["pull"] = {"nodeSelector": {"kubernetes.io/hostname": cluster.node}}
    assert unserved_project.run("up").of("published", how="pulled")
    (pod,) = job_pods(unserved_project)
    assert pod["spec"]["nodeName"] == cluster.node


def test_a_missing_image_is_named(unserved_project: Project) -> None:
    """A missing image is reported with the kubelet's reason as soon as the wait is over."""
    unserved_project.file["pull"] = {"image": "python:3.13-slimm"}
    (error,) = unserved_project.run("up", "--timeout", "10", code=20).of("error")
    assert "python:3.13-slimm" in error["message"]


def test_a_pull_that_takes_too_long_is_ended_by_its_own_deadline(
    unserved_project: Project, hub: Hub
) -> None:
    """The Job's own deadline, `pull.deadline`, ends a pull, also if no command waits for it."""
    hub.misbehave("stall", path=WEIGHTS, after=1000)
    unserved_project.file["pull"] = {"deadline": 6}
    (error,) = unserved_project.run("up", code=20).of("error")
    assert "DeadlineExceeded" in error["message"]
    hub.release()


def test_a_second_up_asks_the_hub_nothing(unserved_project: Project, hub: Hub, share: Path) -> None:
    """A second `up` changes nothing and needs no Hub, and notices an emptied share."""
    assert unserved_project.run("up").of("done")[0]["changed"] > 0
    sent = len(hub.requests)
    hub.misbehave("refuse")
    second = unserved_project.run("up")
    assert second.of("pull-started", how="replaced")
    assert second.of("published", how="present", fetched=0)
    assert second.of("done", changed=0)
    assert len(hub.requests) == sent

    hub.faults.clear()
    shutil.rmtree(share / "models")
    assert unserved_project.run("up").of("published", how="pulled")
    assert len(shelved_weights(share)) == 1


def test_an_earlier_download_is_used(unserved_project: Project, hub: Hub, share: Path) -> None:
    """`from:` uses the tutorial's own download, and the pull downloads nothing."""
    folder = share / "downloads" / "tiny"
    folder.mkdir(parents=True)
    repo = add_tiny(hub)
    for path, entry in repo.files.items():
        blocks = entry.content.blocks(0, entry.size)
        (folder / path).write_bytes(b"".join(bytes(block) for block in blocks))
    for made in (share / "downloads", folder, *folder.iterdir()):
        os.chown(made, 1000, 1000)
    unserved_project.file["models"][TINY_MODEL]["from"] = "downloads/tiny"
    unserved_project.run("lock")
    before = hub.bytes_sent()
    done = unserved_project.run("up")
    assert done.of("published", fetched=0)
    assert {event["how"] for event in done.of("file-done")} <= {"recovered", "linked", "copied"}
    assert hub.bytes_sent() == before
    assert len(shelved_weights(share)) == 1


def test_several_models_are_pulled_at_once(
    unserved_project: Project, hub: Hub, share: Path
) -> None:
    """Each model has a Job of its own, and no Job waits for another."""
    add_tiny(hub, "org/other", seed=2)
    unserved_project.file["models"]["other"] = {"source": "hf://org/other", "engine": "vllm"}
    hub.misbehave("stall", path=WEIGHTS, after=1_000_000)
    process = unserved_project.start("up")
    begun = {next_of(process, "progressed")["model"]}
    while begun != {TINY_MODEL, "other"}:
        begun.add(next_of(process, "progressed")["model"])
    hub.release()
    done = unserved_project.finish(process)
    assert {event["model"] for event in done.of("published")} == {TINY_MODEL, "other"}
    assert len(shelved_weights(share)) == len(shelved_weights(share, "org/other")) == 1


def test_two_namespaces_on_one_share_fetch_a_model_once(
    unserved_project: Project, hub: Hub, share: Path, tmp_path: Path
) -> None:
    """The second of two pulls waits for the first and then uses its model."""
    size = 2 * CHUNK
    add_tiny(hub, size=size)
    stall_after(hub, size, 1)
    folder = tmp_path / "second"
    folder.mkdir()
    name = f"{unserved_project.namespace}-b"
    second = Project(folder, unserved_project.cluster, name, hub, unserved_project.file["shelf"])
    second.file |= {key: unserved_project.file[key] for key in ("models", "servers")}
    try:
        one = unserved_project.start("up")
        wait_until_written(share, CHUNK)
        other = second.start("up")
        assert next_of(other, "waiting")["holder"]
        hub.release()
        assert unserved_project.finish(one).of("published", how="pulled")
        assert second.finish(other).of("published", how="waited", fetched=0)
    finally:
        second.run("down", "--yes")
    assert hub.bytes_sent(WEIGHTS) == size

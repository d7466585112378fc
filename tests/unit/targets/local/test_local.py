"""What the local target decides: waits, environments, command lines, and what it refuses."""

from __future__ import annotations

import os
import pathlib
import socket
import sys

import pytest

from modelshelf.shelf.errors import TargetError, UsageError
from modelshelf.targets.local.environment import OFFLINE, replica_environment
from modelshelf.targets.local.gpus import VARIABLE, share, visible
from modelshelf.targets.local.mounts import place
from modelshelf.targets.local.needs import require
from modelshelf.targets.local.ports import free_port, require_port, url_of
from modelshelf.targets.local.process import bound_log, last_lines
from modelshelf.targets.local.recording import Recorder, read_timeline, recorded
from modelshelf.targets.local.router import router_argv
from modelshelf.targets.local.slots import slot
from modelshelf.targets.local.waits import failures_after, look_wait, restart_wait


def test_restarts_come_later_each_time() -> None:
    """The wait doubles from half a second and stays at half a minute."""
    waits = [restart_wait(failures) for failures in range(1, 10)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert restart_wait(10_000) == 30.0


def test_a_process_that_ran_a_minute_starts_afresh() -> None:
    """Failures count in a row only; a long life ends the row."""
    assert [failures_after(f, up) for f, up in [(0, 1.0), (4, 59.9), (4, 60.0)]] == [1, 5, 1]


def test_health_is_looked_at_often_at_first() -> None:
    """A quick start is seen within 25 ms, a slow one costs little."""
    assert [look_wait(waited) for waited in (0.0, 1.0, 4.0, 100.0)] == [0.025, 0.025, 0.1, 0.5]


def test_a_replica_gets_no_secret_proxy_or_hub() -> None:
    """Only what is on the list passes, whatever else there is."""
    surrounding = {
        "PATH": "/bin",
        "HOME": "/home/x",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "0",
        "CUDA_LICENCE_TOKEN": "secret",
        "HF_TOKEN": "secret",
        "HUGGING_FACE_HUB_TOKEN": "secret",
        "HF_ENDPOINT": "https://hub.example",
        "HF_HUB_OFFLINE": "0",
        "OPENAI_API_KEY": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HTTPS_PROXY": "http://user:secret@proxy.example",
        "https_proxy": "http://user:secret@proxy.example",
        "SOMETHING_ELSE": "1",
    }
    assert replica_environment(surrounding, {"GGML_X": "1"}) == OFFLINE | {
        "PATH": "/bin",
        "HOME": "/home/x",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "0",
        "GGML_X": "1",
    }


def test_replicas_are_offline() -> None:
    """Every switch that keeps libraries from the network is set."""
    assert OFFLINE == {
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }


def test_the_last_lines_of_a_log_are_plain(tmp_path: pathlib.Path) -> None:
    """Colours and empty lines go, broken UTF-8 does no harm, and a log may be missing."""
    log = tmp_path / "replica-0.log"
    log.write_bytes(b"first\n\x1b[31mERROR\x1b[0m bad \xff\n\n\nlast  \n")
    assert last_lines(str(log), 2) == ["ERROR bad \ufffd", "last"]
    assert last_lines(str(tmp_path / "none.log"), 2) == []


def test_a_log_does_not_grow_for_ever(tmp_path: pathlib.Path) -> None:
    """Beyond its limit it is kept aside and begun anew, while its process goes on writing."""
    log = tmp_path / "replica-0.log"
    with log.open("ab", buffering=0) as process:
        process.write(b"old words")
        bound_log(str(log), limit=9)
        assert os.listdir(tmp_path) == ["replica-0.log"]
        bound_log(str(log), limit=8)
        process.write(b"new words")
    assert (tmp_path / "replica-0.log.1").read_bytes() == b"old words"
    assert log.read_bytes() == b"new words"


def test_the_router_knows_its_replicas() -> None:
    """The command line names address, replicas and counters, and balances once slots are full."""
    workers = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    argv = router_argv("127.0.0.1", 8000, workers, metrics_port=9, parallel=4, ready_within=60.0)
    assert argv[:15] == (
        *(sys.executable, "-P", "-m", "vllm_router.launch_router"),
        *("--host", "127.0.0.1", "--port", "8000", "--worker-urls", *workers),
        *("--prometheus-port", "9", "--balance-abs-threshold", "3"),
    )


@pytest.mark.parametrize(
    ("gpus", "replicas", "shares"),
    [
        ([], 2, [{}, {}]),
        (["0", "1", "2"], 1, [{}]),
        (["0", "1", "2"], 2, [{VARIABLE: "0"}, {VARIABLE: "1"}]),
        (["4", "5", "6", "7"], 2, [{VARIABLE: "4,5"}, {VARIABLE: "6,7"}]),
    ],
)
def test_several_replicas_divide_the_gpus(
    gpus: list[str], replicas: int, shares: list[dict[str, str]]
) -> None:
    """None sees another one's; a single one sees them all."""
    assert [share(gpus, number, replicas) for number in range(replicas)] == shares


def test_more_replicas_than_gpus_are_refused() -> None:
    """The second would find no memory on the first one's."""
    with pytest.raises(UsageError, match="2 replicas need a GPU each, and there are 1") as caught:
        share(["0"], 0, 2)
    assert caught.value.hint == "serve 1 here, or more on Kubernetes"


def test_gpus_are_those_of_the_environment_or_the_driver(tmp_path: pathlib.Path) -> None:
    """Where the environment names none, the driver's count."""
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:02:00.0").mkdir()
    assert visible({}, str(tmp_path)) == ["0", "1"]
    assert visible({VARIABLE: "GPU-a,GPU-b"}, str(tmp_path)) == ["GPU-a", "GPU-b"]
    assert visible({}, str(tmp_path / "none")) == []


def everything(_package: str) -> bool:
    """As if all packages were installed."""
    return True


def nothing(_package: str) -> bool:
    """As if none were."""
    return False


def test_one_replica_is_served_everywhere() -> None:
    """A single replica needs neither Linux nor a router."""
    require(["xllamacpp"], 1, "darwin", lambda package: package == "xllamacpp")
    require(["xllamacpp"], 2, "linux", everything)


def test_several_replicas_need_linux() -> None:
    """The error names the router, the system, and the other ways."""
    with pytest.raises(
        UsageError, match="vllm-router, which exists for Linux only, not for darwin"
    ):
        require(["xllamacpp"], 2, "darwin", everything)


def test_no_replica_is_refused() -> None:
    """Zero replicas are a mistake."""
    with pytest.raises(UsageError, match="0 replicas"):
        require(["xllamacpp"], 0, "linux", everything)


def test_missing_packages_are_named_with_what_installs_them() -> None:
    """Without the extra, the error says how to get it."""
    with pytest.raises(UsageError, match="needs xllamacpp and vllm_router") as caught:
        require(["xllamacpp"], 2, "linux", nothing)
    assert caught.value.hint == "pip install 'modelshelf[local]'"


def test_a_taken_port_is_named() -> None:
    """The error names the port and what to do; a free one passes."""
    require_port("127.0.0.1", free_port("127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(TargetError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            require_port("127.0.0.1", port)
    assert "another --port" in caught.value.hint


def test_addresses_and_ports_that_cannot_be_are_refused() -> None:
    """A number that is no port is a usage error, an address of elsewhere the target's."""
    with pytest.raises(UsageError, match="70000 is not a port"):
        require_port("127.0.0.1", 70_000)
    with pytest.raises(TargetError, match=r"cannot listen on port 8000 of 192\.0"):
        require_port("192.0.2.1", 8000)
    with pytest.raises(TargetError, match=r"of 192\.0\.2\.1"):
        free_port("192.0.2.1")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
    ],
)
def test_urls_can_be_used_on_this_machine(host: str, url: str) -> None:
    """Addresses that stand for all become loopback, and those of IPv6 get their brackets."""
    assert url_of(host, 80) == url


def test_the_lines_of_one_start_are_noted(tmp_path: pathlib.Path) -> None:
    """What stood in the log before is another start's; a line that is not whole is none yet."""
    log = tmp_path / "replica-0.log"
    log.write_bytes(b"of an earlier start\n")
    with Recorder(str(log)) as recorder, log.open("ab") as output:
        output.write(b"first\nsec")
        output.flush()
        output.write(b"ond\nthird, not")
        output.flush()
        lines = recorder.lines()
    assert [line for _, line in lines] == ["first", "second"]


def test_a_timeline_is_kept_beside_the_log(tmp_path: pathlib.Path) -> None:
    """The last start can be looked up; of a log without one there is none, which is no error."""
    log = str(tmp_path / "replica-0.log")
    assert read_timeline(log) is None
    found = recorded([], 3.0, log)
    assert found is not None
    assert [(phase.name, phase.seconds) for phase in found.phases] == [("import", 3.0)]
    kept = read_timeline(log)
    assert kept is not None
    assert kept.to_json() == found.to_json()
    assert os.listdir(tmp_path) == ["replica-0.timeline.json"]


def test_the_first_free_folder_is_taken(tmp_path: pathlib.Path) -> None:
    """Two at once have one each; who comes later has the first one again, empty."""
    with slot(str(tmp_path)) as first, slot(str(tmp_path)) as second:
        assert [first, second] == [str(tmp_path / "0"), str(tmp_path / "1")]
        pathlib.Path(first).mkdir()
    with slot(str(tmp_path)) as again:
        assert again == first
        assert not os.path.exists(again)


def test_what_a_folder_lies_on_is_read_from_the_mounts(tmp_path: pathlib.Path) -> None:
    """The longest mount above it counts; a share may have a space in its name."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\n"
        "host:/x /srv/models nfs4 rw 0 0\n"
        "bucket /srv/models/a\\040bucket fuse.s3 rw 0 0\n"
        "/dev/sdb /srv/models/disk xfs rw 0 0\n"
    )
    paths = ["/srv/modelsX", "/srv/models/a", "/srv/models/a bucket/b", "/srv/models/disk/x"]
    found = [place(path, str(mounts)) for path in paths]
    assert found == ["local", "nfs", "network", "local"]
    assert place("/", str(tmp_path / "none")) == "local"

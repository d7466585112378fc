"""The page and promises that the benchmark on Kubernetes makes of its measurements."""

from __future__ import annotations

import json

from bench import by_hand_objects, kubernetes_page
from bench.by_hand import spans
from bench.by_modelshelf import timeline
from bench.cluster_stage import Moment, Second, Start, to_ready
from bench.kubernetes_page import Measured, Setting
from bench.many_servers import Render, Status, requests_of

SIZE = 1000


def _start(fetched: int = SIZE) -> Start:
    moments = (Moment("server applied", 2.0), Moment("all replicas ready", 6.0))
    return Start(6.0, 6.5, 2.0, fetched, 70, (4.0,), moments, (("pip install", 3.0),))


def _measured(fetched: int = SIZE, calls: int = 5, seconds: float = 1.0) -> Measured:
    starts = {("ours", 1): [_start(), _start(fetched)], ("theirs", 1): [_start(4 * SIZE)]}
    second = [Second(5.0, 0, 0, 4.0)]
    return Measured(
        SIZE,
        "ours",
        starts,
        {"ours": second, "theirs": second},
        [Render(1, 206, [seconds], [0.5])],
        50.0,
        [Status("idle", ("list pods",) * calls, 1.0)],
    )


def test_a_promise_is_kept_at_its_threshold_and_broken_beyond() -> None:
    """A promise is kept exactly at its threshold, and one worse value breaks one promise."""
    assert all(promise.met for promise in kubernetes_page.promises(_measured()))
    for worse in (
        _measured(fetched=SIZE + 1),
        _measured(fetched=SIZE - 1),
        _measured(calls=6),
        _measured(seconds=2.0),
    ):
        broken = [one for one in kubernetes_page.promises(worse) if not one.met]
        assert len(broken) == 1


def test_the_page_has_all_measurements() -> None:
    """The page has every way, the timeline with differences, and the promises."""
    page = kubernetes_page.page(
        _measured(calls=6), Setting("make it", "2026-01-02", 2, {"memory": "1 GiB"})
    )
    assert "| ours | 1 | 6.00 (6.00, 6.00) | 6.50 | 1,000 | 1.00 | 70 |" in page
    assert "| theirs | 1 | 6.00 (6.00, 6.00) | 6.50 | 4,000 | 4.00 | 70 |" in page
    assert "| ours | all replicas ready | 6.00 | 4.00 |" in page
    assert "| idle | 6 | list pods 6 times | 1.00 |" in page
    assert "at most 5 API calls | 6 | **no** |" in page
    assert "`make it` on 2026-01-02" in page


def test_a_timeline_has_the_first_of_equal_events() -> None:
    """A timeline leaves out events that are no moments, and counts a repeated phase once."""
    gate = {"event": "pod-phased", "name": "smol", "phase": "gate"}
    events = [
        (1.0, {"event": "connected"}),
        (1.5, {"event": "progressed"}),
        (2.0, {"event": "applied", "kind": "Service"}),
        (2.5, {"event": "applied", "kind": "Deployment"}),
        (3.0, gate),
        (3.5, gate),
    ]
    assert [moment.at for moment in timeline(events)] == [1.0, 2.5, 3.0]


def test_the_spans_of_several_pods_are_their_medians() -> None:
    """The times of pip and the download are medians of the times in the pods' logs."""
    logs = ["at=10.5\nsaid\nat=12.0\nat=12.5\n", "at=1.0\nat=3.5\nat=5.0\n"]
    assert spans(logs) == (("pip install", 2.0), ("snapshot_download", 1.0))


def test_an_audit_log_gives_the_requests_of_one_user() -> None:
    """The audit log gives each request of one user once, when it was complete."""
    ended = {"verb": "list", "stage": "ResponseComplete", "user": {"username": "me"}}
    pods = {**ended, "objectRef": {"resource": "pods"}}
    lines = [
        pods,
        {**pods, "stage": "ResponseStarted"},
        {**pods, "user": {"username": "you"}},
        {**ended, "requestURI": "/version"},
    ]
    found = list(requests_of("me", [json.dumps(line) for line in lines]))
    assert found == ["list pods", "list /version"]


def test_the_engine_by_hand_is_ours_with_the_model_elsewhere() -> None:
    """The engine by hand keeps our image, arguments and probes, and loses our volumes."""
    container = {
        "name": "engine",
        "image": "llama",
        "args": ["--model", "/models/x/model.gguf", "--port", "8000"],
        "startupProbe": {"periodSeconds": 5},
        "volumeMounts": [{"name": "shelf"}],
        "securityContext": {"runAsUser": 1000},
    }
    found = by_hand_objects.engine_of({"spec": {"template": {"spec": {"containers": [container]}}}})
    assert found["args"] == ["--model", "/models/smollm2/model.gguf", "--port", "8000"]
    assert found["startupProbe"] == {"periodSeconds": 5}
    assert [mount["name"] for mount in found["volumeMounts"]] == ["models"]
    assert "securityContext" not in found


def test_a_pods_time_to_ready_begins_with_its_creation() -> None:
    """The time to ready runs from a pod's creation to its condition Ready, in seconds."""
    conditions = [
        {"type": "PodScheduled", "lastTransitionTime": "2026-01-02T03:04:05Z"},
        {"type": "Ready", "lastTransitionTime": "2026-01-02T03:05:01Z"},
    ]
    created = {"creationTimestamp": "2026-01-02T03:04:05Z"}
    assert to_ready({"metadata": created, "status": {"conditions": conditions}}) == 56

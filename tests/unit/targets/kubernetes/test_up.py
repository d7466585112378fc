"""Bringing a cluster to what the file says."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from support.fake_cluster import (
    FakeCluster,
    bind_claims,
    end_job,
    roll_out,
    run_deployments,
    run_jobs,
)
from support.render_inputs import config, lock

from modelshelf.config.file import Config
from modelshelf.kube.connection import RawResponse
from modelshelf.render.names import Key
from modelshelf.shelf.errors import NoSpaceError, NotAuthorisedError, TargetError, TimedOutError
from modelshelf.shelf.events import Event
from modelshelf.targets.kubernetes import Options, up
from modelshelf.targets.kubernetes.events import (
    Answered,
    Applied,
    Awaiting,
    Done,
    Kept,
    NotAsked,
    PullStarted,
    Removing,
    ServerReady,
    TakenBack,
)

MODELS = "tiny: {source: hf://acme/tiny, engine: vllm}"
SERVING = "front: {model: tiny}"
HOST = "hostPath: {path: /data, size: 1Gi}"


def _config(**parts: str) -> Config:
    return config(parts.pop("shelf", HOST), **{"models": MODELS, "servers": SERVING, **parts})


def _up(cluster: FakeCluster, file: Config, **options: Any) -> list[Event]:
    events: list[Event] = []
    timeouts = options.pop("timeouts", {})
    up(cluster.session(file, events.append, **timeouts), lock(file), Options(**options))
    return events


def _of(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_from_nothing_to_an_answer() -> None:
    """Storage comes before pulls, pulls before servers, and the server is asked at the end."""
    cluster = FakeCluster()
    events = _up(cluster, _config(), token="hf_secret")
    writes = [(verb, kind) for verb, kind, _ in cluster.writes()]
    assert list(dict.fromkeys(writes)) == [
        ("apply", "Namespace"),
        ("apply", "Secret"),
        ("apply", "PersistentVolume"),
        ("apply", "PersistentVolumeClaim"),
        ("apply", "ConfigMap"),
        ("create", "Job"),
        ("apply", "Deployment"),
        ("apply", "Service"),
        ("apply", "PodDisruptionBudget"),
        ("apply", "NetworkPolicy"),
    ]
    assert _of(events, ServerReady) == [ServerReady("front", 1, "http://front.llm.svc")]
    (answer,) = _of(events, Answered)
    assert (answer.model, answer.answer) == ("tiny", "Paris.")
    assert events[-1] == Done("up", 15, 0.0)


def test_a_second_run_changes_nothing() -> None:
    """The same file again looks at the shelf, and leaves every object as it is."""
    cluster = FakeCluster()
    _up(cluster, _config())
    before = {
        key: obj["metadata"]["resourceVersion"]
        for key, obj in cluster.objects.items()
        if key.kind not in {"Job", "Pod"}
    }
    events = _up(cluster, _config())
    assert _of(events, PullStarted)[0].how == "replaced"
    assert {event.how for event in _of(events, Applied)} == {"unchanged"}
    assert events[-1] == Done("up", 0, 0.0)
    assert before == {key: cluster.objects[key]["metadata"]["resourceVersion"] for key in before}


def test_the_token_is_in_a_secret_for_pulls_and_nowhere_else() -> None:
    """The token is in no other object, in no event and in no repr."""
    cluster = FakeCluster()
    events = _up(cluster, _config(), token="hf_secret")
    secret = cluster.objects.pop(Key("Secret", "llm", "models-hub-token"))
    assert base64.b64decode(secret["data"]["token"]) == b"hf_secret"
    encoded = base64.b64encode(b"hf_secret").decode()
    everything = json.dumps([*cluster.objects.values(), *(event.to_json() for event in events)])
    assert "hf_secret" not in everything
    assert encoded not in everything
    assert "hf_secret" not in repr(Options(token="hf_secret"))


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (None, "there is no Secret llm/hub, which hub.secret names"),
        ({"other": "eA=="}, "the Secret llm/hub has no key token; it has other"),
    ],
)
def test_a_named_secret_must_be_there_with_its_key(
    secret: dict[str, str] | None, expected: str
) -> None:
    """The error names Secret and key, before any Job is made."""
    cluster = FakeCluster()
    cluster.put({"kind": "Namespace", "metadata": {"name": "llm"}})
    if secret is not None:
        about = {"name": "hub", "namespace": "llm"}
        cluster.put({"kind": "Secret", "metadata": about, "data": secret})
    with pytest.raises(TargetError) as raised:
        _up(cluster, _config(more="hub: {secret: {name: hub}}"))
    assert str(raised.value) == expected
    assert cluster.writes() == []


def test_a_namespace_of_somebody_else_is_used_and_not_taken() -> None:
    """A namespace of somebody else is not applied, and keeps its labels."""
    cluster = FakeCluster()
    cluster.put({"kind": "Namespace", "metadata": {"name": "llm", "labels": {"team": "a"}}})
    _up(cluster, _config())
    assert cluster.objects[Key("Namespace", "", "llm")]["metadata"]["labels"] == {"team": "a"}


def test_a_user_who_may_not_see_namespaces_can_work_in_one() -> None:
    """A user who may not read the namespace or nodes gets no error."""
    cluster = FakeCluster()
    cluster.put({"kind": "Namespace", "metadata": {"name": "llm"}})
    claim = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "share", "namespace": "llm"},
        "spec": {"accessModes": ["ReadWriteMany"]},
    }
    cluster.put(claim)
    cluster.forbidden = {"Namespace", "Node", "PersistentVolume"}
    events = _up(cluster, _config(shelf="claim: share"))
    assert isinstance(events[-1], Done)


def test_an_object_of_somebody_else_is_refused_unless_forced() -> None:
    """An object of somebody else is taken over only with --force-conflicts."""
    cluster = FakeCluster()
    cluster.put({"kind": "Namespace", "metadata": {"name": "llm"}})
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    about = {"name": "front", "namespace": "llm", "labels": labels}
    theirs = cluster.put({"kind": "Service", "metadata": about, "spec": {}})
    with pytest.raises(
        TargetError, match=r"^Service llm/front is there already and belongs to Helm"
    ):
        _up(cluster, _config())
    assert cluster.objects[Key("Service", "llm", "front")] == theirs
    _up(cluster, _config(), force_conflicts=True)
    labels = cluster.objects[Key("Service", "llm", "front")]["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "modelshelf"


def test_what_others_set_on_our_objects_is_shown_and_set_back() -> None:
    """Fields that kubectl set on a Deployment of ours are named when they are taken back."""
    cluster = FakeCluster()
    _up(cluster, _config())
    cluster.owned_fields[Key("Deployment", "llm", "front")] = {".spec.paused": "kubectl-edit"}
    events = _up(cluster, _config())
    assert _of(events, TakenBack) == [
        TakenBack("Deployment", "front", (".spec.paused",), ("kubectl-edit",))
    ]


def test_a_released_volume_is_mended_before_its_claim_is_made() -> None:
    """The deleted claim's uid is removed from the volume, so that a new claim can have it."""
    cluster = FakeCluster()
    _up(cluster, _config())
    for obj in cluster.of("PersistentVolumeClaim"):
        del cluster.objects[Key("PersistentVolumeClaim", "llm", obj["metadata"]["name"])]
    for volume in cluster.of("PersistentVolume"):
        volume["status"] = {"phase": "Released"}
        volume["spec"]["claimRef"] |= {"uid": "old", "resourceVersion": "7"}
    events = _up(cluster, _config())
    assert [event.how for event in _of(events, Applied)].count("mended") == 2
    for volume in cluster.of("PersistentVolume"):
        assert not {"uid", "resourceVersion"} & set(volume["spec"]["claimRef"])


def test_a_claim_that_stays_pending_ends_with_its_reason() -> None:
    """The error of a claim without a volume names its deadline, and no Job was created."""
    cluster = FakeCluster(run_jobs, run_deployments)
    with pytest.raises(TargetError) as raised:
        _up(cluster, _config(), timeouts={"claim": 5})
    assert raised.value.exit_code == 20
    assert "has no volume after 5 s" in str(raised.value)
    assert cluster.of("Job") == []


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (None, "there is no claim share in namespace llm"),
        ({"accessModes": ["ReadWriteOnce"]}, "has access mode ReadWriteOnce"),
    ],
)
def test_an_unfit_claim_is_refused_before_anything_is_made(
    claim: dict[str, Any] | None, expected: str
) -> None:
    """The user's claim must exist, and many nodes must be able to mount it."""
    cluster = FakeCluster()
    cluster.put({"kind": "Namespace", "metadata": {"name": "llm"}})
    if claim is not None:
        about = {"name": "share", "namespace": "llm"}
        cluster.put({"kind": "PersistentVolumeClaim", "metadata": about, "spec": claim})
    with pytest.raises(TargetError, match=expected):
        _up(cluster, _config(shelf="claim: share"))
    assert cluster.writes() == []


def test_a_model_larger_than_the_shelf_is_refused_before_anything() -> None:
    """A model that does not fit the shelf is an error before any request is sent."""
    cluster = FakeCluster()
    file = _config(shelf="hostPath: {path: /data, size: 1Ki}")
    with pytest.raises(NoSpaceError):
        up(cluster.session(file, print), lock(file, size=2000), Options())
    assert cluster.calls == []


def test_a_failed_pull_raises_what_its_pod_told() -> None:
    """The error's class and hint are those of the pod, and servers are not changed."""

    def fail(cluster: FakeCluster) -> None:
        for job in cluster.of("Job"):
            if not job.get("status"):
                error = {"event": "error", "message": "acme/tiny wants a licence", "hint": "accept"}
                end_job(cluster, job, error | {"exit_code": 10}, code=10)

    cluster = FakeCluster(bind_claims, fail, run_deployments)
    with pytest.raises(NotAuthorisedError) as raised:
        _up(cluster, _config())
    assert str(raised.value) == "model tiny: acme/tiny wants a licence"
    assert raised.value.hint == "accept"
    assert cluster.of("Deployment") == []
    cluster.controllers = [bind_claims, run_jobs, run_deployments]
    assert _of(_up(cluster, _config()), PullStarted)[0].how == "replaced"


def test_a_running_pull_is_joined() -> None:
    """A Job that runs already is followed, and no second one is created."""
    cluster = FakeCluster(bind_claims, run_deployments)
    with pytest.raises(TimedOutError):
        _up(cluster, _config(), timeouts={"pull": 3})
    (job,) = cluster.of("Job")
    uid = job["metadata"]["uid"]

    def later(cluster: FakeCluster) -> None:
        if cluster.now > 10:
            run_jobs(cluster)

    cluster.controllers.append(later)
    events = _up(cluster, _config())
    assert _of(events, PullStarted)[0].how == "attached"
    assert cluster.of("Job")[0]["metadata"]["uid"] == uid


def test_a_server_that_does_not_get_ready_ends_with_its_reason() -> None:
    """The error has the pod's reason, and a second run completes once that is corrected."""

    def broken(cluster: FakeCluster) -> None:
        for deployment in cluster.of("Deployment"):
            roll_out(cluster, deployment, ready=False)
        for pod in cluster.of("Pod"):
            statuses = pod["status"]["containerStatuses"]
            if statuses[0]["name"] == "engine":
                waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image nope"}
                statuses[0]["state"] = {"waiting": waiting}

    cluster = FakeCluster(bind_claims, run_jobs, broken)
    with pytest.raises(TargetError) as raised:
        _up(cluster, _config(), timeouts={"ready": 30})
    assert raised.value.exit_code == 20
    assert "server front: 0 of 1 replicas are ready: image " in str(raised.value)
    assert "Back-off pulling image nope" in str(raised.value)
    cluster.controllers = [bind_claims, run_jobs, run_deployments]
    assert _of(_up(cluster, _config()), ServerReady) != []


def test_the_live_number_of_replicas_stays_and_is_said() -> None:
    """What somebody scaled is kept until the file's own number changes."""
    cluster = FakeCluster()
    _up(cluster, _config())
    cluster.objects[Key("Deployment", "llm", "front")]["spec"]["replicas"] = 3
    events = _up(cluster, _config())
    (kept,) = _of(events, Kept)
    assert (kept.name, kept.what) == ("front", "3 replicas")
    assert cluster.of("Deployment")[0]["spec"]["replicas"] == 3
    _up(cluster, _config(servers="front: {model: tiny, replicas: 2}"))
    assert cluster.of("Deployment")[0]["spec"]["replicas"] == 2


def test_a_server_without_replicas_is_not_asked() -> None:
    """0 replicas are ready at once, and nobody is asked a question."""
    cluster = FakeCluster()
    events = _up(cluster, _config(servers="front: {model: tiny, replicas: 0}"))
    assert _of(events, ServerReady) == [ServerReady("front", 0, "http://front.llm.svc")]
    assert _of(events, Answered) == []


def test_a_new_version_of_our_code_restarts_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Deployment keeps the code that it mounts, which is told; --refresh-code changes it."""
    from modelshelf.render import code, rendered  # noqa: PLC0415

    cluster = FakeCluster()
    _up(cluster, _config())
    before = cluster.objects[Key("Deployment", "llm", "front")]
    usual = code.code_map

    def newer(config: Config, which: Any) -> Any:
        found = usual(config, which)
        found["metadata"]["name"] += "-new"
        return found

    monkeypatch.setattr(rendered, "code_map", newer)
    events = _up(cluster, _config())
    assert cluster.objects[Key("Deployment", "llm", "front")] == before
    assert "its code, modelshelf-shelf-" in _of(events, Kept)[0].what
    assert not [key for key in cluster.objects if "start" in key.name and "-new" in key.name]
    _up(cluster, _config(), refresh_code=True)
    assert cluster.objects[Key("Deployment", "llm", "front")] != before


def test_what_left_the_file_is_removed_after_it_is_shown() -> None:
    """A server's objects and its gate's spec go; those of others, and of other files, stay."""
    cluster = FakeCluster()
    _up(cluster, _config(servers="front: {model: tiny}\nback: {model: tiny}"))
    other = {"app.kubernetes.io/managed-by": "modelshelf", "app.kubernetes.io/part-of": "others"}
    about = {"name": "theirs", "namespace": "llm", "labels": other}
    cluster.put({"kind": "ConfigMap", "metadata": about, "data": {}})
    events = _up(cluster, _config())
    (shown,) = _of(events, Removing)
    kinds = [name.partition("/")[0] for name in shown.objects]
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"]
    removed = [event for event in events if isinstance(event, Applied) and event.how == "removed"]
    assert events.index(shown) < events.index(removed[0])
    assert not [key for key in cluster.objects if "back" in key.name]
    assert Key("ConfigMap", "llm", "theirs") in cluster.objects
    assert Key("Deployment", "llm", "front") in cluster.objects


def test_maps_that_a_kept_replica_set_names_stay() -> None:
    """The gate's spec of the previous snapshot stays, since a rollback needs it."""
    cluster = FakeCluster()
    _up(cluster, _config())
    before = {key for key in cluster.objects if key.name.startswith("gate-front-spec")}
    file = _config()
    events: list[Event] = []
    newer = lock(file, size=3000)
    up(cluster.session(file, events.append), newer, Options())
    after = {key for key in cluster.objects if key.name.startswith("gate-front-spec")}
    assert len(before) == 1
    assert len(after) == 2
    assert before < after


def test_a_gpu_that_no_node_offers_is_named_early() -> None:
    """The missing resource is named before a pull that may take an hour."""
    cluster = FakeCluster()
    node = cluster.put({"kind": "Node", "metadata": {"name": "n"}, "status": {}})
    node["status"]["allocatable"] = {"nvidia.com/gpu": "0"}
    events = _up(cluster, _config())
    (waiting,) = _of(events, Awaiting)
    (pull,) = _of(events, PullStarted)
    assert events.index(waiting) < events.index(pull)
    assert waiting.what == "server front"
    assert waiting.why.startswith("no node of this cluster offers nvidia.com/gpu")
    node["status"]["allocatable"] = {"nvidia.com/gpu": "1"}
    assert _of(_up(cluster, _config()), Awaiting) == []


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            {
                "/v1/chat/completions": [
                    RawResponse(400, b'{"error": {"message": "no chat template is set"}}')
                ],
                "/v1/completions": [RawResponse(200, b'{"choices": [{"text": " Paris."}]}')],
            },
            Answered("front", "tiny", "The capital city of France is", "Paris.", 0.0),
        ),
        (
            {"/v1/models": [RawResponse(404, b"nothing here")]},
            NotAsked("front", "it has no OpenAI-compatible API (404 for /v1/models)"),
        ),
        (
            {"/v1/models": [RawResponse(403, b'{"kind": "Status", "message": "no proxy"}')]},
            NotAsked("front", "this user may not use the API server as proxy: no proxy"),
        ),
    ],
    ids=["no chat template", "no OpenAI", "no proxy"],
)
def test_how_a_server_is_asked(answers: dict[str, list[RawResponse]], expected: Event) -> None:
    """A model without a chat template completes a text; a server that cannot be asked is named."""
    cluster = FakeCluster()
    cluster.answers = answers
    events = _up(cluster, _config())
    assert _of(events, type(expected)) == [expected]


def test_an_endpoint_that_comes_late_is_waited_for() -> None:
    """After a 503 of the API server the request is repeated; a 500 of the server is an error."""
    cluster = FakeCluster()
    status = RawResponse(503, b'{"kind": "Status", "message": "no endpoints available"}')
    usual = RawResponse(200, b'{"data": [{"id": "tiny"}]}')
    cluster.answers = {"/v1/models": [status, status, usual]}
    assert _of(_up(cluster, _config()), Answered)[0].answer == "Paris."
    cluster.answers = {"/v1/models": [RawResponse(500, b"out of order")]}
    with pytest.raises(TargetError, match="answers /v1/models with 500: out of order"):
        _up(cluster, _config())

"""A cluster's client, and what it says of objects, against a real API server and kubelet."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from lab.cluster import Cluster as Lab

from modelshelf.kube import calls
from modelshelf.kube.client import Cluster
from modelshelf.kube.connection import RawResponse
from modelshelf.kube.endings import Ending, condition, ending_of
from modelshelf.kube.kinds import Object
from modelshelf.kube.phases import pod_phase, timeline
from modelshelf.kube.reasons import explain_claim, explain_deployment, explain_job, explain_pod
from modelshelf.kube.refusals import ConflictError, ExistsError, ForbiddenError, MissingError
from modelshelf.shelf.errors import TargetError, TimedOutError

PYTHON = "docker.io/library/python:3.13-slim"
TOLD = json.dumps({"event": "error", "message": "org/m is gated", "exit_code": 10})
SAY = f"open('/dev/termination-log', 'w').write('{TOLD}\\n'); raise SystemExit(10)"
T = TypeVar("T")


@pytest.fixture
def it(cluster: Lab) -> Iterator[Cluster]:
    """The client, as the administrator."""
    with Cluster.connect(str(cluster.kubeconfig)) as client:
        yield client


def until(look: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Wait until a function returns a true value, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def template(
    code: str = "import time; time.sleep(600)", *, image: str = PYTHON, **container: Any
) -> Object:
    """A pod's template that Pod Security lets pass."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    engine = {"name": "engine", "image": image, "command": ["python3", "-c", code]}
    return {
        "metadata": {"labels": {"app": "m"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [engine | {"securityContext": security, **container}],
        },
    }


def pod(namespace: str, name: str, made: Object, **spec: Any) -> Object:
    """A pod that is not started again."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": made["spec"] | {"restartPolicy": "Never"} | spec,
    }


def deployment(namespace: str, made: Object, replicas: int = 1) -> Object:
    """A Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "m", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "m"}},
            "template": made,
        },
    }


def config_map(namespace: str, name: str, **data: str) -> Object:
    """A ConfigMap, labelled."""
    metadata = {"name": name, "namespace": namespace, "labels": {"of": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_apply_is_idempotent_and_a_dry_run_changes_nothing(it: Cluster, restricted: str) -> None:
    """Applying the same object twice changes nothing, and a dry run does not either."""
    first = it.apply(config_map(restricted, "a", key="1"))
    assert it.apply(config_map(restricted, "a", key="1"))["metadata"] == first["metadata"]
    tried = it.apply(config_map(restricted, "a", key="2"), dry_run=True)
    assert tried["data"] == {"key": "2"}
    assert it.get("ConfigMap", "a", restricted) == first
    assert it.get("ConfigMap", "b", restricted) is None
    (owner,) = first["metadata"]["managedFields"]
    assert (owner["manager"], owner["operation"]) == ("modelshelf", "Apply")
    assert it.calls == 5


def test_what_others_own_is_a_conflict_until_it_is_forced(
    it: Cluster, cluster: Lab, restricted: str
) -> None:
    """A conflict names the field and its owner, and `force` takes the field over."""
    made = deployment(restricted, template(), replicas=0)
    it.apply(made)
    cluster.kubectl("-n", restricted, "scale", "deployment/m", "--replicas=0", "--timeout=0")
    cluster.kubectl("-n", restricted, "patch", "deployment/m", '-p={"spec":{"paused":true}}')
    made["spec"]["paused"] = False
    with pytest.raises(ConflictError) as raised:
        it.apply(made)
    assert (raised.value.fields, raised.value.managers) == ((".spec.paused",), ("kubectl-patch",))
    assert it.apply(made, force=True)["spec"].get("paused", False) is False


def test_a_field_that_no_kind_has_is_refused(it: Cluster, restricted: str) -> None:
    """A field that the schema does not have is refused, not dropped."""
    made = deployment(restricted, template(gpus=1))
    with pytest.raises(TargetError, match="gpus: field not declared in schema") as raised:
        it.apply(made)
    assert (type(raised.value), it.calls) == (TargetError, 1)
    made = deployment(restricted, template(imagePullPolicy="Sometimes"))
    with pytest.raises(TargetError, match='imagePullPolicy: Unsupported value: "Sometimes"'):
        it.apply(made)


def test_create_patch_scale_and_delete(it: Cluster, restricted: str) -> None:
    """Each verb does to a real object what it says."""
    made = deployment(restricted, template(), replicas=0)
    it.create(made)
    with pytest.raises(ExistsError, match=r'deployments\.apps "m" already exists'):
        it.create(made)
    it.patch("Deployment", "m", restricted, {"metadata": {"labels": {"a": "b"}}})
    scaled = it.patch("Deployment", "m", restricted, {"spec": {"replicas": 1}}, subresource="scale")
    assert (scaled["kind"], scaled["spec"]) == ("Scale", {"replicas": 1})
    found = it.get("Deployment", "m", restricted)
    assert found is not None
    assert (found["spec"]["replicas"], found["metadata"]["labels"]) == (1, {"a": "b"})
    assert it.delete("Deployment", "m", restricted, wait=True, propagation="Foreground") is True
    assert it.list("ReplicaSet", restricted) == []
    assert it.delete("Deployment", "m", restricted) is False
    with pytest.raises(MissingError, match=r'deployments\.apps "m" not found'):
        it.patch("Deployment", "m", restricted, {})


def test_what_a_finalizer_holds_is_named(it: Cluster, restricted: str) -> None:
    """Deleting waits until the deadline, and says what keeps the object."""
    held = config_map(restricted, "held")
    held["metadata"]["finalizers"] = ["modelshelf.dev/test"]
    it.apply(held)
    with pytest.raises(TimedOutError, match=r"held by modelshelf\.dev/test"):
        it.delete("ConfigMap", "held", restricted, wait=True, timeout=0.3)
    it.patch("ConfigMap", "held", restricted, {"metadata": {"finalizers": None}})
    until(lambda: it.get("ConfigMap", "held", restricted) is None, "it is gone")


def test_a_list_has_all_parts(
    it: Cluster, restricted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of several pages is one list of whole objects, selected by labels."""
    monkeypatch.setattr(calls, "_OBJECTS_PER_PAGE", 2)
    made = [it.apply(config_map(restricted, f"c{number}")) for number in range(5)]
    before = it.calls
    assert it.list("ConfigMap", restricted, {"of": "test"}) == made
    assert it.calls - before == 3
    assert it.list("ConfigMap", restricted, {"of": "other"}) == []
    everywhere = it.list("ConfigMap", labels={"of": None})
    assert [found for found in everywhere if found["metadata"]["namespace"] == restricted] == made


def test_a_missing_namespace_is_said(it: Cluster, namespace: str) -> None:
    """Applying into a namespace that does not exist names that namespace."""
    with pytest.raises(MissingError, match=f'namespaces "{namespace}" not found') as raised:
        it.apply(config_map(namespace, "a"))
    assert raised.value.hint.startswith(f"there is no namespace {namespace}")


def test_who_may_not_learns_which_rule_is_missing(cluster: Lab, restricted: str) -> None:
    """The hint of each refusal names the RBAC rule that is missing."""
    if not cluster.own:
        pytest.skip("somebody's own cluster signs no users for us")
    kubeconfig = cluster.kubeconfig_for("jane", ["nobodies"])
    with Cluster.connect(str(kubeconfig)) as jane:
        with pytest.raises(ForbiddenError) as raised:
            jane.list("Deployment", restricted)
        assert raised.value.hint == (
            f'ask for a Role in namespace {restricted} with the rule {{apiGroups: ["apps"], '
            'resources: ["deployments"], verbs: ["list"]}'
        )
        with pytest.raises(ForbiddenError, match="list persistentvolumes in the whole cluster"):
            jane.list("PersistentVolume")
        with pytest.raises(ForbiddenError, match="patch configmaps in namespace"):
            jane.apply(config_map(restricted, "a"))
        with pytest.raises(ForbiddenError, match="get pods/log in namespace"):
            next(jane.logs("x", restricted))


def test_credentials_that_are_wrong_are_not_accepted(
    it: Cluster, cluster: Lab, tmp_path: Path
) -> None:
    """A token that the server does not know, in a kubeconfig of its own."""
    conf = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    conf["users"] = [entry | {"user": {"token": "wrong"}} for entry in conf["users"]]
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(conf), encoding="utf-8")
    with (
        Cluster.connect(str(path)) as nobody,
        pytest.raises(TargetError, match=f"{it.server} does not accept these credentials"),
    ):
        nobody.list("Namespace")


def test_pod_security_speaks_for_itself(it: Cluster, restricted: str) -> None:
    """A refusal by admission keeps its words, for a pod and for a Deployment's pods."""
    loose = template(securityContext={})
    with pytest.raises(ForbiddenError, match='violates PodSecurity "restricted:latest": allowPriv'):
        it.create(pod(restricted, "loose", loose))
    it.apply(deployment(restricted, loose))
    found = until(lambda: why_no_pod(it, restricted), "the refusal is told")
    assert found.startswith(f"Deployment {restricted}/m may not start a pod: pods ")
    assert 'violates PodSecurity "restricted:latest"' in found


def why_no_pod(it: Cluster, namespace: str) -> str:
    """What refuses the Deployment's pods, once that is known."""
    found = it.get("Deployment", "m", namespace)
    assert found is not None
    sets, pods = it.list("ReplicaSet", namespace), it.list("Pod", namespace)
    reason = explain_deployment(found, sets, pods, it.events(namespace))
    return reason if "may not start a pod" in reason else ""


def test_a_quota_speaks_for_itself(it: Cluster, restricted: str) -> None:
    """A Deployment that may have no pod says which quota is spent."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "0"}}}
    it.create(quota | {"metadata": {"name": "none", "namespace": restricted}})
    until(lambda: (it.get("ResourceQuota", "none", restricted) or {}).get("status"), "counted")
    it.apply(deployment(restricted, template()))
    found = until(lambda: why_no_pod(it, restricted), "the refusal is told")
    assert "forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0" in (
        found
    )


def test_logs_are_followed_to_the_end(it: Cluster, restricted: str) -> None:
    """A running container's log is followed to its end, and its last lines can be read later."""
    code = "import time\nfor n in range(5): print('line', n, flush=True); time.sleep(0.3)"
    it.create(pod(restricted, "talks", template(code)))
    until(lambda: started(it, restricted, "talks"), "the container runs")
    assert list(it.logs("talks", restricted, "engine", follow=True)) == [
        f"line {number}" for number in range(5)
    ]
    assert list(it.logs("talks", restricted, tail=2)) == ["line 3", "line 4"]
    with pytest.raises(MissingError, match='pods "other" not found'):
        next(it.logs("other", restricted))


def test_following_gives_up_on_who_says_nothing(it: Cluster, restricted: str) -> None:
    """Following a silent log ends after `idle` seconds, without an error."""
    it.create(pod(restricted, "silent", template("import time; time.sleep(60)")))
    until(lambda: started(it, restricted, "silent"), "the container runs")
    began = time.monotonic()
    assert list(it.logs("silent", restricted, follow=True, idle=0.5)) == []
    assert 0.5 <= time.monotonic() - began < 5


def started(it: Cluster, namespace: str, name: str) -> bool:
    """Whether a pod's container was started."""
    return pod_phase(looked_at(it, namespace, name)).name in {"weights", "ready", "done", "failed"}


def looked_at(it: Cluster, namespace: str, name: str) -> Object:
    """A pod that is there."""
    found = it.get("Pod", name, namespace)
    assert found is not None
    return found


def test_a_pod_is_followed_to_its_answer_and_asked_through_a_service(
    it: Cluster, restricted: str
) -> None:
    """Phases lead to ready, their seconds add up, and the API server's proxy reaches the pod."""
    serve = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
    port = {"name": "http", "containerPort": 8000}
    probe = {"httpGet": {"path": "/etc/hostname", "port": "http"}, "periodSeconds": 1}
    made = pod(restricted, "serves", template(serve, ports=[port], readinessProbe=probe))
    gate = template("pass")["spec"]["containers"][0] | {"name": "gate"}
    made["spec"]["initContainers"] = [gate]
    made["metadata"]["labels"] = {"app": "m"}
    it.create(made)
    service = {
        "selector": {"app": "m"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8000}],
    }
    about = {"name": "m", "namespace": restricted}
    it.apply({"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": service})
    seen: list[str] = []

    def ready() -> bool:
        seen.append(pod_phase(looked_at(it, restricted, "serves")).name)
        return seen[-1] == "ready"

    until(ready, "the pod is ready")
    order = iter(("pending", "scheduled", "image", "gate", "image", "weights", "ready"))
    passed = [name for name, _ in itertools.groupby(seen)]
    assert all(name in order for name in passed), passed
    spans = timeline(looked_at(it, restricted, "serves"))
    assert [name for name, _ in spans] == ["scheduled", "image", "gate", "weights"]
    assert sum(seconds for _, seconds in spans) < 60
    assert explain_pod(looked_at(it, restricted, "serves"), it.events(restricted)) == ""
    path = f"/api/v1/namespaces/{restricted}/services/m:http/proxy"
    name_of_pod = RawResponse(200, b"serves\n")
    until(lambda: it.list("EndpointSlice", restricted)[0].get("endpoints"), "the Service knows it")
    assert it.request("GET", f"{path}/etc/hostname") == name_of_pod
    assert it.request("POST", f"{path}/x", b"{}").status == 501
    assert it.request("GET", path.replace("/m:", "/other:")).status == 404


def test_last_words_and_reasons_of_pods_that_end(it: Cluster, restricted: str) -> None:
    """The last event of our code is read from the termination message, for the pod and its Job."""
    spec: Object = {"template": template(SAY), "backoffLimit": 0}
    spec["template"]["spec"]["restartPolicy"] = "Never"
    about = {"name": "pull-m", "namespace": restricted}
    it.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": spec})

    def failed() -> Object | None:
        found = it.get("Job", "pull-m", restricted)
        return found if found and condition(found, "Failed") else None

    job = until(failed, "the Job fails")
    assert job is not None
    pods = it.list("Pod", restricted, {"job-name": "pull-m"})
    assert [ending_of(one) for one in pods] == [
        Ending("engine", 10, "Error", json.loads(TOLD), TOLD)
    ]
    assert explain_job(job, pods, it.events(restricted)) == (
        f"Job {restricted}/pull-m failed, and its pod said: org/m is gated (BackoffLimitExceeded: "
        "Job has reached the specified backoff limit)"
    )


ASKS = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "t", "key": "k"}}}
REASONS: dict[str, tuple[Object, str]] = {
    "image": (
        template(image="localhost:1/no/such:1"),
        "image localhost:1/no/such:1 of pod {pod} cannot be pulled: ",
    ),
    "secret": (
        template(env=[ASKS]),
        'container engine of pod {pod} cannot be started: secret "t" not found',
    ),
    "command": (
        template(command=["no-such-program"]),
        "container engine of pod {pod} cannot be started: ",
    ),
    "gpu": (
        template(resources={"limits": {"example.com/gpu": "1"}}),
        (
            "no node takes pod {pod}: 0/1 nodes are available: 1 Insufficient example.com/gpu (ask "
            "for less example.com/gpu, free some, or add a node)"
        ),
    ),
    "memory": (
        template("x = b'x' * 10**9", resources={"limits": {"memory": "32Mi"}}),
        "container engine of pod {pod} was killed: it needs more memory than its limit of 32Mi",
    ),
    "ends": (
        template("raise SystemExit('boom')", terminationMessagePolicy="FallbackToLogsOnError"),
        "container engine ended with exit code 1: boom (pod {pod})",
    ),
    "volume": (
        template(volumeMounts=[{"name": "x", "mountPath": "/x"}]),
        (
            'pod {pod} cannot start on {node}: MountVolume.SetUp failed for volume "x" : configmap '
            '"none" not found'
        ),
    ),
}


def test_pods_that_do_not_start_say_why(it: Cluster, cluster: Lab, restricted: str) -> None:
    """The reasons fit the words of a real scheduler, kubelet and containerd."""
    volumes = [{"name": "x", "configMap": {"name": "none"}}]
    for case, (made, _) in REASONS.items():
        it.create(pod(restricted, case, made, volumes=volumes if case == "volume" else []))

    def reasons() -> dict[str, str] | None:
        events = it.events(restricted)
        found = {case: explain_pod(looked_at(it, restricted, case), events) for case in REASONS}
        # On a busy machine the kubelet says the latter until it has the API server's answer.
        passing = ("not answer", "failed to sync configmap cache")
        told = [r for r in found.values() if r and not any(words in r for words in passing)]
        return found if len(told) == len(REASONS) else None

    found = until(reasons, "all reasons are told")
    assert found is not None
    for case, reason in found.items():
        told = REASONS[case][1].format(pod=f"{restricted}/{case}", node=cluster.node)
        assert reason[: len(told)] == told


def test_a_claim_that_stays_pending_names_the_field(it: Cluster, restricted: str) -> None:
    """The field that does not fit is named until the claim is bound."""
    name = f"pv-{restricted}"
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shelf", "namespace": restricted},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": {"storage": "2Gi"}},
        },
    }
    it.apply(claim)
    assert explain_claim(read(it, restricted, "shelf"), None) == (
        f"claim {restricted}/shelf waits for PersistentVolume {name}, which does not exist"
    )
    volume: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": restricted, "name": "shelf"},
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": "/nowhere"},
        },
    }
    live = it.apply(volume)
    assert explain_claim(read(it, restricted, "shelf"), live, it.events(restricted)) == (
        f"claim {restricted}/shelf cannot bind: {name} has a capacity of 1Gi, and the claim asks "
        "for 2Gi"
    )
    volume["spec"]["capacity"]["storage"] = "2Gi"
    it.apply(volume)
    until(lambda: not explain_claim(read(it, restricted, "shelf"), live), "the claim is bound")
    it.delete("PersistentVolumeClaim", "shelf", restricted, wait=True)
    it.apply(claim)
    released = it.get("PersistentVolume", name)
    assert released is not None
    assert "spec.claimRef.uid of pv-" in explain_claim(read(it, restricted, "shelf"), released)


def test_a_class_that_does_not_exist_is_named(it: Cluster, restricted: str) -> None:
    """A storage class that does not exist is named in Kubernetes' own words."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    about = {"name": "dynamic", "namespace": restricted}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about}
    it.apply(claim | {"spec": spec | {"storageClassName": "fast"}})
    until(lambda: it.events(restricted, "dynamic"), "there is an event")
    assert explain_claim(
        read(it, restricted, "dynamic"), None, it.events(restricted, "dynamic")
    ) == (
        f'claim {restricted}/dynamic is not bound yet: storageclass.storage.k8s.io "fast" not found'
    )


def read(it: Cluster, namespace: str, name: str) -> Object:
    """A claim that is there."""
    found = it.get("PersistentVolumeClaim", name, namespace)
    assert found is not None
    return found

"""Why something does not get ready: what Kubernetes says, and what to do about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.kube_objects import condition, event, pod, running, state, terminated, waiting

from modelshelf.kube.kinds import Object
from modelshelf.kube.reasons import (
    explain_claim,
    explain_deployment,
    explain_image_pull,
    explain_job,
    explain_pod,
)

NO_ROOM = "ask for less nvidia.com/gpu, free some, or add a node"
BACK_OFF = 'Back-off pulling image "example/engine:1"'
QUOTA = 'pods "m-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1'


def unschedulable(message: str) -> Object:
    """A pod that the scheduler found no node for."""
    return pod([condition("PodScheduled", "False", message, "Unschedulable")], node=None)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            (
                "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are "
                "available: 2 No preemption victims found for incoming pod."
            ),
            f"0/2 nodes are available: 2 Insufficient nvidia.com/gpu ({NO_ROOM})",
        ),
        (
            (
                "0/2 nodes are available: 1 Insufficient memory, 1 Insufficient nvidia.com/gpu. no "
                "new claims to deallocate, preemption: 0/2 nodes are available: 2 No victims."
            ),
            (
                "0/2 nodes are available: 1 Insufficient memory, 1 Insufficient nvidia.com/gpu "
                "(ask for less memory and nvidia.com/gpu, free some, or add a node)"
            ),
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}.",
            (
                "0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: "
                "present} (give the server `tolerations` for that taint)"
            ),
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            (
                "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector (no "
                "node has all labels of its `nodeSelector`)"
            ),
        ),
        (
            'persistentvolumeclaim "shelf-ro" not found',
            'persistentvolumeclaim "shelf-ro" not found (look at that claim)',
        ),
        ("no nodes available to schedule pods", "no nodes available to schedule pods"),
    ],
)
def test_a_pod_without_a_node_names_the_shortage(message: str, reason: str) -> None:
    """The scheduler's message is given without its part about preemption, and with a cure."""
    assert explain_pod(unschedulable(message)) == f"no node takes pod llm/m-1: {reason}"


PULLING = [
    (
        f"{BACK_OFF}: ErrImagePull: failed to resolve reference: example/engine:1: not found",
        "check its name and tag under `images` or `image`",
    ),
    (
        (
            f"{BACK_OFF}: ErrImagePull: pull access denied, repository does not exist or may "
            "require authorization"
        ),
        "check its name; if the registry wants credentials, give the namespace an imagePullSecret",
    ),
    (
        f"{BACK_OFF}: ErrImagePull: dial tcp: lookup registry-1.docker.io: no such host",
        "the nodes cannot reach that registry: name a mirror with `registry`",
    ),
    (f"{BACK_OFF}: ErrImagePull: EOF", "check `image`, or name a mirror with `registry`"),
]


@pytest.mark.parametrize(("message", "cure"), PULLING)
def test_an_image_that_cannot_be_pulled_is_named_with_a_cure(message: str, cure: str) -> None:
    """The cure fits the registry's answer."""
    it = pod([], [waiting("engine", "ImagePullBackOff", message)])
    assert explain_pod(it) == (
        f"image example/engine:1 of pod llm/m-1 cannot be pulled: {message} ({cure})"
    )


def test_an_image_pulls_reason_may_stand_in_an_event() -> None:
    """While Kubernetes waits before another try, the reason comes from the newest event."""
    it = pod([], [waiting("engine", "ImagePullBackOff", BACK_OFF)])
    failed = 'Failed to pull image "example/engine:1": manifest unknown'
    events = [
        event("Pod", "m-1", "Failed", "Error: ImagePullBackOff", lastTimestamp="2026-01-01"),
        event("Pod", "m-1", "Failed", failed),
        event("Pod", "m-2", "Failed", "Failed to pull image: of another"),
    ]
    assert explain_pod(it, events) == (
        f"image example/engine:1 of pod llm/m-1 cannot be pulled: {failed} (check its name and tag "
        "under `images` or `image`)"
    )


def test_an_image_on_its_way_is_a_reason_once_a_wait_is_over() -> None:
    """An image that is still being pulled when a wait is over is named, with a cure."""
    it = pod(
        [condition("PodReadyToStartContainers", "True")],
        [waiting("engine", "ContainerCreating") | {"image": "example/engine:1"}],
    )
    assert explain_pod(it) == ""
    assert explain_image_pull(it) == (
        "image example/engine:1 of pod llm/m-1 is still being fetched (if the nodes cannot reach "
        "that registry: name a mirror with `registry`)"
    )
    assert explain_image_pull(pod([condition("Ready", "True")], [])) == ""


def test_events_of_a_predecessor_do_not_count() -> None:
    """An event about a deleted pod of the same name is ignored."""
    it = pod([], [waiting("engine", "ContainerCreating")])
    old = event("Pod", "m-1", "FailedMount", "mount failed")
    old["involvedObject"]["uid"] = "another"
    assert explain_pod(it, [old]) == ""


@pytest.mark.parametrize(
    ("it", "reason"),
    [
        (
            pod(
                [],
                [
                    waiting(
                        "engine",
                        "CrashLoopBackOff",
                        "back-off 40s restarting failed container",
                        last=terminated(1, "loading\nRuntimeError: no\nCUDA device\n"),
                        restarts=2,
                    )
                ],
            ),
            (
                "container engine ended with exit code 1, 3 times by now: loading | RuntimeError: "
                "no | CUDA device (pod llm/m-1)"
            ),
        ),
        (
            pod([], [state("engine", terminated(137, reason="OOMKilled"))]),
            (
                "container engine of pod llm/m-1 was killed: it needs more memory than its limit "
                "of 8Gi; raise `resources.limits.memory`"
            ),
        ),
        (
            pod([], [waiting("engine", "CreateContainerConfigError", 'secret "t" not found')]),
            'container engine of pod llm/m-1 cannot be started: secret "t" not found',
        ),
        (
            pod([], [waiting("engine", "RunContainerError", 'exec: "vllm": not found in $PATH')]),
            'container engine of pod llm/m-1 cannot be started: exec: "vllm": not found in $PATH',
        ),
        (
            pod([], [state("engine", terminated(128, "exec: x: not found", reason="StartError"))]),
            "container engine of pod llm/m-1 cannot be started: exec: x: not found",
        ),
        (
            pod(phase="Failed", reason="Evicted", message="The node was low on memory."),
            "pod llm/m-1 failed: The node was low on memory.",
        ),
        (
            pod(deleted="2026-11-24T10:05:00Z"),
            (
                "pod llm/m-1 is being deleted, which should be over by 2026-11-24T10:05:00Z: if "
                "that is past, its node node1 does not answer"
            ),
        ),
        (
            pod([], [waiting("engine", "PodInitializing")], [state("gate", terminated(1, "bad"))]),
            "container gate ended with exit code 1: bad (pod llm/m-1)",
        ),
        (
            pod([], [running("engine")]),
            "container engine of pod llm/m-1 runs, but does not answer",
        ),
        (
            pod([], [running("engine", restarts=1, last=terminated(1, "boom"))]),
            (
                "container engine of pod llm/m-1 runs, but does not answer; before, engine ended "
                "with exit code 1, 2 times by now: boom"
            ),
        ),
        (pod([condition("Ready")], [running("engine")]), ""),
        (pod([], [waiting("engine", "PodInitializing")], [running("gate")]), ""),
        (pod([], [waiting("engine", "ContainerCreating")]), ""),
        (pod(node=None), ""),
        (pod(), ""),
        (pod([], [state("pull", terminated(0))], phase="Succeeded"), ""),
    ],
)
def test_a_pods_state_says_why(it: Object, reason: str) -> None:
    """The reason comes from the pod's status; it is empty if nothing is wrong or known."""
    assert explain_pod(it) == reason


def test_a_gate_says_what_it_waits_for() -> None:
    """The gate's reason is in the last line of its log."""
    it = pod([], [waiting("engine", "PodInitializing")], [running("gate")])
    line = json.dumps({"event": "gate-waiting", "reason": "org/m is not on the shelf /shelf"})
    assert explain_pod(it, (), ["x", line]) == (
        "the gate of pod llm/m-1 waits: org/m is not on the shelf /shelf"
    )


def test_a_mount_that_fails_is_told_by_events() -> None:
    """The reason names the node, since other nodes may be able to mount the volume."""
    it = pod([], [waiting("engine", "PodInitializing")], [waiting("gate", "PodInitializing")])
    message = (
        'MountVolume.SetUp failed for volume "shelf": mount failed: exit status 32\n'
        "Mounting command: mount\nOutput: mount.nfs: access denied by server\n"
    )
    events = [
        event("Pod", "m-1", "FailedMount", message),
        event("Pod", "m-1", "Scheduled", "assigned", lastTimestamp="2027-01-01"),
    ]
    assert explain_pod(it, events) == (
        'pod llm/m-1 cannot start on node1: MountVolume.SetUp failed for volume "shelf": mount '
        "failed: exit status 32 Mounting command: mount Output: mount.nfs: access denied by server"
    )
    assert explain_pod(pod([], [running("engine")]), events).endswith("does not answer")


def test_an_engine_that_does_not_answer_says_so_itself() -> None:
    """The reason has the probe's result and the last lines of the log."""
    events = [event("Pod", "m-1", "Unhealthy", "Startup probe failed: connection refused")]
    said = ["loading shard 3 of 9", "still loading"]
    assert explain_pod(pod([], [running("engine")]), events, said) == (
        "container engine of pod llm/m-1 runs, but does not answer: Startup probe failed: "
        "connection refused; it last said: loading shard 3 of 9 | still loading"
    )


def claim(phase: str = "Pending", **spec: Any) -> Object:
    """A claim of a volume."""
    usual: Object = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "volumeName": "pv",
        "resources": {"requests": {"storage": "100Gi"}},
    }
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shelf", "namespace": "llm", "uid": "uid-shelf"},
        "spec": {key: value for key, value in (usual | spec).items() if value is not None},
        "status": {"phase": phase},
    }


def volume(**spec: Any) -> Object:
    """A volume that fits that claim."""
    usual: Object = {
        "accessModes": ["ReadWriteMany"],
        "capacity": {"storage": "100Gi"},
        "claimRef": {"namespace": "llm", "name": "shelf"},
    }
    return {"kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": usual | spec}


@pytest.mark.parametrize(
    ("it", "there", "reason"),
    [
        (claim("Bound"), None, ""),
        (
            claim("Lost"),
            None,
            "has lost its volume pv, which somebody deleted: delete the claim too",
        ),
        (claim(), None, "waits for PersistentVolume pv, which does not exist"),
        (claim(), volume(), "is not bound yet"),
        (
            claim(),
            volume(claimRef={"namespace": "llm", "name": "other"}),
            "cannot bind: spec.claimRef of pv is for llm/other",
        ),
        (
            claim(),
            volume(claimRef={"namespace": "llm", "name": "shelf", "uid": "old"}),
            (
                "cannot bind: spec.claimRef.uid of pv is a deleted claim's, so that it stays "
                "Released: remove that field"
            ),
        ),
        (
            claim(),
            volume(claimRef={"namespace": "llm", "name": "shelf", "uid": "uid-shelf"}),
            "is not bound yet",
        ),
        (claim(), volume(claimRef=None), "is not bound yet"),
        (
            claim(storageClassName="standard"),
            volume(),
            "cannot bind: storageClassName is 'standard' in the claim and '' in pv",
        ),
        (
            claim(),
            volume(accessModes=["ReadOnlyMany", "ReadWriteOnce"]),
            "cannot bind: accessModes of pv are ReadOnlyMany, ReadWriteOnce, without ReadWriteMany",
        ),
        (
            claim(),
            volume(capacity={"storage": "99Gi"}),
            "cannot bind: pv has a capacity of 99Gi, and the claim asks for 100Gi",
        ),
        (
            claim(),
            volume(volumeMode="Block"),
            "cannot bind: volumeMode is Filesystem in the claim and Block in pv",
        ),
        (
            claim(),
            volume(capacity={"storage": "1Gi"}, accessModes=["ReadOnlyMany"]),
            (
                "cannot bind: accessModes of pv are ReadOnlyMany, without ReadWriteMany; pv has a "
                "capacity of 1Gi, and the claim asks for 100Gi"
            ),
        ),
    ],
)
def test_a_claim_that_stays_pending_names_the_field(
    it: Object, there: Object | None, reason: str
) -> None:
    """Each field that does not fit is named, with its value in the claim and in the volume."""
    assert explain_claim(it, there) == (f"claim llm/shelf {reason}" if reason else "")


@pytest.mark.parametrize(
    ("reason", "message", "sentence"),
    [
        (
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
            "is not bound yet: its storage class fast waits for the first pod that uses it",
        ),
        (
            "ProvisioningFailed",
            'storageclass.storage.k8s.io "fast" not found',
            'is not bound yet: storageclass.storage.k8s.io "fast" not found',
        ),
    ],
)
def test_a_dynamic_claim_says_what_its_class_says(reason: str, message: str, sentence: str) -> None:
    """If there is no volume to compare with, the reason comes from events."""
    events = [event("PersistentVolumeClaim", "shelf", reason, message)]
    it = claim(storageClassName="fast", volumeName=None)
    assert explain_claim(it, None, events) == f"claim llm/shelf {sentence}"
    assert explain_claim(it, None) == (
        "claim llm/shelf is not bound yet: storage class fast has not reported anything yet"
    )


def job(*conditions: Object, **spec: Any) -> Object:
    """A Job."""
    metadata = {"name": "pull-m", "namespace": "llm", "uid": "uid-pull-m"}
    status = {"conditions": list(conditions)}
    return {"kind": "Job", "metadata": metadata, "spec": spec, "status": status}


GATED = json.dumps({"event": "error", "message": "org/m is gated", "exit_code": 10})
FAILED = condition("Failed", "True", "Container pull failed", "PodFailurePolicy")
ENDED = pod([], [state("pull", terminated(10, GATED))], name="p-1", phase="Failed")
LATER = "2026-11-24T11:00:00Z"


@pytest.mark.parametrize(
    ("it", "pods", "reason"),
    [
        (
            job(FAILED),
            [ENDED],
            (
                "Job llm/pull-m failed, and its pod said: org/m is gated (PodFailurePolicy: "
                "Container pull failed)"
            ),
        ),
        (
            job(condition("Failed", "True", "Job was active too long", "DeadlineExceeded")),
            [],
            "Job llm/pull-m failed (DeadlineExceeded: Job was active too long)",
        ),
        (
            job(FAILED),
            [pod(name="p-1", phase="Failed", message="Usage of EmptyDir exceeds the limit")],
            (
                "Job llm/pull-m failed, and its pod said: Usage of EmptyDir exceeds the limit "
                "(PodFailurePolicy: Container pull failed)"
            ),
        ),
        (job(condition("Complete")), [ENDED], ""),
        (
            job(suspend=True),
            [],
            "Job llm/pull-m is suspended: somebody, or a queue, must resume it",
        ),
        (job(), [ENDED], "Job llm/pull-m tries again after its pod said: org/m is gated"),
        (
            job(),
            [
                pod(
                    [condition("PodScheduled", "False", "no nodes", "Unschedulable")],
                    name="p-2",
                    node=None,
                    created=LATER,
                ),
                ENDED,
            ],
            "no node takes pod llm/p-2: no nodes",
        ),
        (job(), [], "Job llm/pull-m may not start a pod: exceeded quota"),
    ],
)
def test_a_job_says_what_its_newest_pod_says(it: Object, pods: list[Object], reason: str) -> None:
    """The error of the newest pod comes first; a refusal counts if there is no pod."""
    events = [event("Job", "pull-m", "FailedCreate", "Error creating: exceeded quota")]
    if pods:
        assert explain_job(it, pods) == reason
    assert explain_job(it, pods, events if not pods else ()) == reason


def deployment(*conditions: Object, observed: int = 2, **spec: Any) -> Object:
    """A Deployment at its second generation."""
    return {
        "kind": "Deployment",
        "metadata": {"name": "m", "namespace": "llm", "uid": "uid-m", "generation": 2},
        "spec": spec,
        "status": {"observedGeneration": observed, "conditions": list(conditions)},
    }


def replicaset(name: str, revision: int, *conditions: Object, replicas: int = 1) -> Object:
    """A ReplicaSet of that Deployment."""
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": "llm",
            "uid": f"uid-{name}",
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"kind": "Deployment", "name": "m", "uid": "uid-m"}],
        },
        "spec": {"replicas": 1},
        "status": {"replicas": replicas, "conditions": list(conditions)},
    }


SETS = [replicaset("m-old", 9), replicaset("m-new", 10)]
STUCK = pod([], [waiting("engine", "ErrImagePull", "EOF")], name="m-2", owner="m-new")
OLD = pod([], [running("engine")], name="m-1", owner="m-old")
STUCK_WHY = (
    "image example/engine:1 of pod llm/m-2 cannot be pulled: EOF (check `image`, or name a mirror "
    "with `registry`)"
)


@pytest.mark.parametrize(
    ("it", "sets", "pods", "reason"),
    [
        (
            deployment(condition("ReplicaFailure", "True", QUOTA, "FailedCreate")),
            SETS,
            [],
            f"Deployment llm/m may not start a pod: {QUOTA}",
        ),
        (
            deployment(),
            [replicaset("m-new", 1, condition("ReplicaFailure", "True", QUOTA), replicas=0)],
            [],
            f"Deployment llm/m may not start a pod: {QUOTA}",
        ),
        (deployment(), SETS, [OLD, STUCK], STUCK_WHY),
        (
            deployment(),
            SETS,
            [STUCK, STUCK | {"metadata": STUCK["metadata"] | {"name": "m-3"}}],
            f"{STUCK_WHY} (and 1 more pods)",
        ),
        (
            deployment(),
            SETS,
            [OLD],
            "container engine of pod llm/m-1 runs, but does not answer",
        ),
        (
            deployment(paused=True),
            SETS,
            [],
            "Deployment llm/m is paused: `kubectl rollout resume` lets it go on",
        ),
        (
            deployment(observed=1),
            SETS,
            [],
            "Deployment llm/m has changed, and the controller manager has not looked at it yet",
        ),
        (
            deployment(condition("Progressing", "False", 'ReplicaSet "m-new" has timed out')),
            SETS,
            [],
            'Deployment llm/m: ReplicaSet "m-new" has timed out',
        ),
        (
            deployment(),
            SETS,
            [pod(deleted=LATER, node=None)],
            f"pod llm/m-1 is being deleted, which should be over by {LATER}",
        ),
        (deployment(), SETS, [pod([condition("Ready")], owner="m-new")], ""),
        (deployment(), [], [], ""),
    ],
)
def test_a_deployment_says_what_its_newest_pods_say(
    it: Object, sets: list[Object], pods: list[Object], reason: str
) -> None:
    """A refusal of pods comes first, then pods of the present template, then other pods."""
    assert explain_deployment(it, sets, pods) == reason


def test_a_refusal_may_stand_in_an_event() -> None:
    """An event counts if the newest ReplicaSet has fewer pods than it should have."""
    events = [event("ReplicaSet", "m-new", "FailedCreate", f"Error creating: {QUOTA}")]
    few = [replicaset("m-old", 9), replicaset("m-new", 10, replicas=0)]
    assert explain_deployment(deployment(), few, [], events) == (
        f"Deployment llm/m may not start a pod: {QUOTA}"
    )
    assert explain_deployment(deployment(), SETS, [], events) == ""


def test_long_texts_are_cut() -> None:
    """A text from Kubernetes or a container is cut at 600 characters."""
    it = pod([], [waiting("engine", "CreateContainerError", "x " * 1000)])
    found = explain_pod(it)
    assert found == (
        "container engine of pod llm/m-1 cannot be started: " + ("x " * 1000)[:600] + "…"
    )


def test_a_deployment_says_what_a_gate_waits_for() -> None:
    """The gate's reason is preferred to the message that there is no progress."""
    gate = pod([], [waiting("engine", "PodInitializing")], [running("gate")], owner="m-new")
    late = deployment(condition("Progressing", "False", 'ReplicaSet "m-new" has timed out'))
    said = {"m-1": [json.dumps({"event": "gate-waiting", "reason": "org/m@1-2 is not there"})]}
    assert explain_deployment(late, SETS, [gate], [], said) == (
        "the gate of pod llm/m-1 waits: org/m@1-2 is not there"
    )

"""How far a pod is, what each part of its way took, and how its containers ended."""

from __future__ import annotations

import json

import pytest
from support.kube_objects import CREATED, condition, pod, running, state, terminated, waiting

from modelshelf.kube.endings import Ending, ending_of
from modelshelf.kube.kinds import Object
from modelshelf.kube.phases import PodPhase, pod_phase, timeline

MADE = condition("PodReadyToStartContainers")
PLACED = condition("PodScheduled")
WAITS = json.dumps({"event": "gate-waiting", "snapshot": "s", "reason": "org/m is not here"})
GAVE_UP = json.dumps({"event": "error", "message": "org/m is missing, after 60 s", "exit_code": 16})
PULL = 'Back-off pulling image "example/engine:9"'


@pytest.mark.parametrize(
    ("it", "says", "phase"),
    [
        (pod(node=None), "", PodPhase("pending")),
        (
            pod(
                [condition("PodScheduled", "False", "0/2 nodes are available", "Unschedulable")],
                node=None,
            ),
            "",
            PodPhase("unschedulable", "0/2 nodes are available"),
        ),
        (pod([PLACED]), "", PodPhase("scheduled", "on node1")),
        (
            pod([PLACED], [waiting("engine", "ContainerCreating")]),
            "",
            PodPhase("scheduled", "on node1"),
        ),
        (
            pod([MADE], [waiting("engine", "ContainerCreating")]),
            "",
            PodPhase("image", "example/engine:1"),
        ),
        (
            pod(
                [MADE], [waiting("engine", "PodInitializing")], [waiting("gate", "PodInitializing")]
            ),
            "",
            PodPhase("image", "example/gate:1"),
        ),
        (
            pod([MADE], [waiting("engine", "ImagePullBackOff", PULL)]),
            "",
            PodPhase("image", PULL),
        ),
        (
            pod([MADE], [waiting("engine", "ErrImageNeverPull")]),
            "",
            PodPhase("image", "ErrImageNeverPull: example/engine:1"),
        ),
        (
            pod([MADE], [waiting("engine", "PodInitializing")], [running("gate")]),
            "",
            PodPhase("gate"),
        ),
        (
            pod([MADE], [waiting("engine", "PodInitializing")], [running("gate")]),
            WAITS,
            PodPhase("gate", "org/m is not here"),
        ),
        (
            pod(
                [MADE],
                [waiting("engine", "PodInitializing")],
                [waiting("gate", "CrashLoopBackOff", last=terminated(16, GAVE_UP))],
            ),
            "not JSON",
            PodPhase("gate", "org/m is missing, after 60 s"),
        ),
        (
            pod([MADE], [waiting("engine", "PodInitializing")], [state("gate", terminated(0))]),
            "",
            PodPhase("image", "example/engine:1"),
        ),
        (
            pod([MADE], [running("engine")], [state("gate", terminated(0))]),
            "",
            PodPhase("weights"),
        ),
        (
            pod([MADE], [running("engine", restarts=2)]),
            "",
            PodPhase("weights", "restarted 2 times"),
        ),
        (
            pod([MADE, condition("Ready")], [running("engine")]),
            "",
            PodPhase("ready"),
        ),
        (
            pod(
                [MADE],
                [
                    waiting(
                        "engine",
                        "CrashLoopBackOff",
                        last=terminated(1, "a\nb\n\nno such device\n"),
                        restarts=3,
                    )
                ],
            ),
            "",
            PodPhase(
                "failed", "engine ended with exit code 1, 4 times by now: a | b | no such device"
            ),
        ),
        (
            pod([MADE], [waiting("engine", "CreateContainerConfigError", 'secret "t" not found')]),
            "",
            PodPhase("failed", 'engine: secret "t" not found'),
        ),
        (pod(phase="Succeeded"), "", PodPhase("done")),
        (
            pod(phase="Failed", reason="Evicted", message="The node was low on memory."),
            "",
            PodPhase("failed", "Evicted: The node was low on memory."),
        ),
        (
            pod([], [state("pull", terminated(137, reason="OOMKilled"))], phase="Failed"),
            "",
            PodPhase("failed", "pull ended with exit code 137 (OOMKilled)"),
        ),
        (
            pod([condition("Ready")], deleted="2026-11-24T10:05:00Z"),
            "",
            PodPhase("terminating", "since 2026-11-24T10:05:00Z"),
        ),
    ],
)
def test_a_pod_is_somewhere_on_its_way(it: Object, says: str, phase: PodPhase) -> None:
    """Each state of a pod is one phase, with the reason for a delay where it is known."""
    assert pod_phase(it, says) == phase


def test_a_timeline_adds_up() -> None:
    """Each phase that is over has its seconds; both images of a pod count as one phase."""
    it = pod(
        [
            condition("PodScheduled", at="2026-11-24T10:00:02Z"),
            condition("Ready", at="2026-11-24T10:01:30Z"),
        ],
        [running("engine", at="2026-11-24T10:00:40Z")],
        [state("gate", terminated(0, at="2026-11-24T10:00:12Z", until="2026-11-24T10:00:15Z"))],
    )
    assert it["metadata"]["creationTimestamp"] == CREATED == "2026-11-24T10:00:00Z"
    assert timeline(it) == (
        ("scheduled", 2.0),
        ("image", 35.0),
        ("gate", 3.0),
        ("weights", 50.0),
    )


def test_a_timeline_has_only_what_is_over() -> None:
    """A phase that is not over is left out."""
    it = pod(
        [condition("PodScheduled", at=CREATED), condition("Ready", "False")],
        [running("engine", at="2026-11-24T10:00:05Z")],
    )
    assert timeline(it) == (("scheduled", 0.0), ("image", 5.0))
    assert timeline(pod(node=None)) == ()


def test_a_container_that_ended_left_an_outcome() -> None:
    """The last line of our code is read as JSON from the termination message."""
    outcome = {"event": "error", "message": "org/m is gated", "hint": "log in", "exit_code": 10}
    text = 'noise\n{"event": "x"}\n' + json.dumps(outcome) + "\n"
    it = pod([], [state("pull", terminated(10, text))], phase="Failed")
    found = ending_of(it, "pull")
    assert found == Ending(
        "pull", 10, "Error", outcome, f'noise | {{"event": "x"}} | {json.dumps(outcome)}'
    )
    assert (ending_of(it), ending_of(it, "other")) == (found, None)
    assert found.sentence() == "pull ended with exit code 10: org/m is gated"


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"cut": "o', "", "\n \n"])
def test_last_words_may_be_anything(text: str) -> None:
    """A last line that is not a JSON object is kept as text."""
    found = ending_of(pod([], [state("pull", terminated(3, text))]))
    assert found == Ending("pull", 3, "Error", None, text.strip())


def test_a_container_that_runs_again_ended_before() -> None:
    """A restarted container has the ending before its restart; one that never ended has none."""
    again = pod([], [running("engine", restarts=1, last=terminated(139, "segfault"))])
    assert ending_of(again) == Ending("engine", 139, "Error", None, "segfault", 1)
    assert ending_of(pod([], [running("engine")])) is None
    assert ending_of(pod()) is None


def test_a_gate_is_found_by_its_name_only() -> None:
    """Without a name, the ending is that of the first main container."""
    it = pod([], [running("engine")], [state("gate", terminated(0))])
    assert ending_of(it) is None
    assert ending_of(it, "gate") == Ending("gate", 0, "Completed")

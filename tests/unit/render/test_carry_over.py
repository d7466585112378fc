"""What a server keeps of what is running: its code, and its count of pods."""

from __future__ import annotations

import copy

import pytest
from support.render_inputs import config, snapshot

from modelshelf.config.lock import LockedModel, choice_for
from modelshelf.render.carry_over import (
    code_maps_of,
    keep_code,
    keep_replicas,
    template_hash,
    with_code_maps,
)
from modelshelf.render.names import REPLICAS, TEMPLATE, Object
from modelshelf.render.server_objects import server_objects


def deployment(code: str = "start-old", settings: str = "") -> Object:
    """A server's Deployment with a ConfigMap of the package `start`, as rendered."""
    file = config(servers=f"mine: {{model: tiny, {settings}}}")
    locked = LockedModel("hf://acme/tiny", choice_for(file, "tiny"), snapshot())
    return server_objects(file, "mine", locked, {"shelf": "shelf", "start": code})[1]


def running(code: str = "start-old", *, replicas: int = 1, settings: str = "") -> Object:
    """The same as the API server gives it back: filled with defaults, with a status."""
    live = copy.deepcopy(deployment(code, settings))
    live["metadata"] |= {"uid": "1", "resourceVersion": "2", "generation": 3}
    live["spec"]["replicas"] = replicas
    live["spec"]["template"]["spec"] |= {"schedulerName": "default-scheduler", "dnsPolicy": "x"}
    live["status"] = {"readyReplicas": replicas}
    return live


def test_the_code_maps_can_be_read_and_changed() -> None:
    """Their names are read from the pods' volumes; other ones leave the original as it was."""
    old = deployment("start-old")
    new = with_code_maps(old, {"start": "start-new"})
    assert code_maps_of(old) == {"shelf": "shelf", "start": "start-old"}
    assert code_maps_of(new) == {"shelf": "shelf", "start": "start-new"}
    assert new == deployment("start-new")
    assert code_maps_of({"spec": {"template": {"spec": {"containers": []}}}}) == {}
    hollow = [{"name": "code-start", "emptyDir": {}}]
    assert code_maps_of({"spec": {"template": {"spec": {"volumes": hollow}}}}) == {}


def test_the_hash_is_that_of_all_but_the_code() -> None:
    """Another map leaves it, another argument changes it; the annotation holds it."""
    old = deployment("start-old")
    assert template_hash(old) == template_hash(deployment("start-new"))
    assert template_hash(old) != template_hash(deployment("start-old", "args: [--seed=1]"))
    assert old["metadata"]["annotations"][TEMPLATE] == template_hash(old)


def test_another_modelshelf_restarts_nothing() -> None:
    """While nothing else changes, the running map stays: whichever version renders."""
    assert keep_code(deployment("start-new"), running("start-old")) == deployment("start-old")
    assert keep_code(deployment("start-old"), running("start-new")) == deployment("start-new")
    assert keep_code(deployment("start-old"), running("start-old")) == deployment("start-old")


def test_the_new_code_comes_with_any_other_change() -> None:
    """Pods that start anew anyway get the new map; so do those for which it is asked."""
    changed = deployment("start-new", "args: [--seed=1]")
    assert keep_code(changed, running("start-old")) == changed
    assert keep_code(deployment("start-new"), running("start-old"), refresh=True) == deployment(
        "start-new"
    )


def test_without_a_running_map_the_rendered_one_stays() -> None:
    """A server that is new, that somebody else made, or that mounts no map has nothing to keep."""
    new = deployment("start-new")
    foreign = running("start-old")
    del foreign["metadata"]["annotations"]
    unmounted = running("start-old")
    unmounted["spec"]["template"]["spec"]["volumes"] = []
    assert [keep_code(new, live) for live in (None, foreign, unmounted)] == [new, new, new]


@pytest.mark.parametrize(
    ("before", "live", "now", "sent"),
    [
        pytest.param(1, 3, 1, 3, id="scaled by hand or by an autoscaler"),
        pytest.param(1, 0, 1, 0, id="scaled to nothing"),
        pytest.param(1, 3, 2, 2, id="another number in the file"),
        pytest.param(3, 1, 0, 0, id="nothing in the file"),
        pytest.param(2, 2, 2, 2, id="as it is"),
    ],
)
def test_the_count_of_pods_follows_the_file_only_when_the_file_changes(
    before: int, live: int, now: int, sent: int
) -> None:
    """A number is always sent: the live one, or the file's where that is another than before."""
    found = keep_replicas(
        deployment(settings=f"replicas: {now}"),
        running(replicas=live, settings=f"replicas: {before}"),
    )
    assert found["spec"]["replicas"] == sent
    assert found["metadata"]["annotations"][REPLICAS] == str(now)
    assert found | {"spec": None} == deployment(settings=f"replicas: {now}") | {"spec": None}


def test_a_server_that_is_new_or_somebody_elses_gets_the_files_number() -> None:
    """Without our annotation the live count is nobody's wish that we know of."""
    foreign = running(replicas=5)
    del foreign["metadata"]["annotations"]
    for live in (None, foreign):
        found = keep_replicas(deployment(settings="replicas: 2"), live)
        assert found == deployment(settings="replicas: 2")


def test_a_live_count_that_is_not_written_is_one() -> None:
    """Kubernetes' default is what runs where nobody wrote a number."""
    live = running(settings="replicas: 4")
    del live["spec"]["replicas"]
    assert keep_replicas(deployment(settings="replicas: 4"), live)["spec"]["replicas"] == 1

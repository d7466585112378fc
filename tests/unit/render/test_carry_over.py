"""What rendering keeps of a running server: its code, and its count of pods."""

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


def running_deployment(code: str = "start-old", *, replicas: int = 1, settings: str = "") -> Object:
    """The same Deployment as the API server returns it, with defaults and a status."""
    live = copy.deepcopy(deployment(code, settings))
    live["metadata"] |= {"uid": "1", "resourceVersion": "2", "generation": 3}
    live["spec"]["replicas"] = replicas
    live["spec"]["template"]["spec"] |= {"schedulerName": "default-scheduler", "dnsPolicy": "x"}
    live["status"] = {"readyReplicas": replicas}
    return live


def test_the_code_maps_can_be_read_and_changed() -> None:
    """Map names are read from the pods' volumes, and new names leave the original unchanged."""
    old = deployment("start-old")
    new = with_code_maps(old, {"start": "start-new"})
    assert code_maps_of(old) == {"shelf": "shelf", "start": "start-old"}
    assert code_maps_of(new) == {"shelf": "shelf", "start": "start-new"}
    assert new == deployment("start-new")
    assert code_maps_of({"spec": {"template": {"spec": {"containers": []}}}}) == {}
    hollow = [{"name": "code-start", "emptyDir": {}}]
    assert code_maps_of({"spec": {"template": {"spec": {"volumes": hollow}}}}) == {}


def test_the_hash_leaves_out_the_code() -> None:
    """Another code map leaves the hash, and another argument changes it."""
    old = deployment("start-old")
    assert template_hash(old) == template_hash(deployment("start-new"))
    assert template_hash(old) != template_hash(deployment("start-old", "args: [--seed=1]"))
    assert old["metadata"]["annotations"][TEMPLATE] == template_hash(old)


def test_another_modelshelf_restarts_nothing() -> None:
    """The running map is kept, whichever version renders, while nothing else changes."""
    assert keep_code(deployment("start-new"), running_deployment("start-old")) == deployment(
        "start-old"
    )
    assert keep_code(deployment("start-old"), running_deployment("start-new")) == deployment(
        "start-new"
    )
    assert keep_code(deployment("start-old"), running_deployment("start-old")) == deployment(
        "start-old"
    )


def test_the_new_code_comes_with_any_other_change() -> None:
    """Pods get the new map when they restart for another reason, or on request."""
    changed = deployment("start-new", "args: [--seed=1]")
    assert keep_code(changed, running_deployment("start-old")) == changed
    assert keep_code(
        deployment("start-new"), running_deployment("start-old"), refresh=True
    ) == deployment("start-new")


def test_without_a_running_map_the_rendered_one_is_used() -> None:
    """A server that is new, foreign, or without a map gets the rendered map."""
    new = deployment("start-new")
    foreign = running_deployment("start-old")
    del foreign["metadata"]["annotations"]
    unmounted = running_deployment("start-old")
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
    """The live count is sent unless the file's count is another than before."""
    found = keep_replicas(
        deployment(settings=f"replicas: {now}"),
        running_deployment(replicas=live, settings=f"replicas: {before}"),
    )
    assert found["spec"]["replicas"] == sent
    assert found["metadata"]["annotations"][REPLICAS] == str(now)
    assert found | {"spec": None} == deployment(settings=f"replicas: {now}") | {"spec": None}


def test_a_new_or_foreign_server_gets_the_files_count() -> None:
    """A server without our annotation gets the count of the file."""
    foreign = running_deployment(replicas=5)
    del foreign["metadata"]["annotations"]
    for live in (None, foreign):
        found = keep_replicas(deployment(settings="replicas: 2"), live)
        assert found == deployment(settings="replicas: 2")


def test_a_missing_live_count_is_one() -> None:
    """A live Deployment without a count has one pod, which is Kubernetes' default."""
    live = running_deployment(settings="replicas: 4")
    del live["spec"]["replicas"]
    assert keep_replicas(deployment(settings="replicas: 4"), live)["spec"]["replicas"] == 1

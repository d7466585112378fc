"""The Job in which a server's engine compiles once."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from support.render_inputs import config, lock

from modelshelf.render.gitops_folder import files, flux_example
from modelshelf.render.names import Object
from modelshelf.render.rendered import Rendered, render

_WAVE = "argocd.argoproj.io/sync-wave"
_PRIMED = "front: {model: tiny, gpus: 0, prime: true, args: [--max-num-seqs=8], env: {A: b}}"


def _rendered(servers: str = _PRIMED, **parts: str) -> Rendered:
    file = config(servers=servers, **parts)
    return render(file, lock(file))


def _job(rendered: Rendered) -> Object:
    (job,) = [obj for obj in rendered.primes["front"] if obj["kind"] == "Job"]
    kubernetes_validate.validate(job, "1.34", strict=True)
    return job


def _pods(rendered: Rendered) -> tuple[Any, Any]:
    """The spec of the Job's pod, and of the server's."""
    (deployment,) = [obj for obj in rendered.servers["front"] if obj["kind"] == "Deployment"]
    return _job(rendered)["spec"]["template"]["spec"], deployment["spec"]["template"]["spec"]


def test_its_container_is_the_servers() -> None:
    """Compiled code fits what it was made with: image, arguments, environment, resources."""
    job, server = _pods(_rendered())
    (prime,), (engine,) = job["containers"], server["containers"]
    for same in ("image", "args", "env", "resources", "securityContext"):
        assert prime[same] == engine[same], same
    command = ["python3", "-I", "-S", "/modelshelf/start/__main__.py"]
    assert prime["command"][:6] == [*command, "prime", "/spec/prime.json"]
    start = engine["command"].index("--")
    assert prime["command"][6:] == engine["command"][start:]
    assert [each["name"] for each in job["initContainers"]] == ["gate"]
    assert not {"livenessProbe", "startupProbe", "lifecycle", "ports"} & set(prime)


def test_it_writes_to_the_shelf_and_servers_only_read_what_it_made() -> None:
    """It runs as who pulls; a server sees `compile-cache` alone, read-only."""
    rendered = _rendered()
    job, server = _pods(rendered)
    assert (job["securityContext"]["runAsUser"], job["securityContext"]["runAsGroup"]) == (1000, 0)
    claims = {
        which: volume["persistentVolumeClaim"]
        for which, pod in (("job", job), ("server", server))
        for volume in pod["volumes"]
        if volume["name"] == "shelf"
    }
    assert claims["job"]["claimName"].endswith("-rw")
    assert claims["server"]["readOnly"] is True
    mounts = {mount["mountPath"]: mount for mount in job["containers"][0]["volumeMounts"]}
    assert mounts["/shelf"] == {"name": "shelf", "mountPath": "/shelf"}
    assert mounts["/models/front"]["readOnly"] is True
    seen = {mount["mountPath"]: mount for mount in server["containers"][0]["volumeMounts"]}
    assert seen["/compile-cache"]["subPath"] == "compile-cache"
    assert seen["/compile-cache"]["readOnly"] is True


def test_it_is_told_what_the_starts_are_told() -> None:
    """The same snapshot and the same folder to unpack to, or nothing that it made would fit."""
    rendered = _rendered()
    (spec,) = [obj for obj in rendered.primes["front"] if obj["kind"] == "ConfigMap"]
    (other,) = [obj for obj in rendered.servers["front"] if obj["kind"] == "ConfigMap"]
    prime, start = json.loads(spec["data"]["prime.json"]), json.loads(other["data"]["start.json"])
    assert prime["compile_cache"] == start["compile_cache"] | {"folder": "/shelf/compile-cache"}
    assert prime["health"] == start["health"]
    assert prime["ask"]["body"]["model"] == "front"
    assert spec["data"]["gate.json"] == other["data"]["gate.json"]


def test_it_comes_between_pulls_and_servers() -> None:
    """In Argo CD's waves and Flux's dependencies; where nothing is primed there are two."""
    rendered = _rendered()
    waves = {
        folder: {obj["metadata"]["annotations"][_WAVE] for obj in objects}
        for folder, objects in (
            ("pull", rendered.pull_folder()),
            ("prime", rendered.prime_folder()),
            ("serve", rendered.serve_folder()),
        )
    }
    assert waves == {"pull": {"0"}, "prime": {"1"}, "serve": {"2"}}
    flux = {
        one["spec"]["path"].rpartition("/")[2]: one["spec"].get("dependsOn")
        for one in flux_example(rendered)
    }
    assert flux == {
        "pull": None,
        "prime": [{"name": "models-pull"}],
        "serve": [{"name": "models-prime"}],
    }
    plain = flux_example(_rendered("front: {model: tiny}"))
    assert [one["metadata"]["name"] for one in plain] == ["models-pull", "models-serve"]


def test_another_modelshelf_primes_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder, a Job that differs in our code alone stays, with the map that it names."""
    before = files(_rendered(), {})
    monkeypatch.setattr(
        "modelshelf.render.code.files", lambda package: {"new.py": f"# {package}\n"}
    )
    rendered = _rendered()
    old = {path: text for path, text in before.items() if path.startswith("prime/")}
    assert list(old) == ["prime/30-front.yaml"]
    after = files(rendered, before)
    assert {path: text for path, text in after.items() if path.startswith("prime/")} == old
    fresh = files(rendered, before, refresh_code=True)
    assert fresh["prime/30-front.yaml"] != old["prime/30-front.yaml"]
    changed = _PRIMED.replace("--max-num-seqs=8", "--max-num-seqs=9")
    other = files(_rendered(changed), before)
    assert other["prime/30-front.yaml"] != old["prime/30-front.yaml"]

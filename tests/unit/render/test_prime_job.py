"""The Job that runs a server's engine once to make its compile cache."""

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


def _pod_specs(rendered: Rendered) -> tuple[Any, Any]:
    """The pod specs of the Job and of the server."""
    (deployment,) = [obj for obj in rendered.servers["front"] if obj["kind"] == "Deployment"]
    return _job(rendered)["spec"]["template"]["spec"], deployment["spec"]["template"]["spec"]


def test_the_jobs_container_is_the_servers() -> None:
    """The Job has the server's image, arguments, environment and resources."""
    job, server = _pod_specs(_rendered())
    (prime,), (engine,) = job["containers"], server["containers"]
    for same in ("image", "args", "env", "resources", "securityContext"):
        assert prime[same] == engine[same], same
    command = ["python3", "-I", "-S", "/modelshelf/start/__main__.py"]
    assert prime["command"][:6] == [*command, "prime", "/spec/prime.json"]
    start = engine["command"].index("--")
    assert prime["command"][6:] == engine["command"][start:]
    assert [each["name"] for each in job["initContainers"]] == ["gate"]
    assert not {"livenessProbe", "startupProbe", "lifecycle", "ports"} & set(prime)


def test_the_job_writes_and_servers_read_the_compile_cache() -> None:
    """The Job runs as the user of pulls; servers mount `compile-cache` alone, read-only."""
    rendered = _rendered()
    job, server = _pod_specs(rendered)
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


def test_the_job_and_the_starts_use_the_same_cache_paths() -> None:
    """The Job and each start get the same snapshot and the same folder to unpack into."""
    rendered = _rendered()
    (spec,) = [obj for obj in rendered.primes["front"] if obj["kind"] == "ConfigMap"]
    (other,) = [obj for obj in rendered.servers["front"] if obj["kind"] == "ConfigMap"]
    prime, start = json.loads(spec["data"]["prime.json"]), json.loads(other["data"]["start.json"])
    assert prime["compile_cache"] == start["compile_cache"] | {"folder": "/shelf/compile-cache"}
    assert prime["health"] == start["health"]
    assert prime["ask"]["body"]["model"] == "front"
    assert spec["data"]["gate.json"] == other["data"]["gate.json"]


def test_the_job_comes_between_pulls_and_servers() -> None:
    """Argo CD and Flux run the Job after pulls and before servers, and skip an empty step."""
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


def test_another_modelshelf_keeps_a_finished_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Job in a folder that differs in our code alone is kept, with its ConfigMap."""
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

"""The objects of one server, compared as whole values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from support.render_inputs import COMMIT, config, pinned, snapshot

from modelshelf.config.file import Config
from modelshelf.config.lock import LockedModel, choice_for
from modelshelf.render.carry_over import deployment_of
from modelshelf.render.code import Package
from modelshelf.render.server_objects import server_objects
from modelshelf.render.storage import claims
from modelshelf.shelf.errors import UsageError
from modelshelf.shelf.values import Snapshot

CODE: Mapping[Package, str] = {"shelf": "shelf-code-1", "start": "start-code-1"}
GGUF = snapshot(size=98_000_000, name="tiny.Q4_K_M.gguf")
LARGE = snapshot(size=14_000_000_000)
CUSTOM = """
engine: custom
image: lmsysorg/sglang:v0.5
command: [sglang, --model-path, '{model}', --port, '{port}']
"""


def configured(server: str, more: str = "") -> Config:
    """A file with one server of one model, called `mine`, with the YAML of its settings."""
    settings = yaml.safe_load(server) or {}
    return config(servers=f"mine: {json.dumps({'model': 'tiny', **settings})}", more=more)


def rendered(of: Snapshot, server: str = "", more: str = "") -> dict[str, Any]:
    """The objects of a server, by kind."""
    file = configured(server, more)
    locked = LockedModel("hf://acme/tiny", choice_for(file, "tiny"), of)
    return {obj["kind"]: obj for obj in server_objects(file, "mine", locked, CODE)}


def pod(of: Snapshot, server: str = "", more: str = "") -> Any:
    """The spec of a server's pods."""
    return rendered(of, server, more)["Deployment"]["spec"]["template"]["spec"]


VLLM = f"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: mine
  namespace: llm
  labels: &all
    app.kubernetes.io/name: mine
    app.kubernetes.io/component: server
    app.kubernetes.io/part-of: models
    app.kubernetes.io/managed-by: modelshelf
  annotations:
    modelshelf.dev/snapshot: acme/tiny@{LARGE.id}
    modelshelf.dev/source: hf://acme/tiny@main
    modelshelf.dev/commit: {COMMIT}
    modelshelf.dev/bytes: "14000000000"
    modelshelf.dev/load: by prefetch, since it lies on NFS, and memory has 15.0 GiB for its
      13.0 GiB
    modelshelf.dev/replicas: "2"
    modelshelf.dev/template: TEMPLATE
spec:
  replicas: 2
  revisionHistoryLimit: 3
  progressDeadlineSeconds: 1945
  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 0, maxUnavailable: 1}}}}
  selector:
    matchLabels: &own
      app.kubernetes.io/name: mine
      app.kubernetes.io/component: server
      app.kubernetes.io/part-of: models
  template:
    metadata:
      labels: *all
      annotations: {{modelshelf.dev/snapshot: acme/tiny@{LARGE.id}}}
    spec:
      enableServiceLinks: false
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 145
      priorityClassName: serving
      nodeSelector: {{nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}}
      securityContext:
        runAsNonRoot: true
        runAsUser: 2000
        runAsGroup: 0
        supplementalGroups: [1000]
        seccompProfile: {{type: RuntimeDefault}}
      tolerations:
        - {{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute,
            tolerationSeconds: 30}}
        - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute,
            tolerationSeconds: 30}}
        - {{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}}
        - {{key: team, operator: Exists}}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: *own}}
          matchLabelKeys: [pod-template-hash]
      initContainers:
        - name: gate
          image: docker.io/vllm/vllm-openai:v0.32.0
          imagePullPolicy: IfNotPresent
          command: [python3, -I, -S, /modelshelf/shelf/__main__.py, gate, /spec/gate.json]
          resources:
            requests: {{cpu: 50m, ephemeral-storage: 16Mi, memory: 128Mi}}
            limits: {{ephemeral-storage: 64Mi, memory: 128Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
          terminationMessagePolicy: FallbackToLogsOnError
          volumeMounts:
            - {{name: shelf, mountPath: /shelf, readOnly: true}}
            - {{name: code-shelf, mountPath: /modelshelf/shelf, readOnly: true}}
            - {{name: spec, mountPath: /spec, readOnly: true}}
      containers:
        - name: engine
          image: docker.io/vllm/vllm-openai:v0.32.0
          imagePullPolicy: IfNotPresent
          command: [python3, -I, -S, /modelshelf/start/__main__.py, start, /spec/start.json, --,
            vllm, serve, /models/acme-Mistral-7B]
          args:
            - --served-model-name=acme/Mistral:7B
            - --host=0.0.0.0
            - --port=8000
            - --shutdown-timeout=60
            - --max-num-queued-reqs=2048
            - --disable-access-log-for-endpoints=/health,/metrics,/ping
            - --load-format=safetensors
            - --safetensors-load-strategy=prefetch
          env:
            - {{name: A, value: b}}
            - {{name: HF_HUB_OFFLINE, value: "1"}}
            - {{name: HOME, value: /home/vllm}}
            - {{name: TRANSFORMERS_OFFLINE, value: "1"}}
            - {{name: USER, value: vllm}}
            - {{name: VLLM_ENGINE_READY_TIMEOUT_S, value: "600"}}
            - {{name: VLLM_NO_USAGE_STATS, value: "1"}}
          ports: [{{name: http, containerPort: 8000, protocol: TCP}}]
          startupProbe:
            httpGet: {{path: /health, port: http}}
            periodSeconds: 1
            timeoutSeconds: 5
            failureThreshold: 600
            terminationGracePeriodSeconds: 15
          readinessProbe:
            httpGet: {{path: /health, port: http}}
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 3
          livenessProbe:
            httpGet: {{path: /health, port: http}}
            periodSeconds: 20
            timeoutSeconds: 15
            failureThreshold: 6
            terminationGracePeriodSeconds: 15
          lifecycle:
            preStop:
              exec:
                command: [python3, -I, -S, /modelshelf/start/__main__.py, drain, /spec/drain.json]
          resources:
            requests: {{cpu: "4", ephemeral-storage: 2Gi, memory: 25Gi, nvidia.com/gpu: "1"}}
            limits: {{ephemeral-storage: 16Gi, memory: 25Gi, nvidia.com/gpu: "1"}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: false
            capabilities: {{drop: [ALL]}}
          terminationMessagePolicy: FallbackToLogsOnError
          volumeMounts:
            - {{name: shelf, mountPath: /models/acme-Mistral-7B, readOnly: true,
                subPath: models/acme/tiny/{LARGE.id}}}
            - {{name: home-vllm, mountPath: /home/vllm}}
            - {{name: tmp, mountPath: /tmp}}
            - {{name: code-shelf, mountPath: /modelshelf/shelf, readOnly: true}}
            - {{name: code-start, mountPath: /modelshelf/start, readOnly: true}}
            - {{name: spec, mountPath: /spec, readOnly: true}}
            - {{name: shm, mountPath: /dev/shm}}
      volumes:
        - {{name: shelf, persistentVolumeClaim: {{claimName: CLAIM, readOnly: true}}}}
        - {{name: code-shelf, configMap: {{name: shelf-code-1}}}}
        - {{name: code-start, configMap: {{name: start-code-1}}}}
        - {{name: spec, configMap: {{name: SPEC}}}}
        - {{name: home-vllm, emptyDir: {{sizeLimit: 10Gi}}}}
        - {{name: tmp, emptyDir: {{sizeLimit: 5Gi}}}}
        - {{name: shm, emptyDir: {{medium: Memory, sizeLimit: 2Gi}}}}
"""


def test_a_deployment_of_vllm() -> None:
    """The whole Deployment, with what the file adds to it in its place."""
    settings = """
    replicas: 2
    name: acme/Mistral:7B
    env: {A: b}
    priorityClass: serving
    nodeSelector: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}
    tolerations: [{key: team, operator: Exists}]
    """
    objects = rendered(LARGE, settings)
    found = objects["Deployment"]
    text = VLLM.replace("TEMPLATE", found["metadata"]["annotations"]["modelshelf.dev/template"])
    text = text.replace("SPEC", objects["ConfigMap"]["metadata"]["name"])
    text = text.replace("CLAIM", claims(configured(settings)).ro)
    assert found == yaml.safe_load(text)


def specs_of(of: Snapshot, server: str = "") -> dict[str, Any]:
    """The specs of the programs in a server's pods, by verb."""
    data = rendered(of, server)["ConfigMap"]["data"]
    return {name.removesuffix(".json"): json.loads(text) for name, text in data.items()}


def test_the_gates_spec() -> None:
    """An immutable map holds the whole snapshot and no time of its publication."""
    spec = rendered(LARGE)["ConfigMap"]
    assert spec["immutable"] is True
    assert spec["metadata"]["name"].startswith("gate-mine-spec-")
    gate = json.loads(spec["data"]["gate.json"])
    assert gate == {"shelf": "/shelf", "snapshot": pinned(LARGE).to_json(), "timeout": 3600}
    assert Snapshot.from_json(gate["snapshot"]).id == LARGE.id
    other = snapshot(size=14_000_000_001)
    assert rendered(other)["ConfigMap"]["metadata"]["name"] != spec["metadata"]["name"]


@pytest.mark.parametrize("settings", ["", "prime: true"])
def test_another_name_for_a_commit_starts_no_pod(settings: str) -> None:
    """Pods stay when the file names the commit to which `main` was resolved."""
    before, after = rendered(LARGE, settings), rendered(pinned(LARGE), settings)
    assert after["Deployment"]["spec"] == before["Deployment"]["spec"]
    assert after["ConfigMap"] == before["ConfigMap"]
    annotations = after["Deployment"]["metadata"]["annotations"]
    assert annotations["modelshelf.dev/source"] == f"hf://acme/tiny@{COMMIT}"


def test_the_specs_of_start_and_drain() -> None:
    """The specs name the engine's address, the files to prefetch, and the time to drain."""
    found = specs_of(LARGE, "{name: acme/Mistral, port: 9000}")
    health, paths = "http://127.0.0.1:9000/health", {"paths": ["/models/acme-Mistral"]}
    assert found["start"] == {"health": health, "prefetch": {**paths, "memory": None}}
    drain = {"port": 9000, "metrics": "/metrics", "settle": 10, "quiet": 2, "most": 70}
    assert found["drain"] == drain
    assert list(specs_of(GGUF, "engine: llamacpp")) == list(specs_of(LARGE, CUSTOM)) == ["gate"]


@pytest.mark.parametrize(
    ("server", "fast"),
    [
        ("gpus: 0", {"fork": True}),
        ("{gpus: 0, fastStart: false}", {"fork": False}),
        ("gpus: 1", None),
        ("{gpus: 1, fastStart: false}", None),
        ("{gpus: 1, fastStart: true}", {"fork": True}),
    ],
)
def test_fast_starts_are_the_default_on_processors(
    server: str, fast: dict[str, bool] | None
) -> None:
    """`fastStart` is the default on processors alone, and can be turned off there."""
    assert specs_of(LARGE, server)["start"].get("fast") == fast


@pytest.mark.parametrize(
    ("shelf", "by"),
    [
        (
            "nfs: {server: a, path: /b, driver: nfs.csi.k8s.io}",
            "by prefetch, since it lies on NFS,",
        ),
        ("claim: mine", "by prefetch, since it lies on a share,"),
        ("storageClass: {name: efs, size: 1Ti}", "by prefetch, since it lies on a share,"),
        ("hostPath: {path: /b}", "mapped, since it lies on a disk of the node"),
    ],
)
def test_the_load_format_follows_from_the_shelf(shelf: str, by: str) -> None:
    """The Deployment records how the model is read, and no pod restarts for it."""
    file = config(shelf, servers="mine: {model: tiny}")
    locked = LockedModel("hf://acme/tiny", choice_for(file, "tiny"), LARGE)
    deployment = deployment_of(server_objects(file, "mine", locked, CODE))
    assert deployment["metadata"]["annotations"]["modelshelf.dev/load"].startswith(by)
    assert "modelshelf.dev/load" not in deployment["spec"]["template"]["metadata"]["annotations"]


def test_a_primed_server_mounts_the_compile_cache() -> None:
    """A primed server mounts the compile cache read-only and unpacks it into its own folder."""
    (engine,) = pod(LARGE, "prime: true")["containers"]
    mount = {
        "name": "shelf",
        "mountPath": "/compile-cache",
        "subPath": "compile-cache",
        "readOnly": True,
    }
    assert mount in engine["volumeMounts"]
    assert specs_of(LARGE, "prime: true")["start"]["compile_cache"] == {
        "folder": "/compile-cache",
        "snapshot": f"acme/tiny@{LARGE.id}",
        "into": "/home/vllm/.modelshelf",
    }


def test_a_service_a_budget_and_a_policy() -> None:
    """A server has one address, a disruption budget, and a policy that lets requests in alone."""
    objects = rendered(LARGE, "port: 9000")
    own = objects["Deployment"]["spec"]["selector"]["matchLabels"]
    labels = objects["Deployment"]["metadata"]["labels"]
    metadata = {"name": "mine", "namespace": "llm", "labels": labels}
    assert list(objects) == [
        *("ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
    ]
    assert objects["Service"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": own,
            "ports": [
                {
                    "name": "http",
                    "port": 80,
                    "protocol": "TCP",
                    "targetPort": "http",
                    "appProtocol": "http",
                }
            ],
        },
    }
    assert objects["PodDisruptionBudget"] == {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": own},
        },
    }
    assert objects["NetworkPolicy"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": own},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": 9000, "protocol": "TCP"}]}],
        },
    }


def test_the_file_limits_which_namespaces_connect() -> None:
    """Namespaces become peers of the policy's one rule, and an empty list means no rule."""
    name = "kubernetes.io/metadata.name"
    narrowed = rendered(LARGE, "allowFrom: [gateway, monitoring]")["NetworkPolicy"]["spec"]
    assert narrowed["ingress"] == [
        {
            "ports": [{"port": 8000, "protocol": "TCP"}],
            "from": [
                {"namespaceSelector": {"matchLabels": {name: "gateway"}}},
                {"namespaceSelector": {"matchLabels": {name: "monitoring"}}},
            ],
        }
    ]
    assert "ingress" not in rendered(LARGE, "allowFrom: []")["NetworkPolicy"]["spec"]


LLAMACPP = """
name: engine
image: ghcr.io/ggml-org/llama.cpp:server-b11434
imagePullPolicy: IfNotPresent
command: [/app/llama-server]
args: [--model, /models/mine/tiny.Q4_K_M.gguf, --alias, mine, --host, 0.0.0.0, --port, "8000",
  --ctx-size, "4096", --parallel, "2", --threads, "1", --cache-ram, "256",
  --offline, --no-webui, --no-slots, --metrics]
env: [{name: HOME, value: /tmp}]
ports: [{name: http, containerPort: 8000, protocol: TCP}]
startupProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 91
  terminationGracePeriodSeconds: 15
readinessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
livenessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 20
  timeoutSeconds: 15
  failureThreshold: 6
  terminationGracePeriodSeconds: 15
lifecycle: {preStop: {sleep: {seconds: 30}}}
resources:
  requests: {cpu: 250m, ephemeral-storage: 64Mi, memory: 1Gi}
  limits: {ephemeral-storage: 2Gi, memory: 1Gi}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: shelf, mountPath: /models/mine, readOnly: true, subPath: models/acme/tiny/ID}
  - {name: tmp, mountPath: /tmp}
"""


def test_a_pod_of_llamacpp() -> None:
    """The gate has a Python image of its own; the pod runs as the owner of the files."""
    found = pod(
        GGUF,
        """
        engine: llamacpp
        contextLength: 2048
        parallel: 2
        startWithin: 91
        resources: {requests: {cpu: 250m, memory: 1Gi}}
        """,
    )
    assert found["containers"] == [yaml.safe_load(LLAMACPP.replace("ID", GGUF.id))]
    assert found["initContainers"][0]["image"] == "docker.io/library/python:3.13-slim"
    assert found["terminationGracePeriodSeconds"] == 45
    assert found["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "supplementalGroups": [1000],
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert [volume["name"] for volume in found["volumes"]] == ["shelf", "code-shelf", "spec", "tmp"]
    assert [one["key"] for one in found["tolerations"]] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]


CUSTOM_ENGINE = """
name: engine
image: mirror.example/lmsysorg/sglang:v0.5
imagePullPolicy: IfNotPresent
command: [sglang, --model-path, /models/mine, --port, "8000"]
args: []
env:
  - {name: HF_HUB_OFFLINE, value: "1"}
  - {name: HOME, value: /home/engine}
  - {name: TRANSFORMERS_OFFLINE, value: "1"}
ports: [{name: http, containerPort: 8000, protocol: TCP}]
startupProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 600
  terminationGracePeriodSeconds: 15
readinessProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
livenessProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 20
  timeoutSeconds: 15
  failureThreshold: 6
  terminationGracePeriodSeconds: 15
resources:
  requests: {amd.com/gpu: "1", cpu: "4", ephemeral-storage: 2Gi, memory: 25Gi}
  limits: {amd.com/gpu: "1", ephemeral-storage: 16Gi, memory: 25Gi}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: false
  capabilities: {drop: [ALL]}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: shelf, mountPath: /models/mine, readOnly: true, subPath: models/acme/tiny/ID}
  - {name: home-engine, mountPath: /home/engine}
  - {name: tmp, mountPath: /tmp}
  - {name: shm, mountPath: /dev/shm}
"""


def test_a_pod_of_any_engine() -> None:
    """Health path, GPU and mirror are the file's, and a drain of 0 adds no hook."""
    server = CUSTOM + "health: /ready\ngpus: 1\ngpuResource: amd.com/gpu\ndrain: 0\n"
    found = pod(LARGE, server, "registry: mirror.example\n")
    assert found["containers"] == [yaml.safe_load(CUSTOM_ENGINE.replace("ID", LARGE.id))]
    assert found["initContainers"][0]["image"] == "mirror.example/library/python:3.13-slim"
    assert found["terminationGracePeriodSeconds"] == 15
    assert found["tolerations"][-1] == {
        "key": "amd.com/gpu",
        "operator": "Exists",
        "effect": "NoSchedule",
    }


@pytest.mark.parametrize(
    ("server", "surge", "unavailable"),
    [
        pytest.param("gpus: 1", 0, 1, id="no GPU to spare"),
        pytest.param("{gpus: 1, spare: true}", 1, 0, id="a GPU to spare"),
        pytest.param("gpus: 0", 1, 0, id="no GPU"),
    ],
)
def test_a_rollout_needs_no_free_gpu(server: str, surge: int, unavailable: int) -> None:
    """A server with GPUs stops an old pod first; another one starts a new pod first."""
    assert rendered(LARGE, server)["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": surge,
        "maxUnavailable": unavailable,
    }


@pytest.mark.parametrize(
    ("server", "failures", "deadline"),
    [
        pytest.param("", 1700, 145 + 1200 + 1700, id="computed from the size"),
        pytest.param("startWithin: 3601", 3601, 145 + 1200 + 3601, id="as the file says"),
        pytest.param("progressDeadline: 60", 1700, 60, id="a deadline of the user's own"),
    ],
)
def test_a_long_load_is_no_failure(server: str, failures: int, deadline: int) -> None:
    """The probes and the rollout's deadline allow the load its whole budget."""
    spec = rendered(snapshot(size=140_000_000_000), server)["Deployment"]["spec"]
    probe = spec["template"]["spec"]["containers"][0]["startupProbe"]
    assert (probe["failureThreshold"], probe["periodSeconds"]) == (failures, 1)
    assert spec["progressDeadlineSeconds"] == deadline


@pytest.mark.parametrize(
    ("given", "requests", "limits"),
    [
        pytest.param(
            "{limits: {memory: 8Gi}}",
            {"memory": "8Gi", "cpu": "4"},
            {"memory": "8Gi"},
            id="a limit alone is the request too",
        ),
        pytest.param(
            "{requests: {memory: 64Gi}}",
            {"memory": "64Gi", "cpu": "4"},
            {"memory": "64Gi"},
            id="a request above our limit raises it",
        ),
        pytest.param(
            "{requests: {cpu: 8}}",
            {"memory": "25Gi", "cpu": "8"},
            {"memory": "25Gi"},
            id="the processor gets no limit of ours",
        ),
        pytest.param(
            "{requests: {memory: 16Gi}, limits: {memory: 32Gi, cpu: 2, rdma/hca: 1}}",
            {"memory": "16Gi", "cpu": "2", "rdma/hca": "1"},
            {"memory": "32Gi", "cpu": "2", "rdma/hca": "1"},
            id="both, and what we know nothing of",
        ),
    ],
)
def test_the_users_resources_replace_ours(
    given: str, requests: dict[str, str], limits: dict[str, str]
) -> None:
    """The file's resources replace ours so that no request is above its limit."""
    gpu, disk = {"nvidia.com/gpu": "1"}, "ephemeral-storage"
    assert pod(LARGE, f"resources: {given}")["containers"][0]["resources"] == {
        "requests": {**requests, **gpu, disk: "2Gi"},
        "limits": {**limits, **gpu, disk: "16Gi"},
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [("org/Name.v1", "/models/org-Name.v1"), ("..", "/models/model"), ("ü/x:y", "/models/x-y")],
)
def test_a_models_path_follows_from_its_name(name: str, path: str) -> None:
    """The path is made of the name in the API and of nothing else."""
    found = pod(LARGE, f"name: {json.dumps(name)}")["containers"][0]
    assert found["volumeMounts"][0]["mountPath"] == path
    assert found["command"][-3:] == ["vllm", "serve", path]
    assert found["args"][0] == f"--served-model-name={name}"


def test_files_that_an_engine_cannot_serve_are_refused() -> None:
    """The error names the server, and why its engine cannot serve the files."""
    with pytest.raises(UsageError, match=r"^servers\.mine: llama\.cpp cannot serve acme/tiny"):
        rendered(LARGE, "engine: llamacpp")
    with pytest.raises(UsageError, match=r"^servers\.mine: vLLM cannot serve acme/tiny"):
        rendered(GGUF)


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
@pytest.mark.parametrize(
    ("of", "server"),
    [
        pytest.param(LARGE, "allowFrom: [gateway]", id="vllm"),
        pytest.param(LARGE, "{gpus: 0, drain: 0}", id="vllm on a CPU"),
        pytest.param(GGUF, "engine: llamacpp", id="llamacpp"),
        pytest.param(LARGE, CUSTOM, id="custom"),
    ],
)
def test_kubernetes_knows_every_field(of: Snapshot, server: str, version: str) -> None:
    """Each object is valid in strict mode for the oldest and the newest Kubernetes."""
    objects = rendered(of, server)
    assert len(objects) == 5
    for obj in objects.values():
        kubernetes_validate.validate(obj, version, strict=True)


def test_no_part_is_shared_between_objects() -> None:
    """A change to one object changes no other object."""
    objects = rendered(LARGE)
    before = json.dumps(objects["Service"])
    spec = objects["Deployment"]["spec"]
    spec["selector"]["matchLabels"].clear()
    spec["template"]["metadata"]["labels"].clear()
    assert objects["Deployment"]["metadata"]["labels"]
    assert spec["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert json.dumps(objects["Service"]) == before

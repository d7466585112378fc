"""modelshelf.yaml: defaults, and what its errors say."""

from __future__ import annotations

import importlib
import json
import pathlib
import subprocess
import sys

import pytest
import yaml

from modelshelf.config.file import Config, load, parse
from modelshelf.config.schema import schema
from modelshelf.shelf.errors import UsageError

ROOT = pathlib.Path(__file__).parents[3]
# The design's own example, whole.
WHOLE = """namespace: llm
shelf:                       # one of: nfs | claim | storageClass | hostPath
  nfs: {server: 10.100.32.2, path: /2633050/7d1686e4-9212-420f-a593-ab544993d99b, size: 100Gi}
  # user: 1000, group: 1000: who owns the files
models:
  mistral-7b:
    source: hf://mistralai/Mistral-7B-Instruct-v0.3
servers:
  mistral:
    model: mistral-7b
    engine: vllm
    replicas: 1
    gpus: 1
"""
# Ends in a server, so that a test can add keys to it: they stand in line 10.
BASE = """namespace: llm
shelf:
  nfs: {server: nas, path: /models}
models:
  mistral-7b:
    source: hf://org/name

servers:
  mistral: {}
"""


def base(server: str = "", **more: str) -> str:
    """A file that parses, with more keys in its server and at the top."""
    text = BASE.replace("  mistral: {}\n", f"  mistral:\n    {server or 'model: mistral-7b'}\n")
    if server and "model:" not in server:
        text += "    model: mistral-7b\n"
    return text + "".join(f"{key}: {value}\n" for key, value in more.items())


def refused(text: str) -> UsageError:
    """The error that `parse` raises for a text."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    return caught.value


def test_the_whole_file_of_the_design() -> None:
    """A dozen lines are a whole file; the rest has defaults."""
    config = parse(WHOLE)
    assert (config.name, config.context, config.namespace) == ("models", None, "llm")
    assert (config.shelf.kind, config.shelf.size) == ("nfs", "100Gi")
    assert (config.shelf.user, config.shelf.group, config.shelf.speed) == (1000, 1000, "200MB")
    assert config.shelf.nfs is not None
    assert config.shelf.nfs.path == "/2633050/7d1686e4-9212-420f-a593-ab544993d99b"
    assert (config.hub.endpoint, config.hub.secret) == (None, None)
    model, server = config.models["mistral-7b"], config.servers["mistral"]
    assert (model.engine, model.include, model.all_files, model.from_) == (None, (), False, None)
    assert (server.engine, server.replicas, server.gpus) == ("vllm", 1, 1)
    assert (server.gpu_resource, server.health, server.spare) == (
        "nvidia.com/gpu",
        "/health",
        False,
    )
    assert (server.args, server.env, server.tolerations) == ((), {}, ())


def test_every_key_is_read() -> None:
    """Keys are camelCase in the file and snake_case in Python; quantities lose their B."""
    config = parse("""
name: prod
context: gpu-cluster
namespace: llm
registry: mirror.example:5000/hub
images: {vllm: vllm/vllm-openai:v9}
shelf:
  storageClass: {name: shared, size: 100GB}
  user: 2000
  speed: 1GB/s
hub: {endpoint: "https://hub.example/", secret: {name: token}}
pull:
  nodeSelector: {net: fast}
  tolerations: [{key: pull, operator: Exists, tolerationSeconds: 5}]
  resources: {requests: {cpu: 2, memory: 4Gi}}
  proxy: {https: "http://proxy:3128", no: 10.0.0.0/8}
  ca: {configMap: bundle}
  deadline: 3600
models:
  m: {source: hf://a/b@v1, name: c/d, engine: llamacpp, include: ["*Q4*"], exclude: [x],
      allFiles: true, allowUnsafe: true, from: old/b/}
servers:
  s: {model: m, engine: custom, image: "i:1", command: [run, "{model}"], health: /ok, port: 9,
      gpus: 0, gpuResource: amd.com/gpu, env: {A: "1"}, priorityClass: high, allowFrom: [web],
      startWithin: 5, drain: 0, shm: 2GB, group: 0, progressDeadline: 9, args: [--x]}
""")
    assert config.registry == "mirror.example:5000/hub"
    assert (config.shelf.kind, config.shelf.size, config.shelf.speed) == (
        "storageClass",
        "100G",
        "1GB",
    )
    assert config.hub.endpoint == "https://hub.example"
    assert config.hub.secret is not None
    assert config.hub.secret.key == "token"
    assert config.pull.tolerations == (
        {"key": "pull", "operator": "Exists", "tolerationSeconds": 5},
    )
    assert config.pull.resources == {"requests": {"cpu": "2", "memory": "4Gi"}}
    assert config.pull.proxy is not None
    assert config.pull.proxy.no == "10.0.0.0/8"
    assert config.pull.ca is not None
    assert config.pull.ca.key == "ca.crt"
    model, server = config.models["m"], config.servers["s"]
    assert (model.name, model.from_, model.include) == ("c/d", "old/b", ("*Q4*",))
    assert (server.gpu_resource, server.allow_from, server.shm) == ("amd.com/gpu", ("web",), "2G")
    assert (server.start_within, server.drain, server.group) == (5, 0, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            base("replica: 1"),
            "modelshelf.yaml:10: servers.mistral has no key 'replica'; did you mean 'replicas'?",
        ),
        (
            base("node_selector: {}"),
            "servers.mistral has no key 'node_selector'; did you mean 'nodeSelector'?",
        ),
        (base(gpus="1"), "modelshelf.yaml:11: there is no key 'gpus'; it belongs to servers.NAME"),
        (
            base() + "server: {}\n",
            "modelshelf.yaml:11: there is no key 'server'; did you mean 'servers'",
        ),
        (base(zzz="1"), "there is no key 'zzz'; there are name, context, namespace, registry,"),
        (base("model: mistral7b"), "models has no 'mistral7b'; did you mean 'mistral-7b'?"),
        (base("model: xyz"), "modelshelf.yaml:10: models has no 'xyz'; it has mistral-7b"),
        (base("engine: vlm"), "servers.mistral.engine must be 'vllm', 'llamacpp' or 'custom'; did"),
        (base("replicas: -1"), "servers.mistral.replicas is -1; it must be at least 0"),
        (base("gpus: -1"), "servers.mistral.gpus is -1; it must be at least 0"),
        (base("port: 70000"), "servers.mistral.port is 70000; it must be at most 65535"),
        (base("replicas: two"), "servers.mistral.replicas must be a whole number, and is text"),
        (base("replicas: true"), "servers.mistral.replicas must be a whole number, and is true"),
        (base("replicas: 1.5"), "servers.mistral.replicas must be a whole number, and is 1.5"),
        (base("spare: yes"), "servers.mistral.spare must be true or false, and is text"),
        (base("args: --x"), "servers.mistral.args must be a list, and is text"),
        (base("args: [1]"), 'args[0] must be text, and is a number: write it in quotes, "1"'),
        (base("env: {A: 1}"), 'env.A must be text, and is a number: write it in quotes, "1"'),
        (base("env: {A: true}"), 'is a truth value: write it in quotes, "true"'),
        (base("env: {A B: x}"), "'A B' is not the name of an environment variable"),
        (base("env: {HF_TOKEN: x}"), "HF_TOKEN cannot be set: servers need no token"),
        (base("env: {VLLM_PORT: x}"), "VLLM_PORT cannot be set: vLLM takes it for the first"),
        (base("args: [--port=1]"), "--port cannot be given: this server's key `port`"),
        (base("args: [--served_model_name, x]"), "--served-model-name cannot be given: set"),
        (base("command: [x]"), "only engine custom has command; vllm has its own"),
        (base("engine: llamacpp\n    fastStart: true"), "only engine vllm has fastStart"),
        (base("engine: custom"), "engine custom needs a command (or args) with {model}"),
        (base("shm: 2 GB"), "servers.mistral.shm: '2 GB' is not a size"),
        (base("resources: {cpu: 1}"), "resources: it has requests and limits below it"),
        (
            base("resources: {limits: {memory: 3Gx}}"),
            "limits.memory is '3Gx', which is not an amount",
        ),
        (
            base("tolerations: [{kee: a}]"),
            "a toleration has no key 'kee'; it may have key, operator",
        ),
        (base("tolerations: [{value: true}]"), "value must be text: write it in quotes"),
        (base("priorityClass: ''"), "'' is not the name of a Kubernetes object"),
        (base(pull="{image: ''}"), "pull.image: '' is not an image"),
        (
            base(hub=""),
            "modelshelf.yaml:11: hub must be a mapping, with keys below it, and is empty",
        ),
        (base(pull="{proxy: {http: 'http://u:pw@p'}}"), "pull.proxy.http: it holds a password"),
        (
            base(images="{vlm: x}"),
            "'vlm' is not the key of an image; there are python, vllm, vllm-cpu,",
        ),
        (base().replace("hf://", "/"), "models.mistral-7b.source: it does not name a repository"),
        (base().replace("hf://", "s3://"), "pods reach no other sources"),
        (base().replace("mistral:", "vllm:"), "a server cannot be called 'vllm': a Service of"),
        (base().replace("mistral:", "kubernetes:"), "KUBERNETES_PORT in pods, which stands for"),
        (base().replace("mistral:", "llama-arg:"), "LLAMA_ARG_PORT in pods, which llama.cpp"),
        (base().replace("mistral:", "7b:"), "a Service cannot be called '7b'"),
        (base().replace("mistral:", "My_Model:"), "'my-model' would do"),
        (base().replace("mistral-7b", "a" * 41), "has 41 characters; at most 40 are allowed"),
        (base().replace("llm", "a.b"), "modelshelf.yaml:1: namespace: 'a.b' is not a name"),
        (base().replace("namespace: llm\n", ""), "modelshelf.yaml:1: the file lacks the key 'name"),
        (base().replace("nas,", "nfs://nas,"), "shelf.nfs.server: 'nfs://nas' is not a host"),
        (base().replace("/models}", "models}"), "shelf.nfs.path: 'models' is not an absolute path"),
        (base().replace("/models}", "/models, user: 1}"), "shelf.nfs has no key 'user'"),
        (
            base().replace("  nfs", "  claim: c\n  nfs"),
            "says where files lie; it has nfs and claim",
        ),
        (base().replace("  nfs: {server: nas, path: /models}", "  {}"), "it has none of them"),
        ("", "modelshelf.yaml is empty"),
        ("[]", "modelshelf.yaml:1: the file must be a mapping, with keys below it, and is a list"),
        (base() + "servers: {}\n", "modelshelf.yaml:11: the key 'servers' is already in line 8"),
    ],
)
def test_what_an_error_says(text: str, message: str) -> None:
    """An error says where the problem is, what is wrong, and what to write instead."""
    assert message in str(refused(text))


def test_a_model_for_two_engines_is_refused() -> None:
    """A model with servers of two engines is refused, unless the model names its engine."""
    text = base() + "  other: {model: mistral-7b, engine: llamacpp}\n"
    error = str(refused(text))
    assert "modelshelf.yaml:5: models.mistral-7b is served by other (llamacpp) and mistral" in error
    assert "or set models.mistral-7b.engine" in error
    parse(text.replace("hf://org/name", "hf://org/name\n    engine: vllm"))


def test_several_problems_come_in_the_order_of_the_file() -> None:
    """The first problem is the message; the hint has three more and the number of the others."""
    error = refused(base("replicas: x\n    gpus: -1\n    a: 1", b="", c="", d=""))
    assert str(error).startswith("modelshelf.yaml:10: servers.mistral.replicas must be")
    assert error.hint.startswith("also line 11: servers.mistral.gpus is -1")
    assert error.hint.count("line ") == 3
    assert error.hint.endswith("; and 2 more")


def test_no_value_that_could_be_a_secret_is_repeated() -> None:
    """Errors repeat neither passwords in URLs nor text where another kind of value is required."""
    for text in (
        base(hub="{endpoint: 'https://u:hunter2@hub'}"),
        base().replace("hf://org", "https://u:hunter2@hub/org"),
        base("env: hunter2"),
        base("env: {HF_TOKEN: hunter2}"),
        base("replicas: hunter2"),
    ):
        error = refused(text)
        assert "hunter2" not in f"{error} {error.hint}"


def test_a_file_is_loaded(tmp_path: pathlib.Path) -> None:
    """`load` reads a file and names it in errors; for a missing file the hint names init."""
    path = tmp_path / "prod.yaml"
    with pytest.raises(UsageError, match=r"there is no .*prod\.yaml") as caught:
        load(path)
    assert "modelshelf init" in caught.value.hint
    path.write_text(WHOLE)
    assert load(path) == parse(WHOLE)
    path.write_text(WHOLE + "foo: 1\n")
    with pytest.raises(UsageError, match=r"prod\.yaml:14: there is no key 'foo'"):
        load(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        load(path)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_values_cannot_be_changed() -> None:
    """A configuration is immutable."""
    config = parse(WHOLE)
    with pytest.raises(ValueError, match="frozen"):
        config.namespace = "other"


def test_a_configuration_round_trips() -> None:
    """A Config that is dumped and parsed again is equal."""
    config = parse(WHOLE)
    data = config.model_dump(by_alias=True, exclude_defaults=True)
    assert parse(yaml.safe_dump(json.loads(json.dumps(data)))) == config


def test_the_schema_is_published() -> None:
    """docs/reference has the current schema, which accepts valid files and no unknown keys."""
    published = json.loads((ROOT / "docs/reference/modelshelf.schema.json").read_text())
    assert published == schema()
    check = importlib.import_module("jsonschema").Draft202012Validator(published)
    assert check.is_valid(yaml.safe_load(WHOLE))
    for text in (base("replica: 1"), base().replace("  nfs", "  claim: c\n  nfs"), "a: 1"):
        assert not check.is_valid(yaml.safe_load(text))


def test_every_key_says_what_it_is_for() -> None:
    """Every key has a description, which editors and the reference show."""
    parts = {"file": schema(), **schema()["$defs"]}
    lacking = [
        f"{part}.{key}"
        for part, shape in parts.items()
        for key, value in shape["properties"].items()
        if "description" not in value
    ]
    assert lacking == []
    assert Config.model_fields


def test_nothing_heavy_is_imported_for_help() -> None:
    """`modelshelf --help` loads neither pydantic nor PyYAML."""
    code = (
        "import sys; from modelshelf.cli.main import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('pydantic', 'yaml', 'huggingface_hub')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr

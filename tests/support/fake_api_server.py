"""A Kubernetes API server in memory, to which a real `kube.connection.Connection` sends requests.

It understands what `modelshelf.kube.calls` builds: a path of the API, a query, and a JSON body. A
refusal is the `Status` object that a real API server answers with, so that tests exercise the
client, its calls and its reading of refusals. No socket is opened.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2

from modelshelf.kube.connection import RawResponse
from modelshelf.kube.kinds import KINDS
from modelshelf.render.names import Key, Object, key

_APPLY = "application/apply-patch+yaml"
_KIND_OF = {(resource.api_version, resource.plural): kind for kind, resource in KINDS.items()}


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error of the tests
    """An answer that is no success, as a `Status` object.

    Attributes:
        body: The `Status`.
    """

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message, "details": details,
        }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Target:
    """What a request is about: an object, or all objects of a kind if the name is empty."""

    kind: str
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """The object's key."""
        return Key(self.kind, self.namespace, self.name)

    @property
    def resource(self) -> str:
        """The resource as RBAC rules name it: `pods/log`."""
        return "/".join(filter(None, (KINDS[self.kind].plural, self.subresource)))


def target_of(path: str) -> Target:
    """Take a path such as `/apis/apps/v1/namespaces/llm/deployments/front` apart."""
    first, *rest = path.strip("/").split("/")
    api_version = "/".join(rest[: 2 if first == "apis" else 1])
    rest = rest[2 if first == "apis" else 1 :]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    return Target(_KIND_OF[api_version, plural], namespace, name, subresource)


class FakeApiServer:
    """Objects by key, and what is answered to requests about them.

    Attributes:
        objects: The objects that exist.
        owned_fields: Object → its fields that other field managers own: path → manager.
        forbidden: Kinds that this user may not see; `Log` for the logs of pods.
        logs: A pod's name, or pod/container → the lines of its log.
        answers: Path behind a service → its answers, in order; the last one is repeated.
        calls: (verb, kind, name) of each request.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.owned_fields: dict[Key, dict[str, str]] = {}
        self.forbidden: set[str] = set()
        self.logs: dict[str, list[str]] = {}
        self.answers: dict[str, list[RawResponse]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def http(self) -> httpx2.Client:
        """An HTTP client whose requests come here."""
        transport = httpx2.MockTransport(self._respond)
        return httpx2.Client(transport=transport, base_url="https://fake:6443", trust_env=False)

    def writes(self) -> list[tuple[str, str, str]]:
        """The requests that may have changed something."""
        return [call for call in self.calls if call[0] in {"apply", "create", "patch", "delete"}]

    def of(self, kind: str) -> list[Object]:
        """The objects of a kind."""
        return [obj for each, obj in sorted(self.objects.items()) if each.kind == kind]

    def put(self, obj: Object) -> Object:
        """Store an object, as if somebody else had made it."""
        stored = copy.deepcopy(obj)
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._numbers)}")
        metadata.setdefault("creationTimestamp", self.time())
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(next(self._numbers))
        self.objects[key(stored)] = stored
        return stored

    def time(self) -> str:
        """The time of day, as Kubernetes writes it."""
        raise NotImplementedError

    def changed(self) -> None:
        """Called after each write."""

    def _respond(self, request: httpx2.Request) -> httpx2.Response:
        # Logs are read by threads of their own.
        with self._lock:
            try:
                return self._answer(request)
            except Refusal as refusal:
                return httpx2.Response(refusal.code, json=refusal.body)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path, query = request.url.path, request.url.params
        if "/proxy/" in path:
            return self._proxied(request.method, path)
        target = target_of(path)
        if request.method == "GET" and target.subresource == "log":
            return httpx2.Response(200, text="".join(self._log_lines(target, query)))
        body = json.loads(request.content or b"null")
        applies = request.headers.get("content-type") == _APPLY
        answers: dict[str, Callable[[], Object]] = {
            "GET": lambda: self._get(target) if target.name else self._list(target, query),
            "POST": lambda: self._create(target, body),
            "PATCH": lambda: (
                self._apply(target, body, query) if applies else self._patch(target, body)
            ),
            "DELETE": lambda: self._delete(target),
        }
        return httpx2.Response(200, json=answers[request.method]())

    def _record(self, verb: str, target: Target, name: str | None = None) -> None:
        self.calls.append((verb, target.kind, target.name if name is None else name))
        if target.kind in self.forbidden:
            raise self._forbidding(verb, target)

    def _forbidding(self, verb: str, target: Target) -> Refusal:
        group = KINDS[target.kind].group
        where = (
            f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        )
        return Refusal(
            403,
            "Forbidden",
            f'{target.resource} is forbidden: User "jane" cannot {verb} resource '
            f'"{target.resource}" in API group "{group}" {where}',
        )

    def _get(self, target: Target) -> Object:
        self._record("get", target)
        return self._stored(target)

    def _stored(self, target: Target) -> Object:
        if target.key not in self.objects:
            plural = KINDS[target.kind].plural
            raise Refusal(404, "NotFound", f'{plural} "{target.name}" not found')
        return self.objects[target.key]

    def _list(self, target: Target, query: Mapping[str, str]) -> Object:
        self._record("list", target)
        items = [
            obj
            for obj in self.of(target.kind)
            if target.namespace in {"", obj["metadata"].get("namespace")}
            and _has_labels(obj, query.get("labelSelector", ""))
            and _has_fields(obj, query.get("fieldSelector", ""))
        ]
        return {"kind": f"{target.kind}List", "metadata": {}, "items": items}

    def _apply(self, target: Target, obj: Object, query: Mapping[str, str]) -> Object:
        dry_run = "dryRun" in query
        self._record("dry-run" if dry_run else "apply", target)
        self._require_namespace(target)
        if "force" not in query and (owned := self.owned_fields.get(target.key)):
            raise _conflict(owned)
        before = self.objects.get(target.key)
        after: Object = merged(before or {}, obj)
        if dry_run:
            return after
        self.owned_fields.pop(target.key, None)
        if before is not None and after == before:
            return before
        if before is not None and after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        return self._store(after)

    def _create(self, target: Target, obj: Object) -> Object:
        name = obj["metadata"]["name"]
        self._record("create", target, name)
        if key(obj) in self.objects:
            plural = KINDS[target.kind].plural
            raise Refusal(409, "AlreadyExists", f'{plural} "{name}" already exists')
        self._require_namespace(target)
        return self._store(obj)

    def _patch(self, target: Target, change: Object) -> Object:
        self._record("patch", target)
        before = self._stored(target)
        after: Object = merged(before, change)
        after["metadata"]["generation"] += 1
        if target.subresource != "scale":
            return self._store(after)
        # The answer is about the moment of the change: controllers act after it.
        status = {"replicas": (before.get("status") or {}).get("replicas", 0)}
        self._store(after)
        return {"kind": "Scale", "spec": {"replicas": after["spec"]["replicas"]}, "status": status}

    def _delete(self, target: Target) -> Object:
        self._record("delete", target)
        uid = self._stored(target)["metadata"]["uid"]
        del self.objects[target.key]
        self._delete_owned(uid)
        self.changed()
        return {"kind": "Status", "status": "Success", "details": {"uid": uid}}

    def _delete_owned(self, uid: str) -> None:
        for each, obj in list(self.objects.items()):
            owners = obj["metadata"].get("ownerReferences") or ()
            if any(owner["uid"] == uid for owner in owners) and each in self.objects:
                del self.objects[each]
                self._delete_owned(obj["metadata"]["uid"])

    def _store(self, obj: Object) -> Object:
        answer = copy.deepcopy(self.put(obj))
        self.changed()
        return answer

    def _require_namespace(self, target: Target) -> None:
        if target.namespace and Key("Namespace", "", target.namespace) not in self.objects:
            raise Refusal(404, "NotFound", f'namespaces "{target.namespace}" not found')

    def _log_lines(self, target: Target, query: Mapping[str, str]) -> Iterator[str]:
        if "Log" in self.forbidden:
            raise self._forbidding("get", target)
        pod, container = target.name, query.get("container", "")
        lines = self.logs.get(f"{pod}/{container}", self.logs.get(pod))
        if lines is None:
            message = f'container "{container}" in pod "{pod}" is waiting to start'
            raise Refusal(400, "BadRequest", message)
        tail = int(query.get("tailLines", 0))
        return (f"{line}\n" for line in lines[-tail if tail else 0 :])

    def _proxied(self, method: str, path: str) -> httpx2.Response:
        """Answer as the service behind the API server's proxy does."""
        self.calls.append((method, "proxy", path))
        behind = path.partition("/proxy")[2]
        answers = self.answers.get(behind) or usual_answers()[behind]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return httpx2.Response(answer.status, content=answer.body)


def merged(before: Any, change: Any) -> Any:
    """A value with another merged into it, as a merge patch does: None removes a field."""
    if not isinstance(before, dict) or not isinstance(change, dict):
        return copy.deepcopy(change)
    result = copy.deepcopy(before)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def usual_answers() -> dict[str, list[RawResponse]]:
    """The answers of a server that works."""
    chat = {"choices": [{"message": {"content": "Paris."}}]}
    return {
        "/v1/models": [RawResponse(200, json.dumps({"data": [{"id": "tiny"}]}).encode())],
        "/v1/chat/completions": [RawResponse(200, json.dumps(chat).encode())],
    }


def _has_labels(obj: Object, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    wanted = (part.partition("=") for part in selector.split(",") if part)
    return all(
        name in labels and (not equals or labels[name] == value) for name, equals, value in wanted
    )


def _has_fields(obj: Object, selector: str) -> bool:
    return all(_field(obj, path) == value for path, value in _fields(selector))


def _fields(selector: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, selector.split(",")):
        path, _, value = part.partition("=")
        yield path, value


def _field(obj: Any, path: str) -> Any:
    for name in path.split("."):
        obj = (obj or {}).get(name)
    return obj


def _conflict(owned: Mapping[str, str]) -> Refusal:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using apps/v1',
            "field": field,
        }
        for field, manager in owned.items()
    ]
    return Refusal(409, "Conflict", "Apply failed with conflicts", causes=causes)

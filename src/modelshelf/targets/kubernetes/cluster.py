"""What the verbs need of a cluster; `modelshelf.kube` has the real one, tests one in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from modelshelf.render.names import Object

Objects: TypeAlias = list[Object]  # within the class, `list` is its method


class Reply(Protocol):
    """What the API server answered to a plain request."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The body, whole."""
        ...


class Cluster(Protocol):
    """A Kubernetes API; every method may raise `TargetError`."""

    @property
    def server(self) -> str:
        """The API server's URL."""
        ...

    @property
    def context(self) -> str:
        """The context's name in the kubeconfig."""
        ...

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """An object; None where there is none."""
        ...

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str | None] | None = None,
    ) -> Objects:
        """The objects of a kind that have these labels."""
        ...

    def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Apply on the server; raises `ConflictError` for fields that others own."""
        ...

    def create(self, obj: Object) -> Object:
        """Create an object that is not there."""
        ...

    def patch(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Object:
        """Merge-patch an object or its subresource."""
        ...

    def delete(  # noqa: PLR0913 - each is one option of one request
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace: int | None = None,
        wait: bool = False,
        propagation: str = "Background",
        timeout: float = 120.0,
    ) -> bool:
        """Delete an object; whether there was one."""
        ...

    def logs(  # noqa: PLR0913 - each is one option of one request
        self,
        pod: str,
        namespace: str,
        container: str | None = None,
        *,
        follow: bool = False,
        tail: int | None = None,
        previous: bool = False,
        stamped: int | None = None,
    ) -> Iterator[str]:
        """A container's lines."""
        ...

    def events(self, namespace: str, name: str = "", *, warnings: bool = False) -> Objects:
        """The namespace's events, or those about the objects of one name; all, or warnings only."""
        ...

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Reply:
        """A plain request to the API server."""
        ...

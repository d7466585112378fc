"""The model that the benchmark pulls, and an nginx that serves it in the Hub's place.

There are two repositories of the same size: `o/four` has its weights in four files, and `o/one` in
one. nginx serves the Hub's metadata as static JSON and the files by sendfile, on three ports: as
fast as it can, slowly (50 ms to the first byte, 40 MB/s a connection), and over TLS.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from hub.content import FileContent, git_sha1, safetensors_head, sha256
from hub.tls import make_certificate
from support.nginx import Nginx, free_port

_BLOCK_BYTES = 16 * 1024 * 1024
_SLOW = "access_by_lua_block { ngx.sleep(0.05) } limit_rate 40m;"


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A file that nginx serves.

    Attributes:
        name: Its name in the repository.
        path: Its path on this machine.
        size: Bytes.
        checksum: In hex: sha256 of weights, and the git blob id of any other file.
        weights: Whether it is an LFS file.
    """

    name: str
    path: str
    size: int
    checksum: str
    weights: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """A repository that nginx serves.

    Attributes:
        repo_id: `org/name`.
        commit: 40 hex digits.
        files: All its files.
    """

    repo_id: str
    commit: str
    files: tuple[Stored, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def weights(self) -> tuple[Stored, ...]:
        """The large files."""
        return tuple(file for file in self.files if file.weights)


@dataclasses.dataclass(frozen=True, slots=True)
class Hub:
    """The models and the ports that serve them.

    Attributes:
        four: The model in four files.
        one: The model in one file.
        plain: Base URL of the fast port.
        slow: Base URL of the slow port.
        tls: Base URL of the TLS port.
        authority: PEM file that a client of the TLS port trusts.
    """

    four: Model
    one: Model
    plain: str
    slow: str
    tls: str
    authority: str


@contextlib.contextmanager
def serve(folder: str, size: int) -> Iterator[Hub]:
    """Make both models of `size` bytes of weights in a folder, and serve them during the block."""
    block = os.path.join(folder, "block")
    _random_file(block, size // 4)
    # In other processes, since the peak memory of a later child would count this process' memory.
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        four = pool.submit(_model, folder, "o/four", block, size, 4)
        one = pool.submit(_model, folder, "o/one", block, size, 1)
        models = four.result(), one.result()
    os.unlink(block)
    certificate = make_certificate(folder)
    ports = [free_port() for _ in range(3)]
    key = f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
    listens = [
        f"listen 127.0.0.1:{ports[0]};",
        f"listen 127.0.0.1:{ports[1]}; {_SLOW}",
        f"listen 127.0.0.1:{ports[2]} ssl; {key}",
    ]
    locations = "".join(_locations(folder, model) for model in models)
    http = "".join(f"server {{ {listen}\n{locations}}}\n" for listen in listens)
    with Nginx(folder, http, ports):
        plain, slow, tls = (f"127.0.0.1:{port}" for port in ports)
        yield Hub(
            *models, f"http://{plain}", f"http://{slow}", f"https://{tls}", certificate.authority
        )


def _random_file(path: str, size: int) -> None:
    with open(path, "wb") as file:
        file.writelines(
            os.urandom(min(_BLOCK_BYTES, size - at)) for at in range(0, size, _BLOCK_BYTES)
        )


def _model(folder: str, repo_id: str, block: str, size: int, parts: int) -> Model:
    home = os.path.join(folder, repo_id.replace("/", "-"))
    os.mkdir(home)
    names = [f"model-{n + 1:05}-of-{parts:05}.safetensors" for n in range(parts)]
    names = names if parts > 1 else ["model.safetensors"]
    for n, name in enumerate(names):
        _weights(os.path.join(home, name), block, size // parts, n)
    small: dict[str, Any] = {"config.json": {"architectures": ["LlamaForCausalLM"]}}
    if parts > 1:
        where = {f"part{n}.weight": name for n, name in enumerate(names)}
        index = {"metadata": {"total_size": size}, "weight_map": where}
        small["model.safetensors.index.json"] = index
    for name, value in small.items():
        with open(os.path.join(home, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
    files = tuple(_stored(home, name, weights=name in names) for name in (*names, *small))
    state = repr([(file.name, file.checksum) for file in files]).encode()
    return Model(repo_id, hashlib.sha256(state).hexdigest()[:40], files)


def _weights(path: str, block: str, size: int, part: int) -> None:
    """Write a safetensors file of the random block, begun at another offset for each part."""
    with open(block, "rb", buffering=0) as source, open(path, "wb", buffering=0) as file:
        head = safetensors_head(size, f"part{part}.weight")
        file.write(head)
        remaining, position = size - len(head), part * 1_000_003
        length = os.stat(block).st_size
        while remaining:
            offset = position % length
            data = os.pread(source.fileno(), min(_BLOCK_BYTES, length - offset, remaining), offset)
            file.write(data)
            remaining -= len(data)
            position += len(data)


def _stored(home: str, name: str, *, weights: bool) -> Stored:
    path = os.path.join(home, name)
    content = FileContent(path)
    checksum = sha256(content) if weights else git_sha1(content)
    return Stored(name, path, content.size, checksum, weights)


def _locations(folder: str, model: Model) -> str:
    """The nginx locations of a repository: two JSON documents, and each file with its headers."""
    info = {
        "_id": "0" * 24,
        "id": model.repo_id,
        "modelId": model.repo_id,
        "sha": model.commit,
        "private": False,
        "tags": [],
        "siblings": [{"rfilename": file.name} for file in model.files],
    }
    described = _write_json(folder, f"{model.commit}.info.json", info)
    listed = _write_json(folder, f"{model.commit}.tree.json", [_row(f) for f in model.files])
    api = f"/api/models/{model.repo_id}"
    json_type = "types { } default_type application/json;"
    lines = [
        f"location = {api}/revision/{rev} {{ {json_type} alias {described}; }}\n"
        f"location = {api}/tree/{rev} {{ {json_type} alias {listed}; }}"
        for rev in ("main", model.commit)
    ]
    for file in model.files:
        linked = f"add_header X-Linked-ETag '\"{file.checksum}\"'; "
        linked += f"add_header X-Linked-Size {file.size};"
        lines.append(
            f"location = /{model.repo_id}/resolve/{model.commit}/{file.name} {{"
            f" types {{ }} default_type application/octet-stream; alias {file.path}; etag off;"
            f" add_header ETag '\"{file.checksum}\"'; add_header X-Repo-Commit {model.commit};"
            f" {linked if file.weights else ''} }}"
        )
    return "\n".join(lines) + "\n"


def _row(file: Stored) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "path": file.name, "size": file.size}
    if file.weights:
        lfs = {"oid": file.checksum, "size": file.size, "pointerSize": 134}
        return row | {"oid": file.checksum[:40], "lfs": lfs}
    return row | {"oid": file.checksum}


def _write_json(folder: str, name: str, value: object) -> str:
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)
    return path

"""`modelshelf init`: a first modelshelf.yaml."""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated

import typer

from modelshelf.cli.verb import FileRun, file_verb
from modelshelf.config.file import parse
from modelshelf.config.starter_file import StarterFile, model_key, server_key
from modelshelf.config.text_checks import parse_mount_source
from modelshelf.shelf.errors import NotWritableError, UsageError

_BARE = re.compile(r"[\w.-]+/[\w.-]+(@\S+)?")
_KINDS = "--nfs, --claim, --storage-class or --host-path"
Shelf = dict[str, str | dict[str, str]]


@file_verb
def init(  # noqa: PLR0913 - one for each option
    run: FileRun,
    *,
    nfs: Annotated[
        str | None,
        typer.Option("--nfs", metavar="HOST:/PATH", help="The NFS share, as its Mount Source."),
    ] = None,
    claim: Annotated[
        str | None,
        typer.Option("--claim", metavar="NAME", help="An existing PersistentVolumeClaim."),
    ] = None,
    storage_class: Annotated[
        str | None,
        typer.Option("--storage-class", metavar="NAME", help="A StorageClass that creates shares."),
    ] = None,
    host_path: Annotated[
        str | None,
        typer.Option(
            "--host-path", metavar="PATH", help="A folder of the node, for a cluster of one node."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIZE", help="The size of the share, such as 100Gi."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="hf://ORG/NAME[@REVISION]", help="The model to serve."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="The files to choose, such as one quantisation of a GGUF; may be repeated.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="ENGINE", help="The engine: vllm, or llamacpp for GGUF."),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", metavar="N", min=0, help="The number of GPUs of each pod."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", metavar="NAME", help="The namespace to serve it in.")
    ] = "llm",
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The name of the server.")
    ] = None,
) -> None:
    """Write a first modelshelf.yaml with one model and one server.

    Comments in the file show what else can be set. On a terminal, init asks for values that are
    missing. It never overwrites a file.
    """
    if os.path.lexists(run.file):
        raise _exists(run.file)
    places = {"nfs": nfs, "claim": claim, "storageClass": storage_class, "hostPath": host_path}
    shelf = _shelf(run, {kind: place for kind, place in places.items() if place}, size)
    source = model or _ask(run, "The model, such as hf://org/name", "--model hf://org/name")
    source = f"hf://{source}" if _BARE.fullmatch(source) else source
    engine = engine or ("llamacpp" if "gguf" in source.lower() else "vllm")
    if engine not in ("vllm", "llamacpp"):
        raise UsageError(
            f"init knows nothing of the engine {engine!r}",
            hint="--engine vllm or llamacpp; any other becomes engine: custom in the file, with "
            "an image and a command",
        )
    gpus = (1 if engine == "vllm" else 0) if gpus is None else gpus
    key = model_key(source)
    server = name or server_key(key)
    globs = tuple(include or ())
    # The Jobs do not see this environment: without the file they would ask another Hub than lock.
    endpoint = os.environ.get("HF_ENDPOINT") or None
    draft = StarterFile(shelf, source, key, server, namespace, engine, gpus, globs, endpoint)
    text = draft.text()
    parse(text, run.file)
    _write(run.file, text)
    run.output.document({"file": run.file, "model": key, "server": server})
    run.output.note(f"wrote {run.file}; look at it, then run modelshelf up")


def _shelf(run: FileRun, given: dict[str, str], size: str | None) -> Shelf:
    """The value of `shelf` in the file."""
    if len(given) > 1:
        raise UsageError(f"files lie in one place: give one of {_KINDS}")
    if not given:
        question = "The NFS share's Mount Source, HOST:/PATH"
        given = {"nfs": _ask(run, question, f"one of {_KINDS}")}
    ((kind, place),) = given.items()
    if kind == "storageClass" and size is None:
        size = _ask(run, "How large a volume to ask for, such as 100Gi", "--size 100Gi")
    sized = {} if size is None else {"size": size}
    match kind:
        case "nfs":
            server, path = parse_mount_source(place)
            return {"nfs": {"server": server, "path": path, **sized}}
        case "claim":
            if size is not None:
                raise UsageError("a claim says itself how large it is: leave out --size")
            return {"claim": place}
        case "storageClass":
            return {"storageClass": {"name": place, **sized}}
    return {"hostPath": {"path": place, **sized}}


def _ask(run: FileRun, question: str, option: str) -> str:
    """Ask the user for a value; without a terminal, raise an error that names its option."""
    if run.output.json or not sys.stdin.isatty():
        raise UsageError("init was not told everything", hint=f"give {option}")
    return str(typer.prompt(question, err=True)).strip()


def _write(path: str, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise NotWritableError(f"{path} cannot be written: {error.strerror}") from error


def _exists(path: str) -> UsageError:
    return UsageError(
        f"there is a {path} already", hint="edit it, or write another one: --file FILE"
    )

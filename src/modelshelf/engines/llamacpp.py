"""llama.cpp, embedded as xllamacpp: serves one GGUF model with llama.cpp's own HTTP server."""

from __future__ import annotations

import os
import sys

from modelshelf.core.errors import NotOnShelfError
from modelshelf.core.model import Snapshot
from modelshelf.engines.spec import ServeOptions, ServerSpec
from modelshelf.select import servable
from modelshelf.select.gguf import choose_projector, quantisations

NEEDS = "xllamacpp"


def accepts(snapshot: Snapshot) -> bool:
    """Whether a snapshot holds exactly one GGUF model with all its parts."""
    return servable(snapshot.files, "llamacpp")


def spec(snapshot: Snapshot, path: str, options: ServeOptions) -> ServerSpec:
    """The process that serves a snapshot whose folder the engine sees at `path`.

    Raises:
        NotOnShelfError: The snapshot does not hold exactly one whole GGUF model.
    """
    if not accepts(snapshot):
        raise NotOnShelfError(
            f"{snapshot.repo_id}@{snapshot.id} does not hold exactly one whole GGUF model, "
            "which is what llama.cpp serves",
            hint=f"modelshelf pull {snapshot.source} --for llamacpp",
        )
    model = quantisations(snapshot.files)[0]
    projector = choose_projector(snapshot.files, model)
    name = options.name or snapshot.repo_id
    argv = [sys.executable, "-P", "-m", "modelshelf.engines.llamacpp_server"]
    # Of a split model llama.cpp takes the first part and finds the others beside it.
    argv += ["--model", os.path.join(path, model.files[0].path)]
    if projector:
        argv += ["--projector", os.path.join(path, projector.path)]
    argv += ["--name", name, "--host", options.host, "--port", str(options.port)]
    if options.context_length is not None:
        argv += ["--context-length", str(options.context_length)]
    argv += ["--parallel", str(options.parallel), "--threads", str(options.threads)]
    return ServerSpec(
        argv=(*argv, *options.extra), port=options.port, health_path="/health", model=name
    )

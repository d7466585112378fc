"""Choosing files: the engine's usual choice, narrowed by globs, judged by policy. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

from modelshelf.select.code import Code, code_named
from modelshelf.select.gguf import matches, quantisations
from modelshelf.select.kinds import (
    Kind,
    is_config,
    is_copy,
    is_pickled_weights,
    is_refused,
    kind_of,
)
from modelshelf.select.layouts import (
    ENGINES,
    Choice,
    everything,
    for_llamacpp,
    for_vllm,
    guessed_engine,
    reason_of,
)
from modelshelf.select.weights import missing_part, weight_sets
from modelshelf.shelf.errors import NotFoundError, RefusedError, UsageError
from modelshelf.shelf.values import File, LeftOut

EXCLUDED = "left out by --exclude"
NOT_INCLUDED = "not named by --include"
_UNSAFE = "--allow-unsafe takes it all the same, if you trust its author with this machine"


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """The files of a repository that a snapshot will hold.

    Attributes:
        files: Chosen, sorted by path.
        left_out: The others, counted by reason, the most bytes first.
        engine: Whom they were chosen for: `vllm` or `llamacpp`.
    """

    files: tuple[File, ...]
    left_out: tuple[LeftOut, ...]
    engine: str


def needed_texts(files: Sequence[File]) -> tuple[str, ...]:
    """The files whose text `choose` must be given: indexes of weights, and configurations."""
    return tuple(
        sorted(
            file.path
            for file in files
            if not is_copy(file.path) and (kind_of(file.path) is Kind.INDEX or is_config(file.path))
        )
    )


def choose(  # noqa: PLR0913  # each is one option of `pull`
    files: Sequence[File],
    texts: Mapping[str, str],
    *,
    engine: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    all_files: bool = False,
    allow_unsafe: bool = False,
) -> Selection:
    """Choose the files that an engine needs.

    Globs fit whole paths, as huggingface_hub's patterns do. What `exclude` fits is treated as if
    the repository did not have it. For vllm, each glob of `include` picks from the usual choice,
    and only those files are taken; a glob that fits nothing there picks from everything that
    policy allows. For llamacpp a glob chooses the quantisation or the projector; other files that
    it fits are added.

    Pickles and code are never chosen unless weights or an `auto_map` need them, which is refused
    without `allow_unsafe`. With it, needed pickles are taken, and every Python file where an
    `auto_map` names one, since modules import each other. Code of another repository
    (`org/name--module.Class`) is never taken: without it the model runs only in an engine that
    knows its kind by itself.

    Args:
        files: All files of the repository.
        texts: Path → text, for what `needed_texts` names.
        engine: `vllm` or `llamacpp`; None for llamacpp where there is GGUF and no safetensors,
            and vllm otherwise.
        include: Globs that narrow the choice.
        exclude: Globs of files that are left out whatever they are.
        all_files: Take everything that policy allows.
        allow_unsafe: Allow pickles and code.

    Raises:
        UsageError: The engine is unknown, or one of several quantisations must be chosen.
        NotFoundError: There are no weights for the engine, a part of them is missing, or a glob
            of `include` fits nothing.
        RefusedError: What was chosen needs a pickle or code; an index names a file elsewhere.
        IntegrityError: An index or a configuration cannot be read.
    """
    pool = [file for file in files if not matches(file.path, exclude)]
    engine = engine or guessed_engine(pool)
    if engine not in ENGINES:
        raise UsageError(
            f"no engine is called {engine!r}", hint=f"choose one of {', '.join(ENGINES)}"
        )
    usual = _usual(pool, texts, engine, include, all_files=all_files, allow_unsafe=allow_unsafe)
    if usual.problem and not include:
        if exclude:
            usual.problem.hint = f"see what --exclude leaves out; {usual.problem.hint}"
        raise usual.problem
    paths = set(usual.paths)
    if include:
        picked = _picked(pool, usual, include, allow_unsafe=allow_unsafe)
        paths = picked if engine == "vllm" or all_files else paths | picked
        _refuse_parts(paths, pool, texts)
    code = code_named({p: texts.get(p, "") for p in paths if is_config(p) and not is_copy(p)})
    if not allow_unsafe:
        _refuse_unsafe(paths, code)
    elif code:
        paths |= {file.path for file in pool if file.path.endswith(".py")}
    if not paths:
        raise NotFoundError("nothing is left to pull", hint="see what --exclude leaves out")
    left = _left_out(files, paths, usual, exclude)
    return Selection(
        files=tuple(sorted((f for f in pool if f.path in paths), key=lambda f: f.path)),
        left_out=left,
        engine=engine,
    )


def servable(files: Sequence[File], engine: str) -> bool:
    """Whether an engine could serve a snapshot with these files; judged by names alone.

    vllm needs weights and the configuration of their layout in the top folder, with all numbered
    parts; llamacpp needs exactly one whole GGUF model.
    """
    if engine == "llamacpp":
        models = quantisations(files)
        return len(models) == 1 and not models[0].missing
    if engine != "vllm":
        return False
    names = {file.path for file in files if "/" not in file.path}
    weights = {n for n in names if kind_of(n) is Kind.SAFETENSORS or is_pickled_weights(n)}
    mistral = {name for name in weights if name.startswith("consolidated")}
    native = weights - mistral
    if "config.json" in names and native:
        return not missing_part(native)
    return "params.json" in names and bool(mistral) and not missing_part(mistral)


def _usual(  # noqa: PLR0913  # see choose
    pool: Sequence[File],
    texts: Mapping[str, str],
    engine: str,
    include: Sequence[str],
    *,
    all_files: bool,
    allow_unsafe: bool,
) -> Choice:
    if engine == "llamacpp":
        if not all_files:
            return for_llamacpp(pool, include)
        return everything(pool, Choice(frozenset(), {}), allow_unsafe=allow_unsafe)
    usual = for_vllm(pool, texts)
    return everything(pool, usual, allow_unsafe=allow_unsafe) if all_files else usual


def _picked(
    pool: Sequence[File], usual: Choice, include: Sequence[str], *, allow_unsafe: bool
) -> set[str]:
    picked: set[str] = set()
    for glob in include:
        fits = {file.path for file in pool if matches(file.path, [glob])}
        if not fits:
            raise _nothing_fits(glob, pool)
        allowed = {path for path in fits if allow_unsafe or not is_refused(path)}
        if not allowed:
            raise _refused(min(fits), f"--include {glob!r} asks for it alone")
        picked |= fits & usual.paths or allowed
    return picked


def _nothing_fits(glob: str, pool: Sequence[File]) -> NotFoundError:
    paths = sorted(file.path for file in pool)
    near = [path for path in paths if matches(path.lower(), [glob.lower()])]
    if not near:
        words = {os.path.basename(path).lower(): path for path in paths}
        close = difflib.get_close_matches(glob.strip("*").lower(), words, n=5, cutoff=0.4)
        near = [words[word] for word in close]
    near = near or paths
    more = ", …" if len(near) > 5 else ""  # noqa: PLR2004  # as many as fit a line
    return NotFoundError(
        f"no file fits --include {glob!r}",
        hint=f"capital letters count; near it are: {', '.join(near[:5])}{more}",
    )


def _refuse_parts(paths: set[str], pool: Sequence[File], texts: Mapping[str, str]) -> None:
    """Refuse globs that fit some parts of a set of weights and not the others."""
    folders: dict[str, set[str]] = defaultdict(set)
    for file in pool:
        if not is_copy(file.path):
            folders[os.path.dirname(file.path)].add(file.path)
    for members in folders.values():
        for weights in weight_sets(members, texts):
            parts = {path for path in weights.paths if kind_of(path) is not Kind.INDEX}
            lacking = weights.missing or min(parts - paths, default="")
            if parts & paths and lacking:
                raise NotFoundError(
                    f"--include takes only a part of the weights {weights.name}: {lacking} is "
                    "not among what it fits",
                    hint="widen it until it fits all parts",
                )


def _refuse_unsafe(paths: set[str], code: tuple[Code, ...]) -> None:
    for path in sorted(p for p in paths if is_refused(p)):
        raise _refused(path, "the weights are not to be had without it")
    for named in code:
        where = f", code of another repository, {named.repo}" if named.repo else ""
        raise _refused(f"{named.file}{where}", f"{named.config} has it run (auto_map)")


def _refused(what: str, why: str) -> RefusedError:
    end = os.path.splitext(what)[1]
    does = "may run code when it is read" if end in (".bin", ".pt", ".pth", ".ckpt") else "is code"
    return RefusedError(f"{what} {does}, and {why}", hint=_UNSAFE)


def _left_out(
    files: Sequence[File], paths: set[str], usual: Choice, exclude: Sequence[str]
) -> tuple[LeftOut, ...]:
    groups: dict[str, list[int]] = defaultdict(list)
    for file in files:
        if file.path in paths:
            continue
        if matches(file.path, exclude):
            reason = EXCLUDED
        elif file.path in usual.paths:
            reason = NOT_INCLUDED
        else:
            reason = usual.left.get(file.path) or reason_of(file.path)
        groups[reason].append(file.size)
    counted = [LeftOut(reason, len(sizes), sum(sizes)) for reason, sizes in groups.items()]
    return tuple(sorted(counted, key=lambda left: (-left.bytes, left.reason)))

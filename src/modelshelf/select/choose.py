"""Choosing files: an engine's default choice, narrowed by globs and judged by policy. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence

from modelshelf.select.auto_map import AutoMapCode, find_auto_map_code
from modelshelf.select.engine_choice import (
    ENGINES,
    PIPELINE,
    EngineChoice,
    choose_all_files,
    choose_for_llamacpp,
    choose_for_vllm,
    guess_engine,
    reason_for_kind,
)
from modelshelf.select.file_kinds import (
    Kind,
    is_config,
    is_copy,
    is_legal,
    is_pickled_weights,
    is_refused,
    kind_of,
)
from modelshelf.select.quantisations import find_quantisations, matches
from modelshelf.select.weights import missing_part, weight_sets
from modelshelf.shelf import layout
from modelshelf.shelf.errors import NotFoundError, RefusedError, UsageError
from modelshelf.shelf.values import File, LeftOut

EXCLUDED = "left out by --exclude"
NOT_INCLUDED = "not named by --include"
UNUSABLE_NAME = "texts with names that some systems do not allow"
_UNSAFE = "--allow-unsafe takes it anyway, if you trust its author with this machine"
_MAX_SIMILAR = 5  # as many paths as fit a line


@dataclasses.dataclass(frozen=True, slots=True)
class SelectedFiles:
    """The files of a repository that a snapshot will hold.

    Attributes:
        files: The chosen files, sorted by path.
        left_out: The other files, counted by reason; the reason with the most bytes comes first.
        engine: The engine that the files were chosen for: `vllm` or `llamacpp`.
    """

    files: tuple[File, ...]
    left_out: tuple[LeftOut, ...]
    engine: str


def needed_texts(files: Sequence[File], exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """List the files whose texts `choose` needs.

    These are indexes of weights, configurations that may name code, and the list of a pipeline's
    components.

    Args:
        files: All files of the repository.
        exclude: Globs of the files to leave out; these are not needed.
    """
    return tuple(
        sorted(
            file.path
            for file in files
            if not is_copy(file.path)
            and (kind_of(file.path) is Kind.INDEX or is_config(file.path) or file.path == PIPELINE)
            and not matches(file.path, exclude)
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
) -> SelectedFiles:
    """Choose the files that an engine needs.

    Globs match whole paths, as huggingface_hub's patterns do. Files that `exclude` matches are
    treated as if the repository did not have them. For vllm, each glob of `include` picks from the
    engine's default choice, and only the picked files are taken; a glob that matches nothing there
    picks from all files that policy allows. For llamacpp, a glob chooses the quantisation or the
    projector, and other files that it matches are added.

    Pickles and code are chosen only if weights or an `auto_map` need them, and then they are
    refused without `allow_unsafe`. Code is not needed if vLLM implements the classes itself, or if
    `exclude` leaves it out. With `allow_unsafe`, the needed pickles are taken, small pickles beside
    the weights, and all Python files if an `auto_map` names one of them, because modules import
    each other. Code of another repository (`org/name--module.Class`) is never taken. Without that
    code only an engine that implements the model itself can run it.

    Texts that nothing needs are left out if some systems do not allow their names.

    Args:
        files: All files of the repository.
        texts: Path → text of each file that `needed_texts` lists.
        engine: `vllm` or `llamacpp`. None means llamacpp if there is GGUF and no safetensors, and
            vllm otherwise.
        include: Globs of the files to take.
        exclude: Globs of the files to leave out.
        all_files: Take all files that policy allows.
        allow_unsafe: Allow pickles and code.

    Raises:
        UsageError: The engine is unknown, or `include` must name one of several quantisations.
        NotFoundError: There are no weights for the engine, a part of them is missing, or a glob
            of `include` matches nothing.
        RefusedError: The chosen files need a pickle or code, or an index names a file outside its
            folder.
        IntegrityError: An index or a configuration cannot be read.
    """
    pool = [file for file in files if not matches(file.path, exclude)]
    engine = engine or guess_engine(pool)
    if engine not in ENGINES:
        raise UsageError(
            f"no engine is called {engine!r}", hint=f"choose one of {', '.join(ENGINES)}"
        )
    default = _default_choice(
        pool, texts, engine, include, all_files=all_files, allow_unsafe=allow_unsafe
    )
    if default.problem and not include:
        if exclude:
            default.problem.hint = f"see what --exclude leaves out; {default.problem.hint}"
        raise default.problem
    paths = set(default.paths)
    if include:
        picked = _pick_included(pool, default, include, allow_unsafe=allow_unsafe)
        paths = picked if engine == "vllm" or all_files else paths | picked
        _refuse_incomplete_sets(paths, pool, texts)
    code = find_auto_map_code(
        {path: texts.get(path, "") for path in paths if is_config(path) and not is_copy(path)}
    )
    if not allow_unsafe:
        _refuse_unsafe(paths, code, exclude)
    elif code.files:
        paths |= {file.path for file in pool if file.path.endswith(".py")}
    paths = _without_unusable_texts(paths)
    if not paths:
        raise NotFoundError("nothing is left to pull", hint="see what --exclude leaves out")
    return SelectedFiles(
        files=tuple(sorted((f for f in pool if f.path in paths), key=lambda f: f.path)),
        left_out=_count_left_out(files, paths, default, include, exclude),
        engine=engine,
    )


def servable(files: Sequence[File], engine: str) -> bool:
    """Whether an engine could serve a snapshot with these files, judged by their names alone.

    vllm needs weights with all their numbered parts in the top folder, and the configuration that
    belongs to their layout. llamacpp needs exactly one complete GGUF model.
    """
    if engine == "llamacpp":
        models = find_quantisations(files)
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


def _default_choice(  # noqa: PLR0913  # see choose
    pool: Sequence[File],
    texts: Mapping[str, str],
    engine: str,
    include: Sequence[str],
    *,
    all_files: bool,
    allow_unsafe: bool,
) -> EngineChoice:
    if engine == "llamacpp":
        if not all_files:
            return choose_for_llamacpp(pool, include)
        nothing = EngineChoice(frozenset(), {})
        return choose_all_files(pool, nothing, allow_unsafe=allow_unsafe)
    default = choose_for_vllm(pool, texts, allow_unsafe=allow_unsafe)
    return choose_all_files(pool, default, allow_unsafe=allow_unsafe) if all_files else default


def _pick_included(
    pool: Sequence[File], default: EngineChoice, include: Sequence[str], *, allow_unsafe: bool
) -> set[str]:
    picked: set[str] = set()
    for glob in include:
        matching = {file.path for file in pool if matches(file.path, [glob])}
        if not matching:
            raise _nothing_matches(glob, pool)
        allowed = {path for path in matching if allow_unsafe or not is_refused(path)}
        if not allowed:
            raise _refusal(min(matching), f"--include {glob!r} asks for nothing else")
        picked |= matching & default.paths or allowed
    return picked


def _nothing_matches(glob: str, pool: Sequence[File]) -> NotFoundError:
    paths = sorted(file.path for file in pool)
    similar = [path for path in paths if matches(path.lower(), [glob.lower()])]
    if not similar:
        names = {os.path.basename(path).lower(): path for path in paths}
        close = difflib.get_close_matches(glob.strip("*").lower(), names, n=5, cutoff=0.4)
        similar = [names[name] for name in close]
    similar = similar or paths
    more = ", …" if len(similar) > _MAX_SIMILAR else ""
    return NotFoundError(
        f"no file matches --include {glob!r}",
        hint=f"capital letters count; similar files are: {', '.join(similar[:_MAX_SIMILAR])}{more}",
    )


def _refuse_incomplete_sets(
    paths: set[str], pool: Sequence[File], texts: Mapping[str, str]
) -> None:
    """Refuse globs that match some parts of a set of weights and not the others."""
    folders: dict[str, set[str]] = defaultdict(set)
    for file in pool:
        if not is_copy(file.path):
            folders[os.path.dirname(file.path)].add(file.path)
    for members in folders.values():
        for weights in weight_sets(members, texts):
            parts = {path for path in weights.paths if kind_of(path) is not Kind.INDEX}
            missing = weights.missing or min(parts - paths, default="")
            if parts & paths and missing:
                raise NotFoundError(
                    f"--include takes only some parts of the weights {weights.name}: {missing} is "
                    "not among the files that it matches",
                    hint="widen it until it matches all parts",
                )


def _refuse_unsafe(paths: set[str], code: AutoMapCode, exclude: Sequence[str]) -> None:
    for path in sorted(p for p in paths if is_refused(p)):
        raise _refusal(path, "the weights cannot be taken without it")
    for code_file in code.required:
        if not code_file.repo and matches(code_file.path, exclude):
            continue
        origin = f", code of another repository, {code_file.repo}" if code_file.repo else ""
        raise _refusal(f"{code_file.file}{origin}", f"{code_file.config} asks to run it (auto_map)")


def _without_unusable_texts(paths: set[str]) -> set[str]:
    """Leave out texts whose names some systems do not allow, or take for the name of another file.

    Engines read no file with such a name. Of two names that some systems take for one, a file that
    an engine may read comes before a licence or a README.
    """
    ordered = sorted(paths, key=lambda path: (kind_of(path) is Kind.TEXT, is_legal(path), path))
    usable = layout.usable_names(ordered)
    return {p for p in paths if p in usable or kind_of(p) is not Kind.TEXT or is_config(p)}


def _refusal(file: str, reason: str) -> RefusedError:
    ending = os.path.splitext(file)[1]
    is_pickle = ending in (".bin", ".pt", ".pth", ".ckpt")
    danger = "may run code when it is read" if is_pickle else "is code"
    return RefusedError(f"{file} {danger}, and {reason}", hint=_UNSAFE)


def _count_left_out(
    files: Sequence[File],
    paths: set[str],
    default: EngineChoice,
    include: Sequence[str],
    exclude: Sequence[str],
) -> tuple[LeftOut, ...]:
    sizes_by_reason: dict[str, list[int]] = defaultdict(list)
    for file in files:
        if file.path in paths:
            continue
        if matches(file.path, exclude):
            reason = EXCLUDED
        elif file.path in default.paths:
            reason = NOT_INCLUDED if include else UNUSABLE_NAME
        else:
            reason = default.reasons.get(file.path) or reason_for_kind(file.path)
        sizes_by_reason[reason].append(file.size)
    groups = [LeftOut(reason, len(sizes), sum(sizes)) for reason, sizes in sizes_by_reason.items()]
    return tuple(sorted(groups, key=lambda group: (-group.bytes, group.reason)))

"""The list of verbs: what it says, and what it imports."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import modelshelf.cli
from modelshelf.cli.main import BENCH, COMMANDS, main

HEAVY = (
    "httpx2",
    "huggingface_hub",
    "lightkube",
    "pydantic",
    "rich",
    "starlette",
    "uvicorn",
    "yaml",
    "modelshelf.config",
    "modelshelf.engines",
    "modelshelf.kube",
    "modelshelf.mirror",
    "modelshelf.targets",
)


def imported_by(program: str) -> list[str]:
    """The heavy packages that a fresh interpreter has imported after a program."""
    code = f"{program}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    ("name", "module", "summary"),
    [(name, *entry) for name, entry in {**COMMANDS, **BENCH}.items()],
    ids=[*COMMANDS, *BENCH],
)
def test_the_table_says_what_the_module_says(name: str, module: str, summary: str) -> None:
    """A verb's module has a function with its name, whose help begins with the summary."""
    function = getattr(importlib.import_module(module), name)
    first, _, _ = (inspect.getdoc(function) or "").partition("\n\n")
    assert " ".join(first.split()) == summary
    assert summary[0].isupper()
    assert summary.endswith(".")


def test_every_verb_is_in_the_table() -> None:
    """A module that has a function with its own name is a verb, and no verb is forgotten."""
    verbs = set()
    for found in pkgutil.iter_modules(modelshelf.cli.__path__):
        module = importlib.import_module(f"modelshelf.cli.{found.name}")
        function = getattr(module, found.name, None)
        if inspect.isfunction(function) and hasattr(function, "__signature__"):
            verbs.add(found.name)
    assert verbs == set(COMMANDS)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_list_has_each_summary_whole(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Summaries are wrapped on a narrow terminal, and never cut off."""
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert [name for name, (_, text) in COMMANDS.items() if f"{name} {text}" not in printed] == []


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing_heavy(option: str) -> None:
    """The list of verbs needs no verb's module, and so none of the packages behind them."""
    assert imported_by(f"from modelshelf.cli.main import main; main(['{option}'])") == []


def test_a_group_within_the_list_imports_no_module_of_ours() -> None:
    """`modelshelf bench --help` needs no verb's module; typer itself parses with pydantic."""
    program = "from modelshelf.cli.main import main; main(['bench', '--help'])"
    assert set(imported_by(program)) <= {"pydantic"}


def test_completing_a_verb_imports_no_module_of_ours() -> None:
    """A shell that completes a verb's name needs no verb's module."""
    program = (
        "import os\n"
        "os.environ |= {'_MODELSHELF_COMPLETE': 'complete_bash', 'COMP_CWORD': '1',\n"
        "               'COMP_WORDS': 'modelshelf sc'}\n"
        "from modelshelf.cli.main import main\n"
        "main([])"
    )
    assert set(imported_by(program)) <= {"pydantic"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("modelshelf s", ["show", "serve", "status", "scale"]),
        ("modelshelf scale --t", ["--timeout"]),
        ("modelshelf bench c", ["coldstart"]),
        ("modelshelf bench coldstart --ch", ["--chart"]),
    ],
)
def test_a_shell_completes_verbs_and_their_options(
    words: str,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Completion knows the verbs from the table, and a verb's options from its module."""
    monkeypatch.setenv("_MODELSHELF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert main([]) == 0
    assert capsys.readouterr().out.split() == expected


def test_an_unknown_verb_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt verb exits with 2 and names the verb that was probably meant."""
    assert main(["stauts"]) == 2
    assert "Did you mean 'status'?" in capsys.readouterr().err

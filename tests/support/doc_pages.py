"""Reads the `console` blocks of the documentation and runs their commands."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

ROOT = pathlib.Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(p for p in ROOT.joinpath("docs").rglob("*.md") if BLOCK.search(p.read_text()))
ON_A_CLUSTER = ROOT / "docs/tutorial/kubernetes.md"
_HERE = "<<'END'"
END = "--- end of output ---"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command after `$`, and its expected output, in which `…` stands for any text of a line."""

    line: str
    expected: str

    def fits(self, output: str) -> bool:
        """Whether an output is as expected; a line with `…` alone stands for any lines."""
        pattern = "".join(_pattern(line) for line in self.expected.splitlines())
        return re.fullmatch(pattern, output) is not None


def _pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    return re.escape(line).replace("…", ".*?") + r"\n"


def commands(page: pathlib.Path) -> list[Command]:
    """Read the commands of a page, in order."""
    found = []
    for block in BLOCK.findall(page.read_text()):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            line, _, expected = part.partition("\n")
            if line.endswith(_HERE):
                text, _, expected = expected.partition("END\n")
                line = f"{line}\n{text}END"
            found.append(Command(line, expected))
    return found


def check(page: pathlib.Path, env: dict[str, str], folder: pathlib.Path, seconds: float) -> None:
    """Run a page's commands by one shell, and check that they print what the page says."""
    for command, output in walk(page, env, folder, seconds):
        assert command.fits(output), f"$ {command.line}\n{output}"


def walk(
    page: pathlib.Path, env: dict[str, str], folder: pathlib.Path, seconds: float
) -> Iterator[tuple[Command, str]]:
    """Run a page's commands by one shell, one for each step of the iterator; yield its output."""
    with subprocess.Popen(
        ["bash"],
        env=env,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        deadline = threading.Timer(seconds, shell.kill)
        deadline.start()
        try:
            for command in commands(page):
                shell.stdin.write(f"{command.line}\necho '{END}'\n")
                shell.stdin.flush()
                yield command, _printed(shell.stdout)
        finally:
            deadline.cancel()
            shell.kill()


def _printed(output: IO[str]) -> str:
    """Read what a command prints up to the line that ends its output."""
    lines: list[str] = []
    for line in output:
        if line == f"{END}\n":
            return "".join(lines)
        lines.append(line)
    raise AssertionError(f"the shell ended too early, after {''.join(lines)}")

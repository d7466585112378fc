"""The `console` blocks of the documentation, and how their commands are run."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(p for p in ROOT.joinpath("docs").rglob("*.md") if BLOCK.search(p.read_text()))
ON_A_CLUSTER = ROOT / "docs/tutorial/kubernetes.md"
_HERE = "<<'END'"
END = "--- end of output ---"


@dataclasses.dataclass(frozen=True)
class Command:
    """A line after `$`, and what should be printed; `…` stands for anything on one line."""

    line: str
    expected: str

    def fits(self, output: str) -> bool:
        """Whether an output is the expected one; a line of `…` alone stands for any lines."""
        pattern = "".join(_pattern(line) for line in self.expected.splitlines())
        return re.fullmatch(pattern, output) is not None


def _pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    return re.escape(line).replace("…", ".*?") + r"\n"


def commands(page: pathlib.Path) -> list[Command]:
    """The commands of a page, in order."""
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
    """Run a page's commands by one shell; what they print is what the page says they print."""
    expected = commands(page)
    printed = run([command.line for command in expected], env, folder, seconds)
    assert len(printed) == len(expected)
    for command, output in zip(expected, printed, strict=True):
        assert command.fits(output), f"$ {command.line}\n{output}"


def run(lines: list[str], env: dict[str, str], folder: pathlib.Path, seconds: float) -> list[str]:
    """The output of each line, all run by one shell."""
    script = "".join(f"{line}\necho '{END}'\n" for line in lines)
    done = subprocess.run(
        ["bash", "-c", script],
        env=env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
    return done.stdout.split(f"{END}\n")[:-1]

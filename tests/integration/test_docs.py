"""Every `console` block of the documentation, run as it stands."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import pytest
from hub import Content, Hub, safetensors

ROOT = pathlib.Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(p for p in ROOT.joinpath("docs").rglob("*.md") if BLOCK.search(p.read_text()))
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
            found.append(Command(line, expected))
    return found


def run(lines: list[str], env: dict[str, str], folder: pathlib.Path) -> list[str]:
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
        timeout=100,
    )
    return done.stdout.split(f"{END}\n")[:-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What a page's commands print is what the page says they print."""
    files: dict[str, bytes | Content] = {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b"{}",
        "README.md": b"# name\n",
        "model.safetensors": safetensors(100_000),
        "logo.png": b"\x89PNG",
    }
    with Hub() as hub:
        hub.add("org/name", files, lfs={"model.safetensors"})
        env = {
            "HOME": str(tmp_path),
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_ENDPOINT": hub.url,
        }
        expected = commands(page)
        printed = run([command.line for command in expected], env, tmp_path)
    assert len(printed) == len(expected)
    for command, output in zip(expected, printed, strict=True):
        assert command.fits(output), f"$ {command.line}\n{output}"

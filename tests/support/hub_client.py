"""The real huggingface_hub, run against a server of the Hub's protocol.

The client reads its environment when it is imported, so each use of it is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PRELUDE = """
import json, sys
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url
api = HfApi()
def name(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
"""


def client_environment(url: str, home: Path) -> dict[str, str]:
    """What a user sets to use a server in the Hub's place.

    Args:
        url: The server's base URL.
        home: The user's home, in which the client keeps its cache.
    """
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **inherited,
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": url,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }


def run_client(code: str, environment: dict[str, str]) -> Any:
    """Run Python that uses the client, and return the value that it assigned to `result`.

    The code finds `api` (an HfApi), huggingface_hub's functions, and `name`, which calls a function
    and returns the name of the exception that it raises.
    """
    process = subprocess.run(
        [sys.executable, "-c", f"{_PRELUDE}\n{code}\nprint(json.dumps(result))"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def read_files(folder: str | Path) -> dict[str, bytes]:
    """Path → content of the files in a folder; hidden files and folders are left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }

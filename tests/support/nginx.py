"""nginx for tests and benchmarks: the machine's own, or Debian's unpacked into a cache folder.

Nothing is installed. Missing packages are downloaded by `apt-get download`, unpacked by `dpkg -x`
under `$XDG_CACHE_HOME/modelshelf-tests`, and run from there by any user.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from typing import Self

PACKAGES = ("nginx", "libnginx-mod-http-lua")
_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
_LUA_PATH = "usr/share/lua/5.1/?.lua"


class NginxMissingError(Exception):
    """There is no nginx with Lua here, and none could be downloaded."""


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """An nginx that can be run.

    Attributes:
        binary: The executable.
        modules: The shared objects to load first, in order.
        lua: The pattern of the paths of its Lua files.
        libraries: The folders of its shared libraries, joined by colons; empty for the system's.
    """

    binary: str
    modules: tuple[str, ...]
    lua: str
    libraries: str = ""

    @property
    def env(self) -> dict[str, str]:
        """The environment in which it runs."""
        extra = {"LD_LIBRARY_PATH": self.libraries} if self.libraries else {}
        return {"PATH": os.environ.get("PATH", os.defpath)} | extra

    def version(self) -> str:
        """Its version, like `1.22.1`."""
        done = subprocess.run(
            [self.binary, "-v"], env=self.env, capture_output=True, text=True, check=True
        )
        return done.stderr.strip().rpartition("/")[2].split()[0]


def find() -> Program:
    """Find the nginx on PATH if it has Lua, else the one in the cache folder, or download it.

    Raises:
        NginxMissingError: There is none; the message names the command that installs it.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    tree = os.path.join(cache, "modelshelf-tests", "nginx")
    program = _program_in("/") or _program_in(tree)
    if program is None:
        os.makedirs(os.path.dirname(tree), exist_ok=True)
        _fetch(tree)
        program = _program_in(tree)
    if program is None:
        raise NginxMissingError(f"no nginx with Lua: sudo apt-get install {' '.join(PACKAGES)}")
    return program


def _program_in(root: str) -> Program | None:
    """Find an nginx whose Lua module is below a root; the binary may be the system's own."""
    folders = ("usr/lib/nginx/modules", "usr/share/nginx/modules", "usr/lib64/nginx/modules")
    places = [os.path.join(root, folder) for folder in folders]
    modules = next((p for p in places if os.path.exists(os.path.join(p, _MODULES[1]))), None)
    own = os.path.join(root, "usr/sbin/nginx")
    binary = own if os.path.exists(own) else shutil.which("nginx")
    if modules is None or binary is None:
        return None
    libraries = [p for lib in ("lib", "usr/lib") for p in glob.glob(f"{root}/{lib}/*-linux-gnu*")]
    return Program(
        binary=binary,
        modules=tuple(os.path.join(modules, name) for name in _MODULES),
        lua=os.path.join(root, _LUA_PATH),
        libraries=":".join(libraries) if root != "/" else "",
    )


def _fetch(tree: str) -> None:
    """Unpack the missing packages into a folder, which is renamed to its name when complete."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return
    with tempfile.TemporaryDirectory(dir=os.path.dirname(tree)) as work:
        # The system's package lists first; fresh ones of our own if they are missing or stale.
        for private in (False, True):
            options = _private_lists(work) if private else []
            with contextlib.suppress(subprocess.CalledProcessError):
                _download(work, options)
                break
        else:
            return
        unpacked = os.path.join(work, "tree")
        for package in glob.glob(os.path.join(work, "*.deb")):
            subprocess.run(["dpkg", "-x", package, unpacked], check=True)
        # Another process may have been faster; its tree is as good.
        with contextlib.suppress(OSError):
            os.rename(unpacked, tree)


def _download(work: str, options: list[str]) -> None:
    simulated = _run(
        ["apt-get", *options, "-s", "install", "--no-install-recommends", *PACKAGES], work
    )
    names = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
    _run(["apt-get", *options, "download", *names], work)


def _private_lists(work: str) -> list[str]:
    """Download package lists into a folder, and return apt's options for that folder."""
    lists, cache = os.path.join(work, "lists"), os.path.join(work, "cache")
    for folder in (lists, cache):
        os.makedirs(os.path.join(folder, "partial"), exist_ok=True)
    options = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
    with contextlib.suppress(subprocess.CalledProcessError):
        _run(["apt-get", *options, "update"], work)
    return options


def _run(argv: list[str], folder: str) -> str:
    env = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def free_port() -> int:
    """Find a port of 127.0.0.1 that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Nginx:
    """A running nginx with two workers; use it as a context manager.

    Args:
        folder: The folder of its configuration and error log.
        http: The content of its `http { … }`, with servers on ports that the caller chose.
        ports: Those ports; nginx is up when all of them accept connections.
    """

    def __init__(self, folder: str, http: str, ports: list[int]) -> None:
        self._program = find()
        self._folder = folder
        self._ports = ports
        self._child: subprocess.Popen[bytes] | None = None
        with open(os.path.join(folder, "nginx.conf"), "w", encoding="utf-8") as file:
            file.write(_configuration(self._program, folder, http))

    def __enter__(self) -> Self:
        argv = [self._program.binary, "-p", self._folder, "-c", "nginx.conf", "-e", "error.log"]
        # A session of its own: Ctrl-C is for the program that then ends nginx in its own time.
        self._child = subprocess.Popen(argv, env=self._program.env, start_new_session=True)
        try:
            self._await_ports(time.monotonic() + 10)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(10)

    def _await_ports(self, deadline: float) -> None:
        for port in self._ports:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if time.monotonic() > deadline or (self._child and self._child.poll() is not None):
                    with open(os.path.join(self._folder, "error.log"), encoding="utf-8") as log:
                        raise NginxMissingError(f"nginx does not start: {log.read()[-500:]}")
                time.sleep(0.02)


def _configuration(program: Program, folder: str, http: str) -> str:
    modules = "".join(f"load_module {path};\n" for path in program.modules)
    # Files may be readable by their owner alone, so root's workers stay root.
    user = "user root;\n" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"{modules}{user}worker_processes 2;\ndaemon off;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log;\nevents {{ worker_connections 512; }}\n"
        f"http {{\n{temporary}    lua_package_path '{program.lua};;';\n"
        f"    access_log off;\n    sendfile on;\n    tcp_nopush on;\n    tcp_nodelay on;\n"
        f"    keepalive_requests 1000000;\n{http}}}\n"
    )

"""Rows of the gateway: a large download, beside a server that sends the same file statically."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.comparison import Result, Rows, compare_calls
from benchmarks.plan import Effort, size_name
from chuk_artifacts import ArtifactStore

_ROOT = Path(__file__).parents[1]
_SECONDS = 60
_COMMANDS = {
    "uvicorn": ("uvicorn", "--port", "{port}", "--log-level", "error", "--no-access-log", "{app}_asgi"),
    "gunicorn": ("gunicorn", "-b", "127.0.0.1:{port}", "--log-level", "error", "{app}_wsgi"),
    "gunicorn-gthread": ("gunicorn", "--threads", "8", "-b", "127.0.0.1:{port}", "--log-level", "error", "{app}_wsgi"),
}
"""How a server is started: its package, which runs as a module, and the arguments."""

_CLIENT = """
import socket, sys
from urllib.parse import urlsplit

buffer = bytearray(256 * 1024)
for line in sys.stdin:
    url = urlsplit(line.strip())
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(f"GET {url.path}?{url.query} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n".encode())
        received = 0
        while count := connection.recv_into(buffer):
            received += count
    print(received, flush=True)
"""


def rows(effort: Effort) -> Rows:
    """Return the rows."""
    size = size_name(effort.large_bytes)
    here = f"gateway/download/{size}"
    servers = {f"gateway-{server}/download/{size}": server for server in _COMMANDS}
    return {
        here: partial(_gateway, here, effort),
        **{name: partial(_in_server, name, server, effort) for name, server in servers.items()},
    }


def _in_server(name: str, server: str, effort: Effort, folder: Path) -> Result:
    """Download from the gateway in a web server, beside the same server with an application that sends the file."""
    for package in (_COMMANDS[server][0], "starlette"):
        if importlib.util.find_spec(package) is None:
            return Result(name=name, skipped=f"{package} is needed")
    size, file = effort.large_bytes, folder / "file"
    file.write_bytes(os.urandom(size))
    with (
        ArtifactStore(storage_provider="filesystem", fs_root=folder / "store", gateway_url="http://x") as store,
        _serving(server, "gateway", folder) as ours,
        _serving(server, "static", folder) as bare,
        _client(size) as download,
    ):
        url = store.presign(store.store(file)).replace("http://x", ours)
        return compare_calls(
            name,
            lambda: download(url),
            lambda: download(f"{bare}/file"),
            seconds=effort.turn_seconds,
            rounds=effort.long_rounds,
            size=size,
            parameters={"size_bytes": size, "server": server},
        )


@contextlib.contextmanager
def _serving(server: str, app: str, folder: Path) -> Iterator[str]:
    """Start a web server with one of the applications, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [word.format(port=port, app=f"benchmarks.web_applications:{app}") for word in _COMMANDS[server]]
    command, environment = [sys.executable, "-m", *words], {**os.environ, "BENCHMARK_FOLDER": str(folder)}
    with subprocess.Popen(command, env=environment, cwd=_ROOT) as process:
        try:
            _await_port(port, command)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _await_port(port: int, command: Sequence[str]) -> None:
    pause = threading.Event()
    for _ in range(_SECONDS * 20):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        pause.wait(0.05)
    raise SystemExit(f"no server after {_SECONDS} seconds: {' '.join(command)}")


def _gateway(name: str, effort: Effort, folder: Path) -> Result:
    """Download from the gateway, beside Python's own file server; the client is another process."""
    size = effort.large_bytes
    served = folder / "served"
    served.mkdir()
    (served / "file").write_bytes(os.urandom(size))
    with (
        ArtifactStore(storage_provider="filesystem", fs_root=folder / "store") as store,
        _file_server(served) as bare,
        _client(size) as download,
    ):
        url = store.presign(store.store(served / "file"))
        return compare_calls(
            name,
            lambda: download(url),
            lambda: download(bare),
            seconds=effort.turn_seconds,
            rounds=effort.long_rounds,
            size=size,
            parameters={"size_bytes": size},
        )


class _FileServer(SimpleHTTPRequestHandler):
    """Python's own file server, without its log."""

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a line for each request would be measured too."""


@contextlib.contextmanager
def _file_server(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_FileServer, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _client(size: int) -> Iterator[Callable[[str], None]]:
    """Start a process that downloads; return a function that lets it download *size* bytes from a URL."""
    command = [sys.executable, "-c", _CLIENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        urls, answers = cast("IO[str]", client.stdin), cast("IO[str]", client.stdout)

        def download(url: str) -> None:
            urls.write(url + "\n")
            urls.flush()
            received = int(answers.readline())
            if received < size:
                raise SystemExit(f"the client received {received} bytes instead of {size}")

        yield download
        urls.close()

"""A download from the gateway beside one from Python's own file server, both by a client in another process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.comparison import compare, one_by_one
from benchmarks.effort import Effort, size_word
from benchmarks.result import Result, Rows
from benchmarks.workloads import Work
from chuk_artifacts import ArtifactStore

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
    """Return what measures the row."""
    name = f"gateway/download/{size_word(effort.large_bytes)}"
    return {name: partial(_row, name, effort)}


def _row(name: str, effort: Effort, folder: Path) -> Result:
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
        return compare(
            name,
            one_by_one(Work(lambda: download(url))),
            one_by_one(Work(lambda: download(bare))),
            seconds=effort.lap_seconds,
            rounds=effort.long_rounds,
            size=size,
            parameters={"size_bytes": size},
        )


class _FileServer(SimpleHTTPRequestHandler):
    """Python's own file server, with nothing to say."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


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
def _client(size: int) -> Iterator[Any]:
    """Start a process that downloads, and return what lets it download a URL of so many bytes."""
    command = [sys.executable, "-c", _CLIENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        order, answers = cast("IO[str]", client.stdin), cast("IO[str]", client.stdout)

        def download(url: str) -> None:
            order.write(url + "\n")
            order.flush()
            received = int(answers.readline())
            if received < size:
                raise SystemExit(f"{received} bytes came instead of {size}")

        yield download
        order.close()

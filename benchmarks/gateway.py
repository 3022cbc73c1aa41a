"""What the gateway costs: a download beside Python's own file server, and signatures by the second."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, cast

from chuk_artifacts import ArtifactStore
from chuk_artifacts.signing import DOWNLOAD, Grant, Signer

_MIB = 1024 * 1024
_DOWNLOAD = """
import socket, sys, time
from urllib.parse import urlsplit

buffer = bytearray(256 * 1024)
for line in sys.stdin:
    begin = time.perf_counter()
    url = urlsplit(line.strip())
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(f"GET {url.path}?{url.query} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n".encode())
        received = 0
        while count := connection.recv_into(buffer):
            received += count
    print(time.perf_counter() - begin, received, flush=True)
"""


class _FileServer(SimpleHTTPRequestHandler):
    """Python's own file server, with nothing to say."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def print_downloads(folder: Path, size: int, rounds: int) -> None:
    """Download one file through the gateway and through ``http.server``, in turns, and print the ratio."""
    served = folder / "served"
    served.mkdir()
    (served / "file").write_bytes(os.urandom(size))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_FileServer, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = subprocess.Popen(
        [sys.executable, "-c", _DOWNLOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with ArtifactStore(storage_provider="filesystem", fs_root=folder / "store") as store, client:
        url = store.presign(store.store(served / "file"))
        bare = f"http://127.0.0.1:{server.server_port}/file"
        order, answers = cast("IO[str]", client.stdin), cast("IO[str]", client.stdout)
        seconds = partial(_seconds_of_download, order, answers, size)
        for warm_up in (url, bare):
            seconds(warm_up)
        pairs = [(seconds(url), seconds(bare)) for _ in range(rounds)]
        order.close()
    server.shutdown()
    server.server_close()
    ratios = sorted(bare_time / time_taken for time_taken, bare_time in pairs)
    ours, theirs = (size / _MIB / statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"download of {size // _MIB} MiB: gateway {ours:.0f} MiB/s, http.server {theirs:.0f} MiB/s, "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def _seconds_of_download(order: IO[str], answers: IO[str], size: int, url: str) -> float:
    order.write(url + "\n")
    order.flush()
    seconds, received = answers.readline().split()
    if int(received) < size:
        raise SystemExit(f"{received} bytes came instead of {size}")
    return float(seconds)


def print_signatures(calls: int) -> None:
    """Print how many URLs are signed and checked in a second, bare and by the store in memory."""
    signer = Signer(["k" * 64], "sandbox")
    now = time.time()
    grant = Grant("0" * 32)
    path, _, query = signer.sign(DOWNLOAD, grant, now + 60).partition("?")
    print(f"signed: {_a_second(lambda: signer.sign(DOWNLOAD, grant, now + 60), calls):,.0f} URLs a second", end=", ")
    print(f"checked: {_a_second(lambda: signer.check(DOWNLOAD, path, query, now), calls):,.0f}", end=", ")
    with ArtifactStore(gateway_url="http://localhost") as store:
        artifact_id = store.store(b"x")
        print(f"presign in memory: {_a_second(lambda: store.presign(artifact_id), calls):,.0f}")


def _a_second(call: Callable[[], object], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return calls / (time.perf_counter() - begin)

"""Hours of work: nothing that a process holds may grow. These run with ``--minutes`` only."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import child
import pytest
from servers.buckets import s3_on_rgw

from chuk_artifacts import ArtifactStore

WORKER = Path(__file__).with_name("load.py")
PROCESSES, STALLED, STORES, VIEWS = 8, 1000, 2000, 10_000


@pytest.fixture(autouse=True)
def _long(effort):
    if not effort.minutes:
        pytest.skip("tried with --minutes")


def resources(pid="self"):
    """Return memory in KiB, descriptors and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {
        "memory": int(values["VmRSS"].split()[0]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(values["Threads"]),
    }


def slope(values):
    """Return how much the second half is above the first, in hundredths of that."""
    half = len(values) // 2
    first, second = statistics.median(values[:half]), statistics.median(values[half:])
    return 100 * (second - first) / max(first, 1)


def with_redis(request, tmp_path):
    """Return options of files, with records in Redis."""
    url = request.getfixturevalue("redis_url")
    root = str(tmp_path / "root")
    return {"storage_provider": "filesystem", "fs_root": root, "session_provider": "redis", "redis_url": url}


def with_postgres(request, tmp_path):
    """Return options of a bucket on Ceph RGW, with records in PostgreSQL."""
    options = {**s3_on_rgw(request), "session_provider": "postgres", "sandbox_id": "load"}
    return {**options, "postgres_url": request.getfixturevalue("postgres_url")}


def on_disk(request, tmp_path):
    """Return options of files, with records in SQLite."""
    return {"storage_provider": "filesystem", "fs_root": str(tmp_path / "root")}


@pytest.mark.parametrize("place", [with_redis, with_postgres, on_disk])
def test_load(place, request, tmp_path, effort):
    """Eight processes work without an error, and what they hold stays the same once each has opened what it needs."""
    options = place(request, tmp_path)
    command = [sys.executable, str(WORKER), json.dumps(options)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, str(at)], env=child.unmeasured(), **pipes) for at in range(PROCESSES)]
    samples, wal = [], []
    for worker in workers:
        assert worker.stdout.readline(), worker.communicate("", timeout=120)
    end = time.monotonic() + effort.minutes * 60
    while time.monotonic() < end:
        samples.append([resources(worker.pid) for worker in workers])
        wal.append(sum(path.stat().st_size for path in tmp_path.rglob("*-wal")))
        time.sleep(min(1, effort.minutes))
    took = []
    for worker in workers:
        out, errors = worker.communicate("", timeout=120)
        assert worker.returncode == 0, errors
        took += json.loads(out)
    slopes = {name: round(slope([sum(one[name] for one in sample) for sample in samples]), 1) for name in samples[0][0]}
    took.sort()
    print(
        f"{place.__name__}: {len(took)} calls, p50 {took[len(took) // 2]:.1f} ms, p99 {took[len(took) * 99 // 100]:.1f} ms,"
        f" growth in percent {slopes}, WAL at most {max(wal)} bytes"
    )
    assert slopes["descriptors"] <= 10
    assert slopes["threads"] <= 10
    assert slopes["memory"] <= 20
    assert not [*tmp_path.rglob("*.tmp")]


def test_stalled_clients(effort):
    """A thousand clients that never finish a request take no thread each, and others are served."""
    with ArtifactStore() as store:
        url = store.presign(store.store(b"x"))
        host, port = url.removeprefix("http://").partition("/")[0].split(":")
        before = resources()
        with contextlib.ExitStack() as stack:
            for _ in range(STALLED):
                one = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
                one.sendall(b"GET /x HTTP/1.1\r\n")
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.read() == b"x"
            during = resources()
        print(f"{STALLED} stalled clients: before {before}, during {during}")
        assert during["memory"] - before["memory"] < 200_000


def test_many_stores(tmp_path, effort):
    """Two thousand stores that are opened and closed, and ten thousand views, leave nothing."""
    samples = []
    for number in range(STORES):
        with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / str(number % 5)) as store:
            store.store(b"x", session_id="alice")
        if number % 100 == 99:
            gc.collect()
            samples.append(resources())
    with ArtifactStore() as store:
        for number in range(VIEWS):
            store.session(f"s{number}").list_by_session()
    gc.collect()
    print(f"{STORES} stores: {samples[1]} to {samples[-1]}; after {VIEWS} views {resources()}")
    assert samples[-1]["descriptors"] <= samples[1]["descriptors"] + 2
    assert samples[-1]["threads"] <= samples[1]["threads"] + 1
    assert threading.active_count() < 50
    assert slope([one["memory"] for one in samples]) < 20

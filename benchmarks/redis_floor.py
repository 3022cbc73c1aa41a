"""Verbs with records in Redis, and the bare calls under them; a server is started for it, if there is one."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from benchmarks.floor import memory_store
from chuk_artifacts import ArtifactStore

_RECORD = json.dumps({"record": "r" * 700})
_WEEK = 7 * 86400 * 1000
_PAGE = 100


def workloads() -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """Yield names, verbs and the bare calls under these."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        print("no redis-server here: nothing to tell of Redis")
        return
    data = b"x" * 1024
    with _server(program) as url, ArtifactStore(session_provider="redis", redis_url=url) as store:
        client = redis.Redis.from_url(url, protocol=2)
        artifact_id = store.store(data, session_id="bench", filename="file.bin")
        client.set("bare", _RECORD)
        yield "redis metadata", lambda: store.metadata(artifact_id), lambda: json.loads(client.get("bare"))  # type: ignore[arg-type]
        bare = _store(client, data)
        yield "memory+redis store 1 KiB", lambda: store.store(data, session_id="bench", filename="file.bin"), bare
        for session_id, count in (("small", 1000), ("large", 100_000)):
            for _ in range(count // 1000):
                store.store_batch([{"data": b"x", "filename": "file.bin"}] * 1000, session_id=session_id)
        yield "redis page of 100 of 100,000/1,000", lambda: _page(store, "large"), lambda: _page(store, "small")
        client.close()


def _page(store: ArtifactStore, session_id: str) -> None:
    for _ in itertools.islice(store.iter_session(session_id, page_size=_PAGE), _PAGE):
        pass


def _store(client: redis.Redis, data: bytes) -> Callable[[], object]:
    """Return a call that keeps bytes in memory, and writes with one MULTI what a store of them writes."""
    in_memory = memory_store(data)

    def call() -> None:
        in_memory()
        name = os.urandom(16).hex()
        with client.pipeline(transaction=True) as pipeline:
            pipeline.hset("bare session", mapping={"info": "i" * 150, "expires_at": "2030-01-01T00:00:00.000000+00:00"})
            pipeline.zadd("bare sessions", {"session": time.time()})
            pipeline.set(f"bare record {name}", _RECORD, px=_WEEK)
            pipeline.zadd("bare index", {f"file.bin\0{name}": 0})
            pipeline.zadd("bare due", {f"{name}{hashlib.sha256(b'').hexdigest()}": time.time()})
            pipeline.execute()

    return call


@contextlib.contextmanager
def _server(program: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield _ready(f"redis://127.0.0.1:{port}/0")
        finally:
            process.kill()
            process.wait()


def _ready(url: str) -> str:
    """Return the URL once the server answers."""
    with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200)) as client:
        client.ping()
    return url

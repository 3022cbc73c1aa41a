"""The floor in Redis: what is written with one MULTI and read with one GET, by redis-py, with bytes in memory."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Sequence
from typing import Any

import redis

from benchmarks.floors import bare_signature
from benchmarks.floors.memory import MemoryFloor
from benchmarks.workloads import BATCH, Once, Work, Workloads

_RECORD = json.dumps({"record": "r" * 700})
_WEEK = 7 * 86400 * 1000
_FILLED_AT_ONCE = 1000
_DELETED_AT_ONCE = 10_000
_NO_BYTES = hashlib.sha256(b"").hexdigest()


class RedisRecords:
    """Bare records in Redis.

    Args:
        url: of the server.

    """

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(url, protocol=2)

    def add(self, count: int = 1) -> list[str]:
        """Write with one MULTI what a store of so many artifacts writes, and return their names."""
        names = [os.urandom(16).hex() for _ in range(count)]
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset("bare session", mapping={"info": "i" * 150, "expires_at": "2030-01-01T00:00:00.000000+00:00"})
            pipeline.zadd("bare sessions", {"session": time.time()})
            for name in names:
                pipeline.set(f"bare record {name}", _RECORD, px=_WEEK)
                pipeline.zadd("bare index", {f"file.bin\0{name}": 0})
                pipeline.zadd("bare due", {f"{name}{_NO_BYTES}": time.time()})
            pipeline.execute()
        return names

    def get(self, name: str) -> Any:
        """Read a record."""
        return json.loads(self._client.get(f"bare record {name}"))

    def get_all(self, names: Sequence[str]) -> list[Any]:
        """Read records with one MGET."""
        return [json.loads(record) for record in self._client.mget([f"bare record {name}" for name in names])]

    def replace(self, name: str) -> None:
        """Write with one MULTI what an update writes."""
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.set(f"bare record {name}", _RECORD, px=_WEEK)
            pipeline.zadd("bare due", {f"{name}{_NO_BYTES}": time.time()})
            pipeline.execute()

    def remove(self, name: str) -> Any:
        """Read and remove a record with one MULTI."""
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.get(f"bare record {name}")
            pipeline.delete(f"bare record {name}")
            pipeline.zrem("bare index", f"file.bin\0{name}")
            pipeline.zrem("bare due", f"{name}{_NO_BYTES}")
            return pipeline.execute()

    def listing(self, listed: int, limit: int) -> Work:
        """Return what reads a part of an index, and its records with one MGET."""
        client = self._client
        names = [f"file-{number:07}.bin" for number in range(listed)]
        if client.zcard("bare listed") != listed:
            for some in zip(*[iter(names)] * _FILLED_AT_ONCE, strict=True):
                client.zadd("bare listed", dict.fromkeys(some, 0))
                client.mset({f"bare listed {name}": _RECORD for name in some})

        def call() -> list[Any]:
            found = client.zrange("bare listed", "-", "+", bylex=True, offset=0, num=limit)
            return [json.loads(record) for record in client.mget([b"bare listed " + name for name in found])]

        return Work(call)

    def close(self) -> None:
        """Remove all but what is listed."""
        names = self._client.scan_iter(match="bare record *", count=_DELETED_AT_ONCE)
        while some := list(itertools.islice(names, _DELETED_AT_ONCE)):
            self._client.unlink(*some)
        self._client.unlink("bare index", "bare due", "bare session", "bare sessions")
        self._client.close()


class RedisFloor(Workloads):
    """Bare calls of redis-py, with bytes in memory.

    Args:
        size: how many bytes a file has.
        listed: how many records are there to list.
        url: of the server.

    """

    def __init__(self, size: int, listed: int, url: str) -> None:
        self._memory = MemoryFloor(size, listed)
        self._listed = listed
        self._records = RedisRecords(url)

    def store(self) -> Work:
        """Keep bytes, and write with one MULTI what a store of them writes."""
        in_memory, add = self._memory.store().call, self._records.add
        return Work(lambda: (in_memory(), add()))

    def retrieve(self) -> Work:
        """GET a record, read bytes and hash."""
        in_memory, record = self._memory.retrieve().call, self.metadata().call
        return Work(lambda: (record(), in_memory()))

    def metadata(self) -> Work:
        """GET a record."""
        get, names = self._records.get, itertools.cycle(self._records.add(BATCH))
        return Work(lambda: get(next(names)))

    def copy(self) -> Work:
        """GET a record, copy bytes, and write with one MULTI."""
        in_memory, record, add = self._memory.copy().call, self.metadata().call, self._records.add
        return Work(lambda: (record(), in_memory(), add()))

    def update(self) -> Work:
        """GET a record, keep bytes, and write with one MULTI."""
        in_memory, records, names = self._memory.update().call, self._records, Once(self._records.add)

        def call() -> None:
            name = names.next()
            records.get(name)
            in_memory()
            records.replace(name)

        return Work(call, names.ready)

    def delete(self) -> Work:
        """Remove a record with one MULTI, and the bytes."""
        in_memory, records, names = self._memory.delete(), self._records, Once(self._records.add)

        def ready(calls: int) -> None:
            names.ready(calls)
            in_memory.ready(calls)

        return Work(lambda: (records.remove(names.next()), in_memory.call()), ready)

    def listing(self, limit: int) -> Work:
        """Read a part of an index, and its records."""
        return self._records.listing(self._listed, limit)

    def store_batch(self) -> Work:
        """Keep 100, and write with one MULTI."""
        in_memory, add = self._memory.store_batch().call, self._records.add
        return Work(lambda: (in_memory(), add(BATCH)))

    def retrieve_batch(self) -> Work:
        """Read 100 records with one MGET, and the bytes."""
        in_memory, records = self._memory.retrieve_batch().call, self._records
        names = records.add(BATCH)
        return Work(lambda: (records.get_all(names), in_memory()))

    def presign(self) -> Work:
        """GET a record and sign."""
        record = self.metadata().call
        return Work(lambda: bare_signature(str(len(record()))))

    def close(self) -> None:
        """Remove what is there."""
        self._records.close()

"""The floors over the network: a driver for the records, boto3 for the bytes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import boto3
import redis

from benchmarks.local_floors import RECORD
from benchmarks.workloads import BATCH, Once, Work, Workloads, files_read, large_file
from chuk_artifacts import ArtifactStore

_RECORD_JSON = json.dumps({"record": RECORD})
_WEEK = 7 * 86400 * 1000
_FILLED_AT_ONCE = 1000
_DELETED_AT_ONCE = 10_000
_NO_BYTES = hashlib.sha256(b"").hexdigest()
_MOST_FILES = 100


class Records(Protocol):
    """Bare records in a server."""

    def add(self, count: int = 1) -> list[str]:
        """Write in one transaction what a store of *count* artifacts writes, and return their names."""
        ...

    def get(self, name: str) -> Any:
        """Read a record."""
        ...

    def get_all(self, names: Sequence[str]) -> list[Any]:
        """Read records with one call."""
        ...

    def replace(self, name: str) -> None:
        """Write in one transaction what an update writes."""
        ...

    def remove(self, name: str) -> Any:
        """Read and remove a record in one transaction."""
        ...

    def listing(self, listed: int, limit: int) -> Work:
        """Return work that reads a page of an index, and its records."""
        ...

    def close(self) -> None:
        """Remove everything but the records that are listed."""
        ...


class ServiceFloor(Workloads):
    """Bare calls of a server's driver for the records, beside bare calls for the bytes.

    Args:
        bare: the floor of the bytes.
        listed: the number of records in the session that is listed.
        records: the bare records.

    """

    def __init__(self, bare: Workloads, listed: int, records: Records) -> None:
        self._bare = bare
        self._listed = listed
        self._records = records

    def store(self) -> Work:
        """Store bytes, and write in one transaction what a store writes."""
        store, add = self._bare.store().call, self._records.add
        return Work(lambda: (store(), add()))

    def retrieve(self) -> Work:
        """Read a record, and bytes."""
        retrieve, record = self._bare.retrieve().call, self.metadata().call
        return Work(lambda: (record(), retrieve()))

    def metadata(self) -> Work:
        """Read a record."""
        get, names = self._records.get, itertools.cycle(self._records.add(BATCH))
        return Work(lambda: get(next(names)))

    def copy(self) -> Work:
        """Read a record, copy bytes, and write in one transaction."""
        copy, record, add = self._bare.copy().call, self.metadata().call, self._records.add
        return Work(lambda: (record(), copy(), add()))

    def update(self) -> Work:
        """Read a record, store bytes, and write in one transaction."""
        update, records, names = self._bare.update().call, self._records, Once(self._records.add)

        def call() -> None:
            name = names.next()
            records.get(name)
            update()
            records.replace(name)

        return Work(call, names.ready)

    def delete(self) -> Work:
        """Delete a record in one transaction, and the bytes."""
        delete, records, names = self._bare.delete(), self._records, Once(self._records.add)

        def ready(calls: int) -> None:
            names.ready(calls)
            delete.ready(calls)

        return Work(lambda: (records.remove(names.next()), delete.call()), ready)

    def listing(self, limit: int) -> Work:
        """Read a page of an index, and its records."""
        return self._records.listing(self._listed, limit)

    def store_batch(self) -> Work:
        """Store 100 files, and write their records in one transaction."""
        store_batch, add = self._bare.store_batch().call, self._records.add
        return Work(lambda: (store_batch(), add(BATCH)))

    def retrieve_batch(self) -> Work:
        """Read 100 records with one call, and the bytes."""
        retrieve_batch, records = self._bare.retrieve_batch().call, self._records
        names = records.add(BATCH)
        return Work(lambda: (records.get_all(names), retrieve_batch()))

    def presign(self) -> Work:
        """Read a record, and sign."""
        record, sign = self.metadata().call, self._bare.presign().call
        return Work(lambda: (record(), sign()))

    def upload(self) -> Work:
        """Upload a file, and write its record."""
        upload, add = self._bare.upload().call, self._records.add
        return Work(lambda: (upload(), add()))

    def download(self) -> Work:
        """Read a record, and download a file."""
        download, record = self._bare.download().call, self.metadata().call
        return Work(lambda: (record(), download()))

    def close(self) -> None:
        """Remove the records, and what the bytes' floor removes."""
        self._records.close()
        self._bare.close()


class RedisRecords:
    """Bare records in Redis, each transaction a MULTI.

    Args:
        url: the URL of the server.

    """

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(url, protocol=2)

    def add(self, count: int = 1) -> list[str]:
        """Write with one MULTI what a store of *count* artifacts writes, and return their names."""
        names = [os.urandom(16).hex() for _ in range(count)]
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset("bare session", mapping={"info": "i" * 150, "expires_at": "2030-01-01T00:00:00.000000+00:00"})
            pipeline.zadd("bare sessions", {"session": time.time()})
            for name in names:
                pipeline.set(f"bare record {name}", _RECORD_JSON, px=_WEEK)
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
            pipeline.set(f"bare record {name}", _RECORD_JSON, px=_WEEK)
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
        """Return work that reads a page of an index, and its records with one MGET."""
        client = self._client
        names = [f"file-{number:07}.bin" for number in range(listed)]
        if client.zcard("bare listed") != listed:
            for some in zip(*[iter(names)] * _FILLED_AT_ONCE, strict=True):
                client.zadd("bare listed", dict.fromkeys(some, 0))
                client.mset({f"bare listed {name}": _RECORD_JSON for name in some})

        def call() -> list[Any]:
            found = client.zrange("bare listed", "-", "+", bylex=True, offset=0, num=limit)
            return [json.loads(record) for record in client.mget([b"bare listed " + name for name in found])]

        return Work(call)

    def close(self) -> None:
        """Remove everything but the records that are listed."""
        names = self._client.scan_iter(match="bare record *", count=_DELETED_AT_ONCE)
        while some := list(itertools.islice(names, _DELETED_AT_ONCE)):
            self._client.unlink(*some)
        self._client.unlink("bare index", "bare due", "bare session", "bare sessions")
        self._client.close()


class BucketFloor(Workloads):
    """Bare calls of boto3 for the bytes, through a client configured as the store's.

    Args:
        size: the size of a file in bytes.
        folder: for large files.
        store: the store on the bucket.
        bucket: the name of the bucket.

    """

    def __init__(self, size: int, folder: Path, store: ArtifactStore, bucket: str) -> None:
        self._size = size
        self._folder = folder
        self._client = client_like(store)
        self._connections = store.scope.core.settings.max_connections
        self._bucket = bucket
        self._keys = itertools.cycle([f"bare/{number}" for number in range(files_read(size, _MOST_FILES))])

    def store(self) -> Work:
        """PUT an object."""
        return Work(lambda: self._put(next(self._keys)))

    def retrieve(self) -> Work:
        """GET an object."""
        keys = itertools.cycle(self._stored(files_read(self._size, _MOST_FILES)))
        return Work(lambda: self._get(next(keys)))

    def copy(self) -> Work:
        """Let the service copy an object."""
        client, bucket = self._client, self._bucket
        keys = itertools.cycle(self._stored(files_read(self._size, _MOST_FILES)))

        def call() -> None:
            source = {"Bucket": bucket, "Key": next(keys)}
            client.copy_object(Bucket=bucket, Key=next(self._keys), CopySource=source)

        return Work(call)

    def update(self) -> Work:
        """Do what ``store`` does, because bytes never change in place."""
        return self.store()

    def delete(self) -> Work:
        """DELETE an object."""
        client, bucket, keys = self._client, self._bucket, Once(self._stored)
        return Work(lambda: client.delete_object(Bucket=bucket, Key=keys.next()), keys.ready)

    def store_batch(self) -> Work:
        """PUT 100 objects in as many threads as the store has connections."""
        pool, keys = ThreadPoolExecutor(self._connections), [next(self._keys) for _ in range(BATCH)]
        return Work(lambda: list(pool.map(self._put, keys)))

    def retrieve_batch(self) -> Work:
        """GET 100 objects in as many threads as the store has connections."""
        pool, keys = ThreadPoolExecutor(self._connections), self._stored(BATCH)
        return Work(lambda: list(pool.map(self._get, keys)))

    def presign(self) -> Work:
        """Sign a download with a name and a type."""
        client = self._client
        parameters = {
            "Bucket": self._bucket,
            "Key": next(self._keys),
            "ResponseContentDisposition": 'attachment; filename="a.txt"',
            "ResponseContentType": "text/plain",
        }
        return Work(lambda: client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=3600))

    def upload(self) -> Work:
        """Let boto3 upload a file."""
        client, bucket, path = self._client, self._bucket, large_file(self._folder, self._size)

        def call() -> None:
            with path.open("rb") as file:
                client.upload_fileobj(file, bucket, "bare/large")

        return Work(call)

    def download(self) -> Work:
        """Let boto3 download a file."""
        self.upload().call()
        client, bucket, target = self._client, self._bucket, self._folder / "bare.down"

        def call() -> None:
            with target.open("wb") as file:
                client.download_fileobj(bucket, "bare/large", file)

        return Work(call)

    def close(self) -> None:
        """Close the client; the objects are few, and the next row overwrites them."""
        self._client.close()

    @cached_property
    def _data(self) -> bytes:
        return b"x" * self._size  # on demand: a large file has no use for it

    def _put(self, key: str) -> Any:
        return self._client.put_object(Bucket=self._bucket, Key=key, Body=self._data)

    def _get(self, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def _stored(self, count: int) -> list[str]:
        keys = [f"bare/there/{number}" for number in range(count)]
        for key in keys:
            self._put(key)
        return keys


def client_of(store: ArtifactStore) -> Any:
    """Return the boto3 client of *store*, which is on a bucket."""
    storage: Any = store.scope.core.storage
    return storage._client.connected()  # noqa: SLF001


def client_like(store: ArtifactStore) -> Any:
    """Return a client that is configured as the one of *store*, without the handlers that the store adds."""
    meta = client_of(store).meta
    return boto3.client("s3", endpoint_url=meta.endpoint_url, region_name=meta.region_name, config=meta.config)

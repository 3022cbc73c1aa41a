"""The floor on a bucket: boto3 through a client configured as the store's is, and bare records in Redis."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3

from benchmarks.service_floors import RedisRecords
from benchmarks.verbs import large_file
from benchmarks.workloads import BATCH, Once, Work, Workloads, files_of
from chuk_artifacts import ArtifactStore

_MOST_FILES = 100


def client_like(store: ArtifactStore) -> Any:
    """Return a client of boto3's that is configured as the one of *store*, which is on a bucket."""
    storage: Any = store.scope.core.storage
    url = storage._place.endpoint_url  # noqa: SLF001
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=storage._config())  # noqa: SLF001


class BucketFloor(Workloads):
    """Bare calls of boto3 and redis-py.

    Args:
        size: how many bytes a file has.
        listed: how many records are there to list.
        folder: for large files.
        store: whose client is copied.
        bucket: the bucket.
        redis_url: where the records are.

    """

    def __init__(
        self, size: int, listed: int, *, folder: Path, store: ArtifactStore, bucket: str, redis_url: str
    ) -> None:
        self._size = size
        self._listed = listed
        self._folder = folder
        self._client = client_like(store)
        self._connections = store.scope.core.settings.max_connections
        self._bucket = bucket
        self._records = RedisRecords(redis_url)
        self._data = b"x" * size
        self._keys = itertools.cycle([f"bare/{number}" for number in range(files_of(size, _MOST_FILES))])

    def store(self) -> Work:
        """PUT an object, and write its record."""
        add = self._records.add
        return Work(lambda: (self._put(next(self._keys)), add()))

    def retrieve(self) -> Work:
        """GET a record and an object."""
        record, keys = self.metadata().call, itertools.cycle(self._stored(files_of(self._size, _MOST_FILES)))
        return Work(lambda: (record(), self._get(next(keys))))

    def metadata(self) -> Work:
        """GET a record."""
        get, names = self._records.get, itertools.cycle(self._records.add(BATCH))
        return Work(lambda: get(next(names)))

    def copy(self) -> Work:
        """GET a record, let the service copy an object, and write a record."""
        record, add = self.metadata().call, self._records.add
        keys = itertools.cycle(self._stored(files_of(self._size, _MOST_FILES)))
        return Work(lambda: (record(), self._copy(next(keys), next(self._keys)), add()))

    def update(self) -> Work:
        """GET a record, PUT an object, and write the record."""
        records, names = self._records, Once(self._records.add)

        def call() -> None:
            name = names.next()
            records.get(name)
            self._put(next(self._keys))
            records.replace(name)

        return Work(call, names.ready)

    def delete(self) -> Work:
        """Remove a record and an object."""
        client, bucket, records = self._client, self._bucket, self._records
        names, keys = Once(self._records.add), Once(self._stored)

        def ready(calls: int) -> None:
            names.ready(calls)
            keys.ready(calls)

        def call() -> None:
            records.remove(names.next())
            client.delete_object(Bucket=bucket, Key=keys.next())

        return Work(call, ready)

    def listing(self, limit: int) -> Work:
        """Read a part of an index, and its records."""
        return self._records.listing(self._listed, limit)

    def store_batch(self) -> Work:
        """PUT 100 objects in as many threads as the store has, and write their records with one MULTI."""
        pool, keys = ThreadPoolExecutor(self._connections), [next(self._keys) for _ in range(BATCH)]
        return Work(lambda: (list(pool.map(self._put, keys)), self._records.add(BATCH)))

    def retrieve_batch(self) -> Work:
        """Read 100 records with one MGET, and GET 100 objects in as many threads as the store has."""
        pool, keys, names = ThreadPoolExecutor(self._connections), self._stored(BATCH), self._records.add(BATCH)
        return Work(lambda: (self._records.get_all(names), list(pool.map(self._get, keys))))

    def presign(self) -> Work:
        """GET a record, and sign."""
        record, client = self.metadata().call, self._client
        order = {
            "Bucket": self._bucket,
            "Key": next(self._keys),
            "ResponseContentDisposition": 'attachment; filename="a.txt"',
            "ResponseContentType": "text/plain",
        }
        return Work(lambda: (record(), client.generate_presigned_url("get_object", Params=order, ExpiresIn=3600)))

    def upload(self) -> Work:
        """Let boto3 upload a file, and write a record."""
        client, bucket, add, path = self._client, self._bucket, self._records.add, large_file(self._folder, self._size)

        def call() -> None:
            with path.open("rb") as file:
                client.upload_fileobj(file, bucket, "bare/large")
            add()

        return Work(call)

    def download(self) -> Work:
        """GET a record, and let boto3 download a file."""
        self.upload().call()
        client, bucket, record, target = self._client, self._bucket, self.metadata().call, self._folder / "bare.down"

        def call() -> None:
            record()
            with target.open("wb") as file:
                client.download_fileobj(bucket, "bare/large", file)

        return Work(call)

    def close(self) -> None:
        """Remove the records; the objects are few, and are written again by the next row."""
        self._records.close()
        self._client.close()

    def _put(self, key: str) -> Any:
        return self._client.put_object(Bucket=self._bucket, Key=key, Body=self._data)

    def _get(self, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body

    def _copy(self, source: str, target: str) -> Any:
        origin = {"Bucket": self._bucket, "Key": source}
        return self._client.copy_object(Bucket=self._bucket, Key=target, CopySource=origin)

    def _stored(self, count: int) -> list[str]:
        keys = [f"bare/there/{number}" for number in range(count)]
        for key in keys:
            self._put(key)
        return keys

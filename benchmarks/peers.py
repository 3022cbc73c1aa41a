"""A bucket beside its peers: the store, boto3 with an equal configuration, obstore and minio-py, in one run.

A peer that is not installed is left out. ``python -m pip install '.[bench]'`` installs them.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from benchmarks.comparison import Driven, Ratio, Result, Rows, take_turns
from benchmarks.plan import Effort
from benchmarks.servers import BUCKET_NAME, MissingError, Servers
from benchmarks.service_floors import client_like
from benchmarks.targets import PROCESSOR
from benchmarks.turns import Threads
from benchmarks.workloads import KIB, Work
from chuk_artifacts import ArtifactStore
from tests.servers import rgw

_SIZES = {"1KiB": KIB, "256KiB": 256 * KIB}
_THREADS = (1, 16)
_KEYS = 64
_SESSION = "bench"


@attrs.frozen
class _Client:
    """What writes and reads objects by their keys."""

    put: Callable[[str, bytes], object]
    get: Callable[[str], object]


def rows(effort: Effort) -> Rows:
    """Return the rows outside the grid."""
    return {
        f"peers/{what}/{name}/{count}": partial(_row, effort, what, name, count)
        for what, name, count in itertools.product(("store", "retrieve"), _SIZES, _THREADS)
    }


def _row(effort: Effort, what: str, size: str, count: int, folder: Path) -> Result:
    name = f"peers/{what}/{size}/{count}"
    with contextlib.ExitStack() as ending:
        try:
            server = Servers(folder, ending).bucket
        except MissingError as error:
            return Result(name=name, skipped=str(error))
        store = ending.enter_context(
            ArtifactStore(
                storage_provider="s3", bucket=BUCKET_NAME, endpoint_url=server.url, max_connections=max(count, 8)
            )
        )
        works = {"store": _of_store(store, what, _SIZES[size])}
        works |= {peer: _of_peer(client, what, _SIZES[size]) for peer, client in _peers(store, server.url).items()}
        threads = Threads(count)
        ending.callback(threads.close)
        sides = [Driven(threads, work) for work in works.values()]
        turns = take_turns(sides, seconds=2 * effort.turn_seconds, rounds=effort.rounds, count=count, size=_SIZES[size])
    rates = {
        peer: Ratio([each[1].seconds / each[number].seconds for each in turns]) for number, peer in enumerate(works)
    }
    processor = statistics.median(each[0].processor / each[1].processor for each in turns)
    return Result(
        name=name,
        parameters={"server": server.name, "size_bytes": _SIZES[size], "count": count},
        calls=turns[0][0].calls,
        a_second=1 / statistics.median(each[0].each for each in turns),
        method_us=[each[0].each * 1e6 for each in turns],
        floor_us=[each[1].each * 1e6 for each in turns],
        ratio=rates["store"],
        figures={PROCESSOR: processor, **{peer: rates[peer].median for peer in [*works][2:]}},
    )


def _of_store(store: ArtifactStore, what: str, size: int) -> Work:
    data = b"x" * size
    if what == "store":
        return Work(lambda: store.store(data, session_id=_SESSION))
    ids = itertools.cycle(store.store_batch([{"data": data}] * _KEYS, session_id=_SESSION))
    return Work(lambda: store.retrieve(next(ids)))


def _of_peer(client: _Client, what: str, size: int) -> Work:
    data, names = b"x" * size, [f"peers/{number}" for number in range(_KEYS)]
    for name in names:
        client.put(name, data)
    keys = itertools.cycle(names)
    if what == "store":
        return Work(lambda: client.put(next(keys), data))
    return Work(lambda: client.get(next(keys)))


def _peers(store: ArtifactStore, url: str) -> Mapping[str, _Client]:
    """Return boto3, and the other peers that are installed."""
    boto3: Any = client_like(store)
    found = {
        "boto3": _Client(
            lambda key, data: boto3.put_object(Bucket=BUCKET_NAME, Key=key, Body=data),
            lambda key: boto3.get_object(Bucket=BUCKET_NAME, Key=key)["Body"].read(),
        )
    }
    for name, make in {"obstore": _obstore, "minio": _minio}.items():
        with contextlib.suppress(ModuleNotFoundError):
            found[name] = make(url)
    return found


def _obstore(url: str) -> _Client:
    obstore: Any = importlib.import_module("obstore")
    bucket: Any = importlib.import_module("obstore.store").S3Store(
        BUCKET_NAME,
        endpoint=url,
        region="us-east-1",
        access_key_id=rgw.ACCESS_KEY,
        secret_access_key=rgw.SECRET_KEY,
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
    return _Client(
        lambda key, data: obstore.put(bucket, key, data, use_multipart=False),
        lambda key: bytes(obstore.get(bucket, key).bytes()),
    )


def _minio(url: str) -> _Client:
    client: Any = importlib.import_module("minio").Minio(
        urlsplit(url).netloc, rgw.ACCESS_KEY, rgw.SECRET_KEY, secure=False, region="us-east-1"
    )

    def get(key: str) -> bytes:
        answer = client.get_object(BUCKET_NAME, key)
        try:
            data: bytes = answer.read()
            return data
        finally:
            answer.close()
            answer.release_conn()

    return _Client(lambda key, data: client.put_object(BUCKET_NAME, key, BytesIO(data), len(data)), get)

"""``python -m benchmarks.bucket [--quick]``: a store on a bucket beside bare calls of boto3, on a Ceph RGW of its own.

The bare calls go through a client of boto3's with the store's own configuration, except where a plain one is named.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

from chuk_artifacts import ArtifactStore
from tests.servers import rgw
from tests.servers.proxy import Proxy

_KIB = 1024
_MIB = 1024 * _KIB
_BUCKET = "bench"
_SESSION = "bench"
_DELAY_SECONDS = 0.02
_THREADS = 16

Call = Callable[[], object]
Many = Callable[[Call, int], float]


def main(*, quick: bool) -> None:
    """Start the server, run everything and print a table; say so where the server is not installed."""
    missing = rgw.missing_programs()
    if missing:
        print(f"buckets: not installed: {', '.join(missing)}")
        return
    with tempfile.TemporaryDirectory() as folder, rgw.running(Path(folder) / "rgw") as server:
        os.environ |= {"AWS_ACCESS_KEY_ID": rgw.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": rgw.SECRET_KEY}
        with _store(server.url) as store:
            store._core.storage.create()  # noqa: SLF001 - a bench may look inside
            print(f"{'workload':40}{'verb µs':>10}{'boto3 µs':>10}{'ratio':>8}{'spread':>16}")
            calls, rounds = (20, 21) if quick else (40, 51)  # many short rounds: others use the machine too
            _small(store, _one_by_one, "1 thread", calls, rounds)
            with ThreadPoolExecutor(_THREADS) as pool:
                _small(store, _side_by_side(pool), f"{_THREADS} threads", calls * 4, rounds)
            _presign(store, calls, rounds)
        _far_away(server.url, 10, 9)
        _large(server.url, Path(folder), (64 if quick else 256) * _MIB, 3 if quick else 5)


def _store(url: str) -> ArtifactStore:
    return ArtifactStore(storage_provider="s3", bucket=_BUCKET, endpoint_url=url)


def _bare_client(store: ArtifactStore) -> Any:
    """Return a client of boto3's that is configured as the store's is."""
    storage: Any = store._core.storage  # noqa: SLF001
    url = storage._place.endpoint_url  # noqa: SLF001
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=storage._config())  # noqa: SLF001


def _small(store: ArtifactStore, many: Many, how: str, calls: int, most: int) -> None:
    client = _bare_client(store)
    for size, name, rounds in ((_KIB, "1 KiB", most), (256 * _KIB, "256 KiB", most // 3)):
        data = b"x" * size
        keys = itertools.cycle(map(str, range(1000)))  # the server keeps all in memory
        count = (calls * (rounds + 1)) if size == _KIB else calls

        def put(data: bytes = data, keys: Iterator[str] = keys) -> None:
            client.put_object(Bucket=_BUCKET, Key=f"bare/{next(keys)}", Body=data)

        stored = [store.store(data, session_id=_SESSION) for _ in range(count)]
        there = [f"bare/there/{number}" for number in range(count)]
        for key in there:
            client.put_object(Bucket=_BUCKET, Key=key, Body=data)
        ids, bare = itertools.cycle(stored), itertools.cycle(there)

        def get(bare: Iterator[str] = bare) -> bytes:
            body: bytes = client.get_object(Bucket=_BUCKET, Key=next(bare))["Body"].read()
            return body

        def store_one(data: bytes = data) -> str:
            return store.store(data, session_id=_SESSION)

        def retrieve(ids: Iterator[str] = ids) -> bytes:
            return store.retrieve(next(ids))

        _compare(f"store {name}, {how}", store_one, put, many, calls, rounds)
        _compare(f"retrieve {name}, {how}", retrieve, get, many, calls, rounds)
        if size == _KIB:
            _compare(
                f"delete, {how}",
                _each(store.delete, stored),
                _each(lambda key: client.delete_object(Bucket=_BUCKET, Key=key), there),
                many,
                calls,
                rounds - 1,
            )
        store.delete_session(_SESSION)


def _each(call: Callable[[str], object], values: Sequence[str]) -> Call:
    rest = iter(values)
    return lambda: call(next(rest))


def _presign(store: ArtifactStore, calls: int, rounds: int) -> None:
    client = _bare_client(store)
    artifact_id = store.store(b"1", filename="a.txt", session_id=_SESSION)
    order = {
        "Bucket": _BUCKET,
        "Key": store.metadata(artifact_id).key,
        "ResponseContentDisposition": 'attachment; filename="a.txt"',
        "ResponseContentType": "text/plain",
    }

    def bare() -> object:
        return client.generate_presigned_url("get_object", Params=order, ExpiresIn=3600)

    _compare("presign", lambda: store.presign(artifact_id), bare, _one_by_one, calls, rounds)


def _far_away(url: str, calls: int, rounds: int) -> None:
    """Store over a link on which every answer takes 20 ms, beside a client as boto3 makes it."""
    data = b"x" * _KIB
    keys = map(str, itertools.count())
    with Proxy(int(urlsplit(url).port or 0)) as proxy:
        proxy.delay = _DELAY_SECONDS
        far = f"http://127.0.0.1:{proxy.port}"
        plain = boto3.client("s3", endpoint_url=far, region_name="us-east-1")
        with _store(far) as store:
            _compare(
                "store 1 KiB, 20 ms away, plain boto3",
                lambda: store.store(data, session_id=_SESSION),
                lambda: plain.put_object(Bucket=_BUCKET, Key=f"far/{next(keys)}", Body=data),
                _one_by_one,
                calls,
                rounds,
            )


def _large(url: str, folder: Path, size: int, rounds: int) -> None:
    """Store and download a large file, each run in a process of its own, whose growth counts."""
    path = folder / "large"
    with path.open("wb") as file:
        for _ in range(size // _MIB):
            file.write(os.urandom(_MIB))
    times: dict[str, list[float]] = {"verb up": [], "verb down": [], "boto3 up": [], "boto3 down": []}
    growth = 0
    for _ in range(rounds):
        for who in ("verb", "boto3"):
            command = [sys.executable, "-m", "benchmarks.bucket", "--large", who, url, str(path)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            times[f"{who} up"].append(float(told[0]))
            times[f"{who} down"].append(float(told[1]))
            growth = max(growth, int(told[2])) if who == "verb" else growth
    for way, name in (("up", "store"), ("down", "download")):
        _print(f"{name} {size // _MIB} MiB", times[f"verb {way}"], times[f"boto3 {way}"])
    print(f"{size // _MIB} MiB stored and downloaded: the process grew by {growth / _MIB:.1f} MiB")


def _large_once(who: str, url: str, path: str) -> None:
    """Store and download one file, and print the seconds of each and the growth of the process in bytes."""
    up, down = _large_verb(url, path) if who == "verb" else _large_bare(url, path)
    before = _peak()
    begin = time.perf_counter()
    up()
    middle = time.perf_counter()
    down()
    print(middle - begin, time.perf_counter() - middle, _peak() - before)


def _large_verb(url: str, path: str) -> tuple[Call, Call]:
    store = _store(url)
    store.retrieve(store.store(b"warm"))
    ids: list[str] = []
    return (
        lambda: ids.append(store.store(Path(path), session_id=_SESSION)),
        lambda: store.download(ids[0], f"{path}.down"),
    )


def _large_bare(url: str, path: str) -> tuple[Call, Call]:
    client: Any = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    client.put_object(Bucket=_BUCKET, Key="warm", Body=b"warm")

    def up() -> None:
        with Path(path).open("rb") as file:
            client.upload_fileobj(file, _BUCKET, "large")

    def down() -> None:
        with Path(f"{path}.down").open("wb") as file:
            client.download_fileobj(_BUCKET, "large", file)

    return up, down


def _peak() -> int:
    """Return the most memory this program has had; ``getrusage`` would count that of the one that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * _KIB


def _one_by_one(call: Call, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls


def _side_by_side(pool: ThreadPoolExecutor) -> Many:
    def many(call: Call, calls: int) -> float:
        begin = time.perf_counter()
        list(pool.map(lambda _: call(), range(calls)))
        return (time.perf_counter() - begin) / calls

    return many


def _compare(  # noqa: PLR0917 - a row of the table
    name: str, verb: Call, bare: Call, many: Many, calls: int, rounds: int
) -> None:
    many(verb, calls // 10)
    many(bare, calls // 10)
    pairs = [(many(verb, calls), many(bare, calls)) for _ in range(rounds)]
    verbs, bares = zip(*pairs, strict=True)  # the median of ratios is of rounds side by side
    _print(name, verbs, bares)


def _print(name: str, verbs: Sequence[float], bares: Sequence[float]) -> None:
    ratios = sorted(bare / verb for verb, bare in zip(verbs, bares, strict=True))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    verb, bare = (statistics.median(times) * 1e6 for times in (verbs, bares))
    print(f"{name:40}{verb:10.0f}{bare:10.0f}{statistics.median(ratios):8.2f}{spread:>16}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--large"]:
        _large_once(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(prog="python -m benchmarks.bucket", description=__doc__)
        parser.add_argument("--quick", action="store_true", help="fewer calls, smaller files")
        main(quick=parser.parse_args().quick)

"""The rigs: each contract is run on every backend that fulfils it. A new backend is a new rig here, and no new test.

The contract of the store is run on both its faces too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from faces import open_async
from servers.buckets import BUCKETS, open_bucket, warm
from servers.urls import URLS

from chuk_artifacts import ArtifactStore
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.catalog.memory import MemoryCatalog
from chuk_artifacts.catalog.redis import RedisCatalog
from chuk_artifacts.catalog.redis.client import PooledClient
from chuk_artifacts.catalog.redis.link import Link
from chuk_artifacts.catalog.redis.url import open_link
from chuk_artifacts.catalog.sqlite import SqliteCatalog
from chuk_artifacts.settings import PostgresUrl
from chuk_artifacts.storage import Storage
from chuk_artifacts.storage.local import LocalStorage
from chuk_artifacts.storage.memory import MemoryStorage

PLACES = {**BUCKETS, **URLS}
"""The options of stores that need a place prepared."""

STORAGES: dict[str, Callable[[Path], Storage]] = {
    "memory": lambda _: MemoryStorage(),
    "filesystem": lambda folder: LocalStorage(str(folder / "root")),
    "filesystem-fsync": lambda folder: LocalStorage(str(folder / "root"), fsync=True),
}

CATALOGS: dict[str, Callable[[Path, str, float | None], Catalog]] = {
    "memory": lambda _folder, _sandbox_id, ttl: MemoryCatalog(ttl),
    "sqlite": lambda folder, sandbox_id, ttl: SqliteCatalog(str(folder / "catalog.sqlite3"), sandbox_id, ttl),
    "sqlite-durable": lambda folder, sandbox_id, ttl: SqliteCatalog(
        str(folder / "catalog.sqlite3"), sandbox_id, ttl, durable=True
    ),
}

REDIS_CATALOGS = {
    "redis": "redis_url",
    "redis-cluster": "redis_cluster_url",
    "redis-sentinel": "redis_sentinel_url",
    "fakeredis": None,
}
"""Catalogs in a server, by the fixture that returns its URL."""

SERVERS = [*REDIS_CATALOGS, "postgres"]
"""Catalogs in a server."""

NATIVE = {"storage_options": {"presign_upload": "native"}}
"""Whose URLs take uploads, though the service accepts headers that were not signed."""

STORES: dict[str, dict[str, Any]] = {
    "memory": {},
    "filesystem": {"storage_provider": "filesystem"},
    "memory-sqlite": {"session_provider": "sqlite"},
    "filesystem-memory": {"storage_provider": "filesystem", "session_provider": "memory"},
    "url-memory": {"session_provider": "sqlite"},
    "s3-moto": {},
    "s3-rgw": {"session_provider": "sqlite"},
    "ibm_cos-rgw": NATIVE,
    "ibm_cos_iam-moto": {},
    "s3-moto-served": NATIVE,
    "memory-redis": {"session_provider": "redis"},
    "filesystem-redis": {"storage_provider": "filesystem", "session_provider": "redis"},
    "memory-redis-cluster": {"session_provider": "redis"},
    "memory-redis-sentinel": {"session_provider": "redis"},
    "memory-postgres": {"session_provider": "postgres"},
    "filesystem-postgres": {"storage_provider": "filesystem", "session_provider": "postgres"},
}

PERSISTENT = {"filesystem", "s3-rgw", "filesystem-redis", "filesystem-postgres", "url-memory"}
"""The stores that a second instance finds again."""

FACES: dict[str, Callable[..., Any]] = {"blocking": ArtifactStore, "aio": open_async}

RIGS = [
    *itertools.product(FACES, ("memory", "filesystem", "memory-sqlite", "filesystem-memory")),
    ("aio", "s3-moto"),
    ("blocking", "s3-rgw"),
    ("aio", "memory-redis"),
    ("blocking", "filesystem-redis"),
    ("blocking", "url-memory"),
    ("blocking", "memory-redis-cluster"),
    ("aio", "memory-redis-sentinel"),
    ("aio", "memory-postgres"),
    ("blocking", "filesystem-postgres"),
]
"""The faces and stores that the contract is run on. Servers take one face each; the buckets of IBM differ from S3 in
nothing that the contract of the storage does not try."""


TWO_RIGS = [("blocking", "memory"), ("aio", "filesystem")]
"""For tests of what is decided before a backend is asked, such as bad arguments: each face, once."""


class StoreRig:
    """Opens stores on one backend, with one face, and closes them."""

    def __init__(self, face: str, name: str, folder: Path, clock: Callable[[], float], **options: Any) -> None:
        self.name = name
        self._face = FACES[face]
        self.persistent = name in PERSISTENT
        self._options = {**STORES[name], "fs_root": folder / "store", "clock": clock, **options}
        self._open: list[Any] = []

    def open(self, **options: Any) -> Any:
        """Return a store on the backend; a second one shares what it holds, if it is persistent."""
        store = self._face(**{**self._options, **options})
        self._open.append(store)
        return store

    def close(self) -> None:
        """Close all stores."""
        for store in self._open:
            store.close()


@pytest.fixture(params=[*STORAGES, *(name for name in PLACES if name != "s3-moto-served")])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """Return an empty storage."""
    name = request.param
    storage = open_bucket(PLACES[name](request)) if name in PLACES else STORAGES[name](tmp_path)
    if name in BUCKETS:
        warm(storage)
    yield storage
    storage.close()


@pytest.fixture(params=[*CATALOGS, *SERVERS])
def open_catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Catalog]]:
    """Return a function that opens a catalog of a sandbox and a session ttl."""
    catalogs: list[Catalog] = []
    open_on_server = _catalogs_in_servers(request) if request.param in SERVERS else None

    def open_one(sandbox_id: str = "box", ttl: float | None = 86400.0) -> Catalog:
        if open_on_server is None:
            catalogs.append(CATALOGS[request.param](tmp_path, sandbox_id, ttl))
        else:
            catalogs.append(open_on_server(sandbox_id, ttl))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


def _catalogs_in_servers(request: pytest.FixtureRequest) -> Callable[[str, float | None], Catalog]:
    """Return a function that opens catalogs in one server."""
    if request.param == "postgres":
        url = PostgresUrl(request.getfixturevalue("postgres_url"))
        from chuk_artifacts.catalog import postgres  # noqa: PLC0415 - where its driver is

        return lambda sandbox_id, ttl: postgres.PostgresCatalog(
            postgres.open_link(url, "chuk_artifacts", max_connections=8, max_retries=3), sandbox_id, ttl
        )
    link = _redis_links(request)
    return lambda sandbox_id, ttl: RedisCatalog(link(), sandbox_id, ttl)


def _redis_links(request: pytest.FixtureRequest) -> Callable[[], Link]:
    """Return a function that opens links to one server."""
    fixture = REDIS_CATALOGS[request.param]
    if fixture is None:
        server = fakeredis.FakeServer()
        return lambda: Link(lambda: PooledClient(fakeredis.FakeRedis(server=server).connection_pool), "fake")
    url = request.getfixturevalue(fixture)
    return lambda: open_link(url, url, max_connections=8, max_retries=3)


@pytest.fixture
def catalog(open_catalog: Callable[..., Catalog]) -> Catalog:
    """Return an empty catalog of the sandbox ``box``, where sessions live for a day."""
    return open_catalog()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on all rigs, on two if no backend can change it, or on those that its module names."""
    names_rigs = any("rig" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "rig" in metafunc.fixturenames and not names_rigs:
        same = metafunc.definition.get_closest_marker("same_everywhere") is not None
        metafunc.parametrize("rig", TWO_RIGS if same else RIGS, indirect=True, ids="-".join)


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path, clock: Callable[[], float]) -> Iterator[StoreRig]:
    """Return a rig that opens stores on one backend, with one face."""
    face, name = request.param
    rig = StoreRig(face, name, tmp_path, clock, **_servers_of(name, request))
    yield rig
    rig.close()


def _servers_of(name: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the options that lead a store to the servers that a rig names."""
    if name in PLACES:
        return PLACES[name](request)
    if name.endswith("postgres"):
        return {"postgres_url": request.getfixturevalue("postgres_url")}
    _, is_redis, servers = name.partition("redis")
    return {"redis_url": request.getfixturevalue(f"redis{servers.replace('-', '_')}_url")} if is_redis else {}


@pytest.fixture
def store(rig: StoreRig) -> Any:
    """Return an empty store."""
    return rig.open()

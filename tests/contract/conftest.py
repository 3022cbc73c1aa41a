"""The rigs: each contract is run on every backend that fulfils it. A new backend is a new rig here, and no new test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.buckets import BUCKETS, open_bucket
from servers.urls import URLS

from chuk_artifacts import ArtifactStore
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.catalog.memory import MemoryCatalog
from chuk_artifacts.catalog.sqlite import SqliteCatalog
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

STORES: dict[str, dict[str, Any]] = {
    "memory": {},
    "filesystem": {"storage_provider": "filesystem"},
    "memory-sqlite": {"session_provider": "sqlite"},
    "filesystem-memory": {"storage_provider": "filesystem", "session_provider": "memory"},
    "url-memory": {"session_provider": "sqlite"},
    "s3-moto": {},
    "s3-rgw": {"session_provider": "sqlite"},
    "ibm_cos-rgw": {},
    "ibm_cos_iam-moto": {},
}

PERSISTENT = {"filesystem", "s3-rgw", "url-memory"}
"""The stores that a second instance finds again."""


class StoreRig:
    """Opens stores on one backend, and closes them."""

    def __init__(self, name: str, folder: Path, clock: Callable[[], float], **options: Any) -> None:
        self.name = name
        self.persistent = name in PERSISTENT
        self._options = {**STORES[name], "fs_root": folder / "store", "clock": clock, **options}
        self._open: list[ArtifactStore] = []

    def open(self, **options: Any) -> ArtifactStore:
        """Return a store on the backend; a second one shares what it holds, if it is persistent."""
        store = ArtifactStore(**{**self._options, **options})
        self._open.append(store)
        return store

    def close(self) -> None:
        """Close all stores."""
        for store in self._open:
            store.close()


@pytest.fixture(params=[*STORAGES, *PLACES])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """Return an empty storage."""
    name = request.param
    storage = open_bucket(PLACES[name](request)) if name in PLACES else STORAGES[name](tmp_path)
    yield storage
    storage.close()


@pytest.fixture(params=CATALOGS)
def open_catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Catalog]]:
    """Return a function that opens a catalog of a sandbox and a session ttl."""
    catalogs: list[Catalog] = []

    def open_one(sandbox_id: str = "box", ttl: float | None = 86400.0) -> Catalog:
        catalogs.append(CATALOGS[request.param](tmp_path, sandbox_id, ttl))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


@pytest.fixture
def catalog(open_catalog: Callable[..., Catalog]) -> Catalog:
    """Return an empty catalog of the sandbox ``box``, where sessions live for a day."""
    return open_catalog()


@pytest.fixture(params=STORES)
def rig(request: pytest.FixtureRequest, tmp_path: Path, clock: Callable[[], float]) -> Iterator[StoreRig]:
    """Return a rig that opens stores on one backend."""
    name = request.param
    rig = StoreRig(name, tmp_path, clock, **(PLACES[name](request) if name in PLACES else {}))
    yield rig
    rig.close()


@pytest.fixture
def store(rig: StoreRig) -> ArtifactStore:
    """Return an empty store."""
    return rig.open()

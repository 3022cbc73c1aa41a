"""The rigs: every suite here is run on a filesystem of each kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import pytest
from servers.buckets import BUCKETS

from chuk_artifacts import ArtifactStore
from chuk_artifacts.core import forget_shared_cores
from chuk_artifacts.filesystem import ArtifactFileSystem

STORES: dict[str, Callable[[pytest.FixtureRequest], dict[str, Any]]] = {
    "memory": lambda _: {},
    "filesystem": lambda request: {
        "storage_provider": "filesystem",
        "fs_root": request.getfixturevalue("tmp_path") / "store",
    },
    "s3-redis": lambda request: {
        **BUCKETS["s3-moto"](request),
        "session_provider": "redis",
        "redis_url": request.getfixturevalue("redis_url"),
    },
}


@pytest.fixture(params=STORES)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of an empty store."""
    return STORES[request.param](request)


@pytest.fixture
def store(options: dict[str, Any], clock: Callable[[], float]) -> Iterator[ArtifactStore]:
    """Return an empty store, whose clock stands still."""
    with ArtifactStore(**options, clock=clock) as store:
        yield store


@pytest.fixture
def fs(store: ArtifactStore) -> ArtifactFileSystem:
    """Return the filesystem of an empty store."""
    return ArtifactFileSystem(store)


@pytest.fixture(autouse=True)
def _forget_shared_stores() -> Iterator[None]:
    """Let no test find what another one stored."""
    yield
    forget_shared_cores()


@pytest.fixture(autouse=True)
def _registered() -> None:
    """Register the protocol, for when the package is imported from a folder and not installed."""
    fsspec.register_implementation("artifact", ArtifactFileSystem, clobber=True)

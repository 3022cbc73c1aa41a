"""Fixtures for tests of the async store: each runs on asyncio's event loop and on uvloop's."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chuk_artifacts import ArtifactStore, aio
from chuk_artifacts.operations import identity

SECONDS = 30  # after which waiting for another thread counts as hanging


WITHOUT_UVLOOP = pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=WITHOUT_UVLOOP)])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Return the event loop that a test runs on."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["memory", "filesystem"])
def options(request: pytest.FixtureRequest, tmp_path) -> dict[str, Any]:
    """Return the options of a store, in memory and on disk."""
    return {"storage_provider": request.param, "fs_root": tmp_path / "root", "sandbox_id": "box"}


@pytest.fixture
async def store(anyio_backend, options) -> AsyncIterator[aio.ArtifactStore]:
    """Return an empty async store."""
    async with aio.ArtifactStore(**options) as store:
        yield store


class Gate:
    """A storage whose calls wait until the test opens the gate.

    Attributes:
        entered: is set when a call waits at the gate.
        opened: lets all calls pass.
        log: the names of the calls, as they begin and as they end.

    """

    blocks = True

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.entered, self.opened = threading.Event(), threading.Event()
        self.log: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Return a method that waits."""
        method = getattr(self._storage, name)
        if not callable(method):
            return method

        def wait_and_call(*args: Any, **kwargs: Any) -> Any:
            self.log.append(f"{name} begins")
            if name in {"put", "get", "open"}:
                self.entered.set()
                assert self.opened.wait(SECONDS)
            try:
                return method(*args, **kwargs)
            finally:
                self.log.append(f"{name} ends")

        return wait_and_call


@pytest.fixture
def gate(options) -> Iterator[Gate]:
    """Return the gate of :func:`gated`."""
    blocking = ArtifactStore(**options)
    if not blocking.scope.core.identified:
        identity.establish(blocking.scope.core)
    gate = Gate(blocking.scope.core.storage)
    blocking.scope.core.storage = gate
    gate.store = blocking
    yield gate
    gate.opened.set()
    blocking.close()


@pytest.fixture
async def gated(anyio_backend, gate) -> AsyncIterator[aio.ArtifactStore]:
    """Return an async store of one thread whose storage waits at a gate."""
    store = aio.ArtifactStore.wrap(gate.store, max_workers=1)
    yield store
    gate.opened.set()
    await store.close()

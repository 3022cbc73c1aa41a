"""What stores of the same settings share, on every backend."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref

import pytest

from chuk_artifacts import ArtifactStoreError
from chuk_artifacts.core import forget_shared_cores
from chuk_artifacts.store import SharedStore


@pytest.fixture
def options(rig):
    """Return the arguments of a store; close the shared backends afterwards."""
    yield {name: value for name, value in rig._options.items() if name != "clock"}
    forget_shared_cores()


def test_same_settings_share_backends(options):
    """Stores of the same settings are equal and see the same artifacts, in memory too."""
    first, second = SharedStore(**options), SharedStore(**options)
    assert first == second
    assert hash(first) == hash(second)
    artifact_id = first.store(b"x", session_id="alice")
    assert second.retrieve(artifact_id) == b"x"
    assert first.session("alice") == second.session("alice") != second


def test_other_settings_share_nothing(options):
    """Stores of other settings are not equal."""
    assert SharedStore(**options) != SharedStore(**options, sandbox_id="other")
    assert SharedStore(**options) != SharedStore(**options, session_ttl_hours=1)
    assert SharedStore(**options) != SharedStore(**options, clock=lambda: 0.0)


def test_close_closes_one(options):
    """Closing a shared store leaves the others open."""
    first, second = SharedStore(**options), SharedStore(**options)
    artifact_id = first.store(b"x")
    first.close()
    first.close()
    with pytest.raises(ArtifactStoreError, match="closed"):
        first.retrieve(artifact_id)
    assert second.retrieve(artifact_id) == b"x"


def test_pickle_finds_the_shared_backends(options):
    """An unpickled shared store uses the shared backends of its process."""
    store = SharedStore(**options)
    assert pickle.loads(pickle.dumps(store)) == store
    assert pickle.loads(pickle.dumps(store.session("alice"))) == store.session("alice")


def test_threads_share(options):
    """Threads that open a store at once get the same backends."""
    barrier = threading.Barrier(8)
    stores = []

    def ask():
        barrier.wait()
        stores.append(SharedStore(**options))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(stores)) == 1


def test_forgotten_backends_close(options):
    """Forgotten backends close with their last store; the next store opens its own."""
    store = SharedStore(**options)
    core = weakref.ref(store.scope.core)
    forget_shared_cores()
    assert SharedStore(**options) != store
    store.store(b"x")
    del store
    gc.collect()
    assert core() is None

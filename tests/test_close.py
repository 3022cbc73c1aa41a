"""Closing waits for running calls of other threads, refuses later ones, and releases everything."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import tracemalloc
import warnings

import child
import pytest

from chuk_artifacts import ArtifactStore, ArtifactStoreError, InvalidInputError, aio

CLOSED = "store is closed"


class Source:
    """A stream that pauses in the middle until the test lets it continue."""

    def __init__(self):
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def __iter__(self):
        """Yield two chunks."""
        yield b"first, "
        self.begun.set()
        assert self.may_go_on.wait(30)
        yield b"second"


@pytest.fixture
def options(tmp_path):
    """Return the options of a store on disk."""
    return {"storage_provider": "filesystem", "fs_root": tmp_path / "root"}


def in_thread(function, *arguments):
    """Call a function in a thread; return the thread and a list that receives the result."""
    outcome = []

    def run():
        try:
            outcome.append(function(*arguments))
        except ArtifactStoreError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


@pytest.mark.parametrize("change", ["store", "store_batch", "update_file"])
def test_close_waits_for_a_running_call(options, change):
    """A call that runs while the store is closed completes, and the next store sees its result."""
    store, source = ArtifactStore(**options), Source()
    there = store.store(b"before", session_id="alice")
    calls = {
        "store": lambda: store.store(source, session_id="alice"),
        "store_batch": lambda: store.store_batch([{"data": b"x"}, {"data": source}], "alice")[1],
        "update_file": lambda: store.update_file(there, data=source).artifact_id,
    }
    calling, stored = in_thread(calls[change])
    assert source.begun.wait(30)
    closing, closed = in_thread(store.close)
    while not store.scope.core.closed:
        pass
    with pytest.raises(ArtifactStoreError, match=CLOSED):
        store.exists(there)
    assert closing.is_alive()
    source.may_go_on.set()
    calling.join()
    closing.join()
    assert closed == [None]
    with ArtifactStore(**options) as again:
        assert again.retrieve(stored[0]) == b"first, second"


def test_close_within_a_time(options):
    """A timeout ends the wait with an error; the call continues, and a second close succeeds."""
    store, source = ArtifactStore(**options), Source()
    calling, stored = in_thread(lambda: store.store(source, session_id="alice"))
    assert source.begun.wait(30)
    with pytest.raises(ArtifactStoreError, match="1 calls are still under way after"):
        store.close(timeout=0.01)
    with pytest.raises(ArtifactStoreError, match=CLOSED):
        store.exists("0" * 32)
    source.may_go_on.set()
    calling.join()
    store.close(timeout=30)
    with ArtifactStore(**options) as again:
        assert again.retrieve(stored[0]) == b"first, second"


def test_async_close_within_a_time(options):
    """The close of the async store takes a timeout too."""

    async def main():
        source, store = Source(), aio.ArtifactStore(**options)
        storing = asyncio.create_task(store.store(source, session_id="alice"))
        assert await asyncio.to_thread(source.begun.wait, 30)
        with pytest.raises(ArtifactStoreError, match="still under way"):
            await store.close(timeout=0.01)
        source.may_go_on.set()
        artifact_id = await storing
        await store.close(timeout=30)
        async with aio.ArtifactStore(**options) as again:
            assert await again.retrieve(artifact_id) == b"first, second"

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [0, -1, "1", float("nan"), True])
def test_invalid_timeout(timeout):
    """A timeout is a finite number above 0; a store stays open when another value is passed."""
    with ArtifactStore() as store:
        with pytest.raises(InvalidInputError, match="timeout"):
            store.close(timeout=timeout)
        assert store.exists(store.store(b"x"))


def test_close_beside_many_calls(options, tmp_path):
    """Forty closes beside four busy threads leave no bytes without a record, and raise only the documented error."""
    for number in range(40):
        store = ArtifactStore(**options)
        artifact_id = store.store(b"0", session_id="alice")
        acknowledged, errors = [artifact_id], []

        def work(store=store, artifact_id=artifact_id, acknowledged=acknowledged, errors=errors):
            try:
                while True:
                    acknowledged.append(store.store(b"x" * 100, session_id="alice"))
                    acknowledged.append(store.copy_file(artifact_id))
                    store.update_file(artifact_id, data=b"later")
                    acknowledged.extend(store.store_batch([{"data": b"y"}] * 3, "alice"))
            except ArtifactStoreError as error:
                errors.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 10 + number:
            pass
        store.close()
        for thread in threads:
            thread.join()
        assert errors == [CLOSED] * 4
        with ArtifactStore(**options) as again:
            core = again.scope.core
            records = core.catalog.get(acknowledged)
            assert None not in records
            used = {key for record in again.list_by_session("alice") for key in record.all_bytes}
            there = {item.key for item in core.storage.list_objects("grid/")}
            assert there == used
            again.delete_session("alice")


def test_close_from_within_a_call(options):
    """Data that closes its own store while it is read does not wait for itself, and is stored."""
    store = ArtifactStore(**options)

    def closing():
        yield b"first, "
        store.close()
        yield b"second"

    artifact_id = store.store(closing(), session_id="alice")
    with pytest.raises(ArtifactStoreError, match=CLOSED):
        store.exists(artifact_id)
    assert not store.scope.core.storage.connected
    with ArtifactStore(**options) as again:
        assert again.retrieve(artifact_id) == b"first, second"


def test_two_closes_at_once(options):
    """Any number of threads may close a store."""
    store = ArtifactStore(**options)
    store.store(b"x")
    threads = [in_thread(store.close) for _ in range(8)]
    for thread, outcome in threads:
        thread.join()
        assert outcome == [None]


def test_iterators_and_bound_stores_end_with_the_store(options):
    """After the close, iterators and bound stores raise that the store is closed."""
    store = ArtifactStore(**options)
    store.store_batch([{"data": b"x"}] * 4, "alice")
    view = store.session("alice")
    listing = view.iter_session(page_size=2)
    next(listing)
    store.close()
    with pytest.raises(ArtifactStoreError, match=CLOSED):
        list(listing)
    for closed in (view, store):
        assert repr(closed) == "<ArtifactStore closed>"
        with pytest.raises(ArtifactStoreError, match=CLOSED):
            closed.session("alice")


def test_closing_a_bound_store_closes_only_it(options):
    """A closed bound store refuses calls; the store it was bound from does not."""
    with ArtifactStore(**options) as store:
        view = store.session("alice")
        view.close()
        with pytest.raises(ArtifactStoreError, match=CLOSED):
            view.store(b"x")
        assert store.exists(store.session("alice").store(b"x"))


def test_memory_is_released_at_once():
    """A closed store in memory releases its bytes without the garbage collector."""
    gc.disable()
    tracemalloc.start()
    try:
        stores = []
        for _ in range(10):
            store = ArtifactStore()
            store.store(os.urandom(1024 * 1024))
            store.close()
            stores.append(store)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert held < 3 * 1024 * 1024


def dropped(**options):
    """Use a store and drop it; return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = ArtifactStore(**options)
        store.store(b"x")
        del store
        gc.collect()
    return [str(warning.message) for warning in caught if warning.category is ResourceWarning]


def test_store_that_is_dropped(options):
    """A store with open files that is never closed warns and closes them; one in memory does not warn."""
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    assert dropped(**options) == ["a store on filesystem+sqlite was not closed"]
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before
    assert dropped() == []


def test_pickle_of_a_used_store(options):
    """A store that was used can be pickled, and the copy opens its own backends."""
    with ArtifactStore(**options) as store:
        artifact_id = store.store(b"x", session_id="alice")
        with pickle.loads(pickle.dumps(store)) as other:
            assert other.retrieve(artifact_id) == b"x"


def test_child_of_a_fork_closes(options):
    """A child forked while another thread of its parent was in a call can close its store."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    store, source = ArtifactStore(**options), Source()
    calling, _ = in_thread(lambda: store.store(source, session_id="alice"))
    assert source.begun.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads, the subject of this test
        child = os.fork()
    if child == 0:
        store.close()
        os._exit(7)
    _, status = os.waitpid(child, 0)
    source.may_go_on.set()
    calling.join()
    store.close()
    assert os.waitstatus_to_exitcode(status) == 7


AT_EXIT = """
    import atexit, sys, threading
    from chuk_artifacts import ArtifactStore

    store = ArtifactStore(storage_provider="filesystem", fs_root=sys.argv[1])

    def store_files():
        items = [{"data": bytes([number]) * 2_000_000} for number in range(3)]
        ids = store.store_batch(items, "alice")
        assert [data[:1] for data in store.retrieve_batch(ids)] == [b"\\0", b"\\1", b"\\2"]
        store.close()
        print("stored")

    def wait_and_store():
        threading.main_thread().join()
        store_files()

    if sys.argv[2] == "atexit":
        atexit.register(store_files)
    else:
        threading.Thread(target=wait_and_store).start()
    """


@pytest.mark.parametrize("when", ["atexit", "thread"])
def test_store_at_the_end_of_the_interpreter(tmp_path, when):
    """A batch is stored and read even while the interpreter shuts down, when no thread can start."""
    assert child.run(AT_EXIT, tmp_path, when) == "stored\n"

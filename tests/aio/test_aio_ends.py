"""Cancelled tasks and closed stores."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, ArtifactStoreError, aio

pytestmark = pytest.mark.anyio

SECONDS = 30
UNKNOWN = "0" * 32
DATA = b"x" * 100_000


async def seen(event):
    """Wait on the loop until a condition holds that a thread fulfils."""
    assert await asyncio.to_thread(event.wait, SECONDS)


async def cancel(task):
    """Cancel a task, and return when it has ended."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Cancelling


@pytest.mark.parametrize("method", ["store", "write_file", "store_batch"])
async def test_cancelled_store_ends_whole(gate, gated, method):
    """Cancelling stops the wait at once; the started call is complete by the time the store is closed."""
    view = gated.session("alice")
    calls = {
        "store": lambda: view.store(DATA),
        "write_file": lambda: view.write_file(DATA.decode(), filename="a"),
        "store_batch": lambda: view.store_batch([{"data": DATA}]),
    }
    task = asyncio.create_task(calls[method]())
    await seen(gate.entered)
    await cancel(task)
    assert gate.log == ["put begins"]
    gate.opened.set()
    await view.close()
    (record,) = await gated.list_by_session("alice")
    assert await gated.retrieve(record.artifact_id) == DATA


async def test_cancelled_before_it_began(gate, gated):
    """A call cancelled while it waits for a thread never runs."""
    first = asyncio.create_task(gated.store(DATA, session_id="alice"))
    await seen(gate.entered)
    second = asyncio.create_task(gated.store(DATA, session_id="bob"))
    await asyncio.sleep(0)
    await cancel(second)
    gate.opened.set()
    await first
    assert await gated.list_by_session("bob") == []
    assert gate.log == ["put begins", "put ends"]


async def test_cancelled_open_closes_its_file(gate, gated):
    """A file opened for a cancelled task is closed."""
    gate.opened.set()
    artifact_id = await gated.store(DATA)
    gate.opened.clear()
    gate.entered.clear()
    files = []
    blocking_open = gate.store.open
    gate.store.open = lambda one: files.append(blocking_open(one)) or files[0]
    task = asyncio.ensure_future(gated.open(artifact_id)._opened())
    await seen(gate.entered)
    await cancel(task)
    gate.opened.set()
    await gated.close()
    assert files[0].closed


async def test_cancelled_close_of_a_reader_closes_it(gate, gated):
    """A reader is closed even if the task that closes it is cancelled before a thread is free."""
    gate.opened.set()
    file = await gated.open(await gated.store(DATA))
    gate.opened.clear()
    gate.entered.clear()
    busy = asyncio.create_task(gated.store(DATA))
    await seen(gate.entered)
    closing = asyncio.create_task(file.close())
    await asyncio.sleep(0)
    await cancel(closing)
    gate.opened.set()
    await busy
    with pytest.raises(ValueError, match="closed"):
        await file.tell()


async def test_cancelled_step_closes_its_file(options):
    """A stream cancelled in a step is closed when the step has ended."""
    entered, opened, closed = threading.Event(), threading.Event(), []

    class Slow(ArtifactStore):
        def stream(self, artifact_id, **_):
            try:
                yield b"first"
                entered.set()
                assert opened.wait(SECONDS)
                yield b"second"
            finally:
                closed.append(threading.current_thread())

    async with aio.ArtifactStore.wrap(Slow(**options)) as store:
        stream = store.stream(UNKNOWN)
        assert await anext(stream) == b"first"
        task = asyncio.ensure_future(anext(stream))
        await seen(entered)
        await cancel(task)
        assert closed == []
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        opened.set()
    assert len(closed) == 1
    assert closed[0] is not threading.current_thread()


async def test_abandoned_stream_is_closed(options):
    """A stream closed before its end has released its file by the time the store is closed."""
    closed = []

    class Noting(ArtifactStore):
        def stream(self, artifact_id, **_):
            try:
                yield from (b"1", b"2", b"3")
            finally:
                closed.append(artifact_id)

    async with aio.ArtifactStore.wrap(Noting(**options)) as store:
        stream = store.stream(UNKNOWN)
        async for _ in stream:
            break
        await stream.aclose()
        not_begun = store.stream("not begun")
        await not_begun.aclose()
    assert closed == [UNKNOWN]


# Closing


async def test_close_waits_for_running_calls(gate, gated):
    """Close returns after the last call, then closes the storage, and refuses calls meanwhile."""
    task = asyncio.create_task(gated.store(DATA))
    await seen(gate.entered)
    closing = asyncio.create_task(gated.close())
    await asyncio.sleep(0)
    for call in (lambda: gated.exists(UNKNOWN), lambda: gated.store(b"abc"), lambda: gated.store(pieces())):
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await call()
    assert not closing.done()
    assert gate.log == ["put begins"]
    gate.opened.set()
    await closing
    assert gate.log == ["put begins", "put ends"]
    assert len(await task) == 32


async def pieces():
    """Yield one piece."""
    yield DATA


async def test_close_waits_for_cancelled_calls(gate, gated, options):
    """Close also waits for calls whose task was cancelled: they are stored."""
    task = asyncio.create_task(gated.store(DATA, session_id="alice"))
    await seen(gate.entered)
    await cancel(task)
    closing = asyncio.create_task(gated.close())
    await asyncio.sleep(0)
    gate.opened.set()
    await closing
    if options["storage_provider"] == "filesystem":
        with ArtifactStore(**options) as store:
            (record,) = store.list_by_session("alice")
            assert store.retrieve(record.artifact_id) == DATA


async def test_cancelled_close_goes_on(gate, gated):
    """A close whose wait is cancelled still closes the store."""
    task = asyncio.create_task(gated.store(DATA))
    await seen(gate.entered)
    closing = asyncio.create_task(gated.close())
    await asyncio.sleep(0)
    await cancel(closing)
    gate.opened.set()
    await task
    await gated.close()
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        gate.store.get_stats()


def arguments_of(method):
    """Return arguments that fit the signature of a method."""
    given = {"filename": "a", "mime": "a/b", "summary": "", "data": b"abc", "items": []}
    parameters = list(inspect.signature(getattr(ArtifactStore, method)).parameters.values())[1:]
    return {one.name: given.get(one.name, UNKNOWN) for one in parameters if one.default is one.empty}


VERBS = [
    name
    for name, method in inspect.getmembers(aio.ArtifactStore)
    if not name.startswith("_") and name not in {"wrap", "close"}
]


@pytest.mark.parametrize("method", VERBS)
async def test_closed_store(store, method):
    """After close every method raises, whether it is awaited, iterated, entered or called."""
    await store.close()
    await store.close()

    async def call():
        result = getattr(store, method)(**arguments_of(method))
        await (anext(result) if inspect.isasyncgen(result) else result)

    with pytest.raises(ArtifactStoreError, match="store is closed"):
        await call()


async def test_view_of_a_closed_store(store):
    """Closing a store closes its views."""
    view = store.session("alice")
    await store.close()
    for call in (lambda: view.exists(UNKNOWN), view.list_by_session, lambda: view.store(pieces())):
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await call()


async def test_left_store_is_closed(options):
    """The end of an ``async with`` block closes the store, also after an error."""
    with pytest.raises(ZeroDivisionError):
        async with aio.ArtifactStore(**options) as store:
            raise ZeroDivisionError
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        await store.exists(UNKNOWN)


async def test_closing_a_view_leaves_the_store_open(store):
    """Closing a view closes neither the store nor its other views."""
    one, other = store.session("alice"), store.session("alice")
    artifact_id = await one.store(DATA)
    async with one:
        pass
    for call in (lambda: one.retrieve(artifact_id), one.list_by_session, lambda: one.store(pieces())):
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await call()
    assert await other.retrieve(artifact_id) == await store.retrieve(artifact_id) == DATA


async def test_closing_a_view_waits_for_its_own_calls(gate, options):
    """Closing a view waits for its own calls, not for those of others."""
    async with aio.ArtifactStore.wrap(gate.store) as store:
        one, other = store.session("alice"), store.session("bob")
        mine = asyncio.create_task(one.store(DATA))
        await seen(gate.entered)
        await other.close()
        closing = asyncio.create_task(one.close())
        await asyncio.sleep(0)
        assert not closing.done()
        gate.opened.set()
        await closing
        assert await store.retrieve(await mine) == DATA


async def test_reader_after_close(store):
    """A reader of a closed store can't read, and can be closed."""
    artifact_id = await store.store(DATA)
    async with store.open(artifact_id) as file:
        assert await file.read(1) == b"x"
        await store.close()
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await file.read(1)
    stream = store.stream(artifact_id)
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        await anext(stream)


async def test_stream_after_close(store):
    """A stream of a closed store raises, and releases its file."""
    artifact_id = await store.store(DATA)
    stream = store.stream(artifact_id, chunk_size=10)
    assert await anext(stream) == b"x" * 10
    await store.close()
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        await anext(stream)


# The blocking store


async def test_async_with_on_the_blocking_store(options):
    """``async with`` on a blocking store yields an async view of the same store, and closes both."""
    blocking = ArtifactStore(**options)
    async with blocking as store:
        assert isinstance(store, aio.ArtifactStore)
        artifact_id = await store.store(DATA, session_id="alice")
        assert blocking.retrieve(artifact_id) == DATA
    for call in (lambda: store.retrieve(artifact_id), lambda: asyncio.to_thread(blocking.retrieve, artifact_id)):
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await call()


async def test_async_with_on_a_bound_blocking_store(options):
    """``async with`` on a blocking view yields an async view with the same session, and closes only the view."""
    with ArtifactStore(**options) as blocking:
        foreign_id = blocking.store(DATA, session_id="bob")
        async with blocking.session("alice") as store:
            assert (await store.metadata(await store.store(DATA))).session_id == "alice"
            with pytest.raises(ArtifactNotFoundError):
                await store.retrieve(foreign_id)
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await store.exists(UNKNOWN)
        assert blocking.retrieve(foreign_id) == DATA


async def test_async_with_twice_at_once(options):
    """Entering a blocking store twice yields the same view; the first exit closes it."""
    blocking = ArtifactStore(**options)
    async with blocking as one:
        async with blocking as other:
            assert other is one
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await one.exists(UNKNOWN)


async def test_closing_a_wrapped_store(options):
    """Closing the blocking store closes its async view too."""
    blocking = ArtifactStore(**options)
    store = aio.ArtifactStore.wrap(blocking)
    blocking.close()
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        await store.exists(UNKNOWN)
    await store.close()
    with pytest.raises(ArtifactStoreError, match="store is closed"):
        aio.ArtifactStore.wrap(blocking)

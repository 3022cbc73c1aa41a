"""Data from async iterables, such as the stream of a request."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from chuk_artifacts import ArtifactStoreError, ConflictError, InvalidInputError, aio
from chuk_artifacts.aio import supply

pytestmark = pytest.mark.anyio

SECONDS = 30
MEBIBYTE = b"x" * 1024 * 1024


class SourceError(Exception):
    """An error that a test's source raises."""


async def chunks(*values, error=None, wait=None):
    """Yield chunks, then wait, then raise, as requested."""
    for value in values:
        await asyncio.sleep(0)
        yield value
    if wait is not None:
        await wait.wait()
    if error is not None:
        raise error


class Chunks:
    """An async iterable that is not a generator."""

    def __init__(self, *values):
        self._values = values

    def __aiter__(self):
        """Begin."""
        return chunks(*self._values)


async def nothing_is_left(store):
    """Return whether the store has neither an artifact nor bytes."""
    assert (await store.get_stats())["artifacts"] == 0
    core = store._blocking.scope.core
    assert list(core.storage.list_objects("grid/box/")) == []
    assert list(core.storage.sweep("grid/box/", 1e12)) == []


CONTENTS = [
    (),
    (b"",),
    (b"abc",),
    (b"a", b"", b"bc"),
    (bytearray(b"ab"), memoryview(b"c")),
    (b"x" * 100_000,) * 20,
    (MEBIBYTE, b"y", MEBIBYTE),
    (b"z",) * 5000,
]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("make", [chunks, Chunks])
async def test_store(store, content, make):
    """An async iterable is stored like an iterable."""
    artifact_id = await store.store(make(*content), filename="a", session_id="alice")
    assert await store.retrieve(artifact_id) == b"".join(content)
    assert (await store.metadata(artifact_id)).bytes == sum(map(len, content))


async def test_update_file(store):
    """New content may be an async iterable."""
    artifact_id = await store.store(b"before")
    await store.update_file(artifact_id, data=chunks(b"af", b"ter"), summary="A")
    assert await store.retrieve(artifact_id) == b"after"


async def test_update_file_that_lost_a_race(store):
    """An async iterable that meets another update is not read twice."""
    artifact_id = await store.store(b"before")

    async def slow():
        yield b"mine"
        await store.update_file(artifact_id, data=b"theirs")

    with pytest.raises(ConflictError):
        await store.update_file(artifact_id, data=slow(), if_revision=1)
    assert await store.retrieve(artifact_id) == b"theirs"


async def test_store_batch(store):
    """Items of a batch may have async iterables or other data."""
    items = [{"data": chunks(b"a", b"1")}, {"data": b"b"}, {"data": Chunks(b"c")}, {"data": iter([b"d"])}]
    items += [{"data": chunks(MEBIBYTE, MEBIBYTE), "filename": f"{number}"} for number in range(10)]
    ids = await store.store_batch(iter(items), session_id="alice")
    assert await store.retrieve_batch(ids) == [b"a1", b"b", b"c", b"d"] + [MEBIBYTE * 2] * 10
    ids = await store.store_batch(items=[{"data": chunks(b"a")}])
    assert await store.retrieve_batch(ids) == [b"a"]


async def test_store_batch_is_all_or_nothing(store):
    """When the source of one item fails, no item is stored."""
    error = SourceError("broken")
    items = [
        {"data": chunks(MEBIBYTE)},
        {"data": chunks(b"a", error=error)},
        {"data": chunks(MEBIBYTE)},
        {"data": b"a"},
    ]
    with pytest.raises(SourceError) as caught:
        await store.store_batch(items, session_id="alice")
    assert caught.value is error
    await nothing_is_left(store)


@pytest.mark.parametrize("error", [SourceError("broken"), TimeoutError("late"), ArtifactStoreError("other")])
async def test_error_of_a_source(store, error):
    """An error of the source is raised by the await, and nothing is stored."""
    for values in ((), (b"abc",), (MEBIBYTE, MEBIBYTE)):
        with pytest.raises(type(error)) as caught:
            await store.store(chunks(*values, error=error), session_id="alice")
        assert caught.value is error
    await nothing_is_left(store)


@pytest.mark.parametrize("chunk", ["text", 5, None, [b"a"]])
async def test_chunk_of_another_type(store, chunk):
    """A source that yields anything but bytes is refused, and nothing is stored."""
    with pytest.raises(InvalidInputError, match=type(chunk).__name__):
        await store.store(chunks(b"abc", chunk), session_id="alice")
    await nothing_is_left(store)


async def test_bad_argument_beside_a_source(store):
    """A call with an invalid argument does not read its source."""
    read = []

    async def source():
        read.append(True)
        yield b"abc"

    with pytest.raises(InvalidInputError, match="filename"):
        await store.store(source(), filename="../a")
    assert read == []


async def test_buffer_that_is_used_again(store):
    """A source may yield the same buffer again, with new content."""

    async def source():
        buffer = bytearray(4)
        for number in range(1000):
            buffer[:] = b"%04d" % number
            yield buffer

    artifact_id = await store.store(source())
    assert await store.retrieve(artifact_id) == b"".join(b"%04d" % number for number in range(1000))


async def test_memory_is_bounded(anyio_backend, tmp_path):
    """A source is read at most one piece ahead of the storage."""
    given, most = 0, 0

    async with aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        await store.store(b"before")
        storage = store._blocking.scope.core.storage
        put = storage.put
        streams = []

        def noting_put(key, data, **options):
            streams.append(data)
            return put(key, data, **options)

        storage.put = noting_put

        async def source():
            nonlocal given, most
            for _ in range(640):
                given += 100_000
                yield b"x" * 100_000
                most = max(most, given - streams[0].size)

        artifact_id = await store.store(source())
        assert (await store.metadata(artifact_id)).bytes == 64_000_000
    assert most <= 512 * 1024


async def test_source_is_read_in_the_task_that_calls(store):
    """A source runs in the calling task, with its context variables and timeouts."""
    user = contextvars.ContextVar("user", default="nobody")
    tasks = set()

    async def source():
        for _ in range(3):
            tasks.add(asyncio.current_task())
            yield user.get().encode()
            user.set("bob")

    user.set("alice")
    artifact_id = await store.store(source())
    assert tasks == {asyncio.current_task()}
    assert await store.retrieve(artifact_id) == b"alicebobbob"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await store.store(chunks(b"abc", wait=asyncio.Event()))


async def test_source_that_reads_the_same_store(anyio_backend, options):
    """An artifact may be stored from a stream of the same store, with any number of threads."""
    async with aio.ArtifactStore(**options, max_workers=1) as store:
        artifact_id = await store.store(MEBIBYTE * 3)
        copies = await asyncio.gather(*(store.store(store.stream(artifact_id)) for _ in range(5)))
        for copy_id in copies:
            assert await store.retrieve(copy_id) == MEBIBYTE * 3


async def test_slow_uploads_do_not_delay_other_calls(anyio_backend, options):
    """While more uploads than threads wait for data, other calls go on."""
    arrived = asyncio.Event()
    async with aio.ArtifactStore(**options, max_workers=1) as store:
        uploads = [asyncio.create_task(store.store(chunks(b"a", wait=arrived))) for _ in range(5)]
        artifact_id = await store.store(MEBIBYTE)
        assert await store.retrieve(artifact_id) == MEBIBYTE
        arrived.set()
        assert await store.retrieve_batch(await asyncio.gather(*uploads)) == [b"a"] * 5


async def test_cancelled_upload_leaves_nothing(store):
    """An upload cancelled while it waits for data is undone by the time its store is closed."""
    view, never = store.session("alice"), asyncio.Event()
    reading = asyncio.Event()

    async def source():
        yield MEBIBYTE
        reading.set()
        await never.wait()

    uploads = [
        asyncio.create_task(view.store(source())),
        asyncio.create_task(view.store_batch([{"data": source()}, {"data": source()}, {"data": b"a"}])),
    ]
    await reading.wait()
    for upload in uploads:
        upload.cancel()
    for upload in uploads:
        with pytest.raises(asyncio.CancelledError):
            await upload
    await view.close()
    await nothing_is_left(store)


async def test_upload_goes_on_while_the_store_closes(anyio_backend, tmp_path):
    """Close waits for an upload whose source still yields."""
    arrived, reading = asyncio.Event(), asyncio.Event()

    async def source():
        yield b"a"
        reading.set()
        await arrived.wait()
        yield b"b"

    options = {"storage_provider": "filesystem", "fs_root": tmp_path}
    store = aio.ArtifactStore(**options)
    upload = asyncio.create_task(store.store(source()))
    await reading.wait()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    arrived.set()
    await closing
    async with aio.ArtifactStore(**options) as store:
        assert await store.retrieve(await upload) == b"ab"


@pytest.mark.parametrize("end", ["rests", "closed"])
def test_loop_that_stops(tmp_path, monkeypatch, end):
    """An upload whose event loop stops or is closed is undone, so that its store can be closed."""
    monkeypatch.setattr(supply, "_CHECK_SECONDS", 0.01)
    options = {"storage_provider": "filesystem", "fs_root": tmp_path, "sandbox_id": "box"}
    store = aio.ArtifactStore(**options)
    reading, arrived = asyncio.Event(), asyncio.Event()

    async def source():
        yield MEBIBYTE
        reading.set()
        await arrived.wait()

    async def begin():
        upload = asyncio.create_task(store.store(source()))
        await reading.wait()
        return upload

    async def look():
        await store.close()
        async with aio.ArtifactStore(**options) as other:
            await nothing_is_left(other)

    async def go_on():
        arrived.set()
        with pytest.raises(ArtifactStoreError, match="event loop stopped"):
            await upload

    loop = asyncio.new_event_loop()
    upload = loop.run_until_complete(begin())
    if end == "closed":
        loop.close()
    asyncio.run(look())
    if end == "rests":
        loop.run_until_complete(go_on())
        loop.close()


async def test_threads_are_those_of_the_store(store):
    """A call that reads a source runs in a thread of the store."""
    names = set()

    class Noting(bytes):
        def __len__(self):
            names.add(threading.current_thread().name)
            return super().__len__()

    await store.store(chunks(Noting(b"abc")))
    assert any(name.startswith("chuk-artifacts-upload") for name in names)

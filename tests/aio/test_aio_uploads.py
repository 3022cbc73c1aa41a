"""Data from async iterables, such as the stream of a request."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import io
import sys
import tempfile
import tracemalloc

import pytest
import trio

from chuk_artifacts import ArtifactStore, ArtifactStoreError, ConflictError, InvalidInputError, ProviderError, aio
from chuk_artifacts.aio import uploads, workers

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


@pytest.mark.parametrize("batch", [False, True])
async def test_memory_is_bounded(anyio_backend, tmp_path, batch):
    """Of a long upload, and of a batch of many, no more than some pieces are in memory."""

    async def source(count):
        for _ in range(count):
            yield b"x" * 100_000

    async with aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        await store.store(b"before")
        tracemalloc.start()
        try:
            if batch:
                ids = await store.store_batch([{"data": source(2)} for _ in range(160)])
            else:
                ids = [await store.store(source(320))]
            assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
        finally:
            tracemalloc.stop()
        assert sum([(await store.metadata(one)).bytes for one in ids]) == 32_000_000


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
    """An upload whose event loop rests or is closed is given up and undone; so its store can be closed."""
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.01)
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
        with pytest.raises(ArtifactStoreError, match="store is closed"):
            await upload

    loop = asyncio.new_event_loop()
    upload = loop.run_until_complete(begin())
    if end == "closed":
        loop.close()
    asyncio.run(look())
    if end == "rests":
        loop.run_until_complete(go_on())
        loop.close()


async def test_stalled_uploads_hold_up_nothing(anyio_backend, options):
    """While 300 uploads wait for the rest of their data, some with a piece in a file, every other call goes on."""
    arrived, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def stalling(first):
        yield first
        begun.release()
        await arrived.wait()
        yield b"end"

    async with aio.ArtifactStore(**options, max_workers=2) as store:
        firsts = [b"x" * (10 if number % 10 else uploads.PIECE_BYTES) for number in range(300)]
        stalled = [asyncio.create_task(store.store(stalling(first))) for first in firsts]
        for _ in stalled:
            await begun.acquire()
        other_id = await store.store(chunks(MEBIBYTE))
        assert await store.retrieve(other_id) == MEBIBYTE
        arrived.set()
        ids = await asyncio.gather(*stalled)
        assert await store.retrieve_batch(ids) == [first + b"end" for first in firsts]


async def test_nested_uploads(anyio_backend, options):
    """A source may store something itself, in 100 uploads at once."""

    async def source(number):
        inner_id = await store.store(chunks(b"inner", str(number).encode()))
        yield await store.retrieve(inner_id)

    async with aio.ArtifactStore(**options, max_workers=1) as store:
        ids = await asyncio.gather(*(store.store(source(number)) for number in range(100)))
        assert await store.retrieve_batch(ids) == [b"inner%d" % number for number in range(100)]


@pytest.mark.parametrize(("size", "hops"), [(100, 1), (uploads.PIECE_BYTES * 4, 6)])
async def test_hops_of_an_upload(anyio_backend, tmp_path, size, hops):
    """A small upload takes one hop; a long one a hop a piece beside it."""
    async with aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        submit, submitted = store._calls.workers.submit, []

        def counting(calls, work):
            submitted.append(work)
            return submit(calls, work)

        store._calls.workers.submit = counting
        await store.store(chunks(*[b"x" * (size // 4)] * 4))
        # closing the file takes a hop, but the caller does not wait for it
        assert len(submitted) == hops + (1 if hops > 1 else 0)


# Readers


class Reader:
    """What is read by awaiting ``read``, and iterated over by lines as such readers are."""

    def __init__(self, data, *, closed=False):
        self.closed = closed
        self.sizes = []
        self._file = io.BytesIO(data) if isinstance(data, bytes) else io.StringIO(data)

    async def read(self, size=-1):
        """Return the next bytes."""
        self.sizes.append(size)
        await asyncio.sleep(0)
        return self._file.read(size)

    async def __aiter__(self):
        """Give lines."""
        for line in self._file:
            yield line


LINES = b"\n" * 1_000_000


@pytest.mark.parametrize(
    "data", [b"", b"abc", LINES, bytes(range(256)) * 4096], ids=["empty", "short", "lines", "binary"]
)
async def test_reader(store, data):
    """What has an awaitable read is read in chunks of 256 KiB, by each method."""
    reader = Reader(data)
    artifact_id = await store.store(reader)
    assert await store.retrieve(artifact_id) == data
    assert set(reader.sizes) == {256 * 1024}
    assert len(reader.sizes) == len(data) // (256 * 1024) + 2 - (not data or len(data) % (256 * 1024) == 0)
    await store.update_file(artifact_id, data=Reader(data + b"1"))
    assert await store.retrieve(artifact_id) == data + b"1"
    (batch_id,) = await store.store_batch([{"data": Reader(data)}])
    assert await store.retrieve(batch_id) == data


async def test_stream_reader(store):
    """The reader of asyncio, and so the pipe of a process, is read to its end."""
    reader = asyncio.StreamReader()
    data = bytes(range(256)) * 1000
    reader.feed_data(data)
    reader.feed_eof()
    assert await store.retrieve(await store.store(reader)) == data
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)",
        stdout=asyncio.subprocess.PIPE,
    )
    assert await store.retrieve(await store.store(process.stdout)) == bytes(range(256)) * 4096
    await process.wait()


class Sizeless:
    """What has a read that takes no size, like a part of aiohttp's multipart reader, and can be iterated over."""

    def __init__(self, *values):
        self._values = values

    async def read(self, *, decode=False):
        """Return everything."""
        raise AssertionError

    def __aiter__(self):
        """Begin."""
        return chunks(*self._values)


async def test_read_without_a_size(store):
    """Where read takes no size the chunks of the iteration are stored."""
    assert await store.retrieve(await store.store(Sizeless(b"a", b"bc"))) == b"abc"


@pytest.mark.parametrize(
    ("data", "problem"), [(Reader("text"), "gave str"), (Reader(b"abc", closed=True), "closed")], ids=["text", "closed"]
)
async def test_reader_that_is_of_no_use(store, data, problem):
    """A reader that is closed or gives text is refused, and nothing is stored."""
    artifact_id = await store.store(b"x", session_id="alice")
    for call in (
        lambda: store.store(data, session_id="alice"),
        lambda: store.update_file(artifact_id, data=data),
        lambda: store.store_batch([{"data": b"a"}, {"data": data}], session_id="alice"),
    ):
        with pytest.raises(InvalidInputError, match=problem):
            await call()
    assert [one.artifact_id for one in await store.list_by_session("alice")] == [artifact_id]


async def test_batch_with_a_bad_item_reads_nothing(store):
    """A batch that is wrong somewhere reads none of its sources."""
    reader = Reader(b"abc")
    with pytest.raises(InvalidInputError, match=r"items\[1\]"):
        await store.store_batch([{"data": reader}, {"data": reader, "filename": "../a"}])
    with pytest.raises(InvalidInputError, match="ttl"):
        await store.update_file("0" * 32, data=reader, ttl=-1)
    assert reader.sizes == []


def test_blocking_store_refuses_what_must_be_awaited():
    """The blocking store refuses a reader that must be awaited, and says what to do."""
    with ArtifactStore() as store, pytest.raises(InvalidInputError, match=r"chuk_artifacts\.aio"):
        store.store(Reader(b"abc"))


async def test_full_temporary_folder(store, monkeypatch):
    """Where the temporary file can't be written the upload fails, says so, and leaves nothing."""

    def fail(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with pytest.raises(ProviderError, match="TMPDIR"):
        await store.store(chunks(MEBIBYTE, b"x"))
    await nothing_is_left(store)


async def test_temporary_file_is_closed(anyio_backend, tmp_path, monkeypatch):
    """After an upload, however it ends, its temporary file is closed by the time the store is."""
    files, real, never = [], tempfile.TemporaryFile, asyncio.Event()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: files.append(real(**options)) or files[-1])
    async with aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        await store.store(chunks(MEBIBYTE))
        with pytest.raises(SourceError):
            await store.store(chunks(MEBIBYTE, error=SourceError()))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await store.store(chunks(MEBIBYTE, wait=never))
    assert [file.closed for file in files] == [True] * 3


def test_without_asyncio(tmp_path):
    """Without a running loop of asyncio each method refuses before it does anything."""
    store = aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path)
    memory = aio.ArtifactStore()

    async def use(one):
        artifact_id = one._blocking.store(b"x", session_id="alice")
        for call in (
            lambda: one.store(b"y", session_id="alice"),
            lambda: one.store(chunks(b"y"), session_id="alice"),
            lambda: one.store_batch([{"data": b"y"}], session_id="alice"),
            lambda: one.delete(artifact_id),
            lambda: one.update_metadata(artifact_id, summary="new"),
            lambda: one.delete_session("alice"),
            lambda: anext(one.stream(artifact_id)),
            lambda: one.open(artifact_id),
            one.close,
        ):
            with pytest.raises(ArtifactStoreError, match=r"asyncio.*to_thread\.run_sync"):
                await call()
        with pytest.raises(ArtifactStoreError, match="asyncio"):
            async with one:
                raise AssertionError
        assert [found.summary for found in one._blocking.list_by_session("alice")] == [""]

    for one in (store, memory):
        trio.run(use, one)
        asyncio.run(one.close())


@pytest.mark.parametrize("whole", [False, True])
async def test_close_waits_for_the_call_of_a_cancelled_upload(gated, gate, whole):
    """When an upload is cancelled while its call runs, closing its store or view waits for the call."""
    view = gated if whole else gated.session("alice")
    upload = asyncio.create_task(view.store(chunks(b"abc"), **({"session_id": "alice"} if whole else {})))
    assert await asyncio.to_thread(gate.entered.wait, SECONDS)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    closing = asyncio.create_task(view.close())
    _, waiting = await asyncio.wait([closing], timeout=0.1)
    assert waiting
    gate.opened.set()
    await closing
    assert gate.log[-1] != "put begins"
    assert "put ends" in gate.log

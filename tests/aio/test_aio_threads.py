"""Where calls run: never on the event loop's thread if they may block, and in the context of the calling task."""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
import threading
from pathlib import Path

import pytest

import chuk_artifacts
from chuk_artifacts import InvalidInputError, aio

pytestmark = pytest.mark.anyio

PACKAGE = Path(chuk_artifacts.__file__).parent
BLOCKING = (str(PACKAGE / "storage"), str(PACKAGE / "catalog"), str(PACKAGE / "cleanup.py"), str(PACKAGE / "draft.py"))
SMALL, LARGE = b"x" * 1000, b"x" * 64 * 1024
MEBIBYTE = b"x" * 1024 * 1024
UNKNOWN = "0" * 32


class Where:
    """A clock that records the threads that call it."""

    def __init__(self, clock):
        self._clock = clock
        self.threads = set()

    def __call__(self):
        """Return the present."""
        self.threads.add(threading.current_thread())
        return self._clock()


@pytest.fixture
def where(clock):
    """Return a clock that records its callers' threads."""
    return Where(clock)


async def call_everything(store, folder):
    """Call each method, and read each stream and reader to its end."""
    artifact_id = await store.store(b"abc", filename="a/b", session_id="alice")
    await store.write_file("abc", filename="a/c", session_id="alice")
    await store.store_batch([{"data": b"abc"}, {"data": io.BytesIO(b"abc")}], session_id="alice")
    await store.retrieve(artifact_id)
    await store.read_file(artifact_id)
    async with store.open(artifact_id) as file:
        await file.seek(1)
        await file.read()
        await file.tell()
    async for _ in store.stream(artifact_id, chunk_size=1):
        pass
    async for _ in store.stream(artifact_id, chunk_size=1):
        break
    await store.download(artifact_id, folder / "file")
    await store.retrieve_batch([artifact_id])
    await store.exists(artifact_id)
    await store.metadata(artifact_id)
    await store.update_metadata(artifact_id, summary="A")
    await store.update_file(artifact_id, data=b"abcd")
    await store.move_file(artifact_id, new_filename="b")
    await store.copy_file(artifact_id)
    await store.extend_ttl(artifact_id, 60)
    await store.list_by_session("alice")
    await store.list_files("alice")
    await store.get_directory_contents("alice", "a")
    async for _ in store.iter_session("alice", page_size=1):
        pass
    await store.create_session()
    await store.validate_session("alice")
    await store.get_session_info("alice")
    await store.update_session_metadata("alice", {"a": 1})
    await store.extend_session_ttl("alice", 1)
    await store.session("alice").store(b"abc")
    await store.delete(artifact_id)
    await store.delete_batch([artifact_id])
    await store.delete_session("alice")
    await store.cleanup_expired_sessions()
    await store.cleanup(orphans=True)
    await store.validate_configuration()
    await store.get_stats()
    await store.get_sandbox_info()
    await store.close()


async def test_filesystem_is_never_used_on_the_thread_of_the_loop(tmp_path):
    """No method of a filesystem store uses storage or catalog on the loop's thread."""
    store = aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "root")
    seen = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(BLOCKING):
            seen.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        await call_everything(store, tmp_path)
    finally:
        sys.setprofile(None)
    assert seen == []


async def test_small_calls_in_memory_run_inline(where):
    """In memory, a call that handles less than 64 KiB runs on the loop's thread."""
    async with aio.ArtifactStore(clock=where) as store:
        for data in (SMALL, bytearray(SMALL), LARGE[:-100]):
            artifact_id = await store.store(data, filename="a.txt", session_id="alice", meta={"a": 1}, ttl=60)
            assert await store.retrieve(artifact_id) == data
            await store.copy_file(artifact_id)
        await store.write_file("abc", filename="a.txt", session_id="alice")
        await store.read_file(artifact_id)
        await store.update_metadata(artifact_id, summary="A")
        await store.session("alice").exists(artifact_id)
        await store.get_session_info("alice")
        await store.list_by_session("alice", 20)
        await store.list_files("alice", "a", limit=1)
        await store.get_directory_contents("alice", limit=20)
        await store.delete(artifact_id)
    assert where.threads == {threading.current_thread()}


HOPS = {
    "bytes": lambda store, large_id, path: store.store(LARGE),
    "bytearray": lambda store, large_id, path: store.store(bytearray(LARGE)),
    "memoryview": lambda store, large_id, path: store.store(memoryview(SMALL)),
    "path": lambda store, large_id, path: store.store(path),
    "file": lambda store, large_id, path: store.store(io.BytesIO(SMALL)),
    "list": lambda store, large_id, path: store.store([SMALL]),
    "iterator": lambda store, large_id, path: store.store(iter([SMALL])),
    "keywords": lambda store, large_id, path: store.store(data=[SMALL], filename="a"),
    "text": lambda store, large_id, path: store.write_file("ü" * 20_000, filename="a"),
    "update_file": lambda store, large_id, path: store.update_file(large_id, data=LARGE),
    "retrieve": lambda store, large_id, path: store.retrieve(large_id),
    "retrieve by keyword": lambda store, large_id, path: store.retrieve(artifact_id=large_id),
    "read_file": lambda store, large_id, path: store.read_file(large_id),
    "copy_file": lambda store, large_id, path: store.copy_file(large_id),
    "download": lambda store, large_id, path: store.download(large_id, path),
    "stream": lambda store, large_id, path: anext(store.stream(large_id)),
    "list_by_session": lambda store, large_id, path: store.list_by_session("alice"),
    "list_by_session 21": lambda store, large_id, path: store.list_by_session("alice", 21),
    "list_files": lambda store, large_id, path: store.list_files("alice", "", None),
    "list_files 21": lambda store, large_id, path: store.list_files("alice", limit=21),
    "get_stats": lambda store, large_id, path: store.get_stats(),
}


@pytest.mark.parametrize("call", HOPS.values(), ids=HOPS)
async def test_large_or_blocking_calls_run_in_a_thread(where, tmp_path, call):
    """In memory too, a call runs in a thread if it is large, may block, or handles every artifact."""
    path = tmp_path / "file"
    path.write_bytes(SMALL)
    async with aio.ArtifactStore(clock=where) as store:
        large_id = await store.store(LARGE, session_id="alice")
        where.threads.clear()
        await call(store, large_id, path)
        assert where.threads
        assert threading.current_thread() not in where.threads


async def test_metadata_of_a_large_artifact_runs_inline(where):
    """The size of an artifact counts only for methods that read its content."""
    async with aio.ArtifactStore(clock=where) as store:
        large_id = await store.store(LARGE)
        where.threads.clear()
        await store.metadata(large_id)
        await store.move_file(large_id, new_filename="a")
        await store.delete(large_id)
    assert where.threads == {threading.current_thread()}


async def test_inline_calls_yield_to_the_loop():
    """A task that makes many inline calls lets other tasks run."""
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with aio.ArtifactStore() as store:
        counter = asyncio.create_task(count())
        for _ in range(1000):
            await store.exists(UNKNOWN)
        seen = turns
        counter.cancel()
    assert seen >= 10


async def test_as_many_calls_as_workers(tmp_path):
    """As many calls as there are workers run concurrently, and no more."""
    at_once = threading.Barrier(3)

    def pieces():
        at_once.wait(30)
        yield b"abc"

    async with aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path, max_workers=3) as store:
        assert len(set(await asyncio.gather(*(store.store(pieces()) for _ in range(6))))) == 6


async def test_heart_beats_while_much_is_stored(store):
    """While 100 MB are stored from an iterator, other tasks run between any two pieces."""
    beat, beats = threading.Event(), 0

    async def heart():
        nonlocal beats
        while True:
            beats += 1
            beat.set()
            await asyncio.sleep(0)

    def pieces():
        for _ in range(100):
            beat.clear()
            assert beat.wait(30)
            yield MEBIBYTE

    heart_task = asyncio.create_task(heart())
    artifact_id = await store.store(pieces())
    assert beats >= 100
    assert (await store.metadata(artifact_id)).bytes == 100 * len(MEBIBYTE)
    heart_task.cancel()


async def test_heart_beats_while_bytes_are_stored_and_retrieved(store):
    """While 100 MB of bytes are stored and read, other tasks run."""
    beats = 0

    async def heart():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    heart_task = asyncio.create_task(heart())
    data = MEBIBYTE * 100
    artifact_id = await store.store(data)
    while_stored = beats
    assert await store.retrieve(artifact_id) == data
    assert while_stored >= 10
    assert beats - while_stored >= 10
    heart_task.cancel()


async def test_context_variables(options):
    """A call in a thread sees the calling task's context variables, and changes none of them."""
    user = contextvars.ContextVar("user")
    seen = []

    def pieces():
        seen.append(user.get())
        user.set("changed")
        yield b"abc"

    async def store_as(name, store):
        user.set(name)
        await store.store(pieces())
        return user.get()

    async with aio.ArtifactStore(**options) as store:
        tasks = [asyncio.create_task(store_as(name, store)) for name in ("alice", "bob")]
        assert await asyncio.gather(*tasks) == ["alice", "bob"]
    assert sorted(seen) == ["alice", "bob"]


async def test_errors_are_raised_by_the_await(store):
    """Errors of a call are raised where it is awaited, as the blocking store raises them."""
    call = store.store("text")
    with pytest.raises(InvalidInputError, match="write_file"):
        await call
    with pytest.raises(InvalidInputError, match=r"items\[0\]: unknown argument"):
        await store.store_batch([{"data": b"a", "nmae": "b"}])
    with pytest.raises(TypeError):
        await store.store(b"abc", nmae="b")
    with pytest.raises(TypeError):
        await store.store_batch()
    assert (await store.get_stats())["artifacts"] == 0

"""trio, and anyio on it: the async store refuses before it does anything, the blocking one works in their threads."""

from __future__ import annotations

from functools import partial

import pytest

from chuk_artifacts import ArtifactStore, ArtifactStoreError, aio

anyio = pytest.importorskip("anyio")
trio = pytest.importorskip("trio")

RUNNERS = {"trio": trio.run, "anyio": partial(anyio.run, backend="trio")}

CALLS = {
    "store": lambda files, file_id: files.store(b"new", session_id="alice"),
    "write_file": lambda files, file_id: files.write_file("new", filename="new.txt", session_id="alice"),
    "update_file": lambda files, file_id: files.update_file(file_id, data=b"new"),
    "update_metadata": lambda files, file_id: files.update_metadata(file_id, summary="new"),
    "extend_ttl": lambda files, file_id: files.extend_ttl(file_id, 3600),
    "delete": lambda files, file_id: files.delete(file_id),
    "delete_batch": lambda files, file_id: files.delete_batch([file_id]),
    "store_batch": lambda files, file_id: files.store_batch([{"data": b"new"}], session_id="alice"),
    "copy_file": lambda files, file_id: files.copy_file(file_id, new_filename="new.txt"),
    "move_file": lambda files, file_id: files.move_file(file_id, new_filename="new.txt"),
    "create_session": lambda files, file_id: files.create_session("alice"),
    "delete_session": lambda files, file_id: files.delete_session("alice"),
    "retrieve": lambda files, file_id: files.retrieve(file_id),
    "metadata": lambda files, file_id: files.metadata(file_id),
    "close": lambda files, file_id: files.close(),
}


@pytest.fixture(params=["memory", "filesystem"])
def blocking(request, options):
    """Return a blocking store, on disk and in memory, where the async one calls it without a thread."""
    with ArtifactStore(**{**options, "storage_provider": request.param}) as store:
        yield store


def seen(store):
    """Return all that a call could have changed."""
    return store.list_by_session("alice"), store.get_session_info("alice"), store.get_stats()


@pytest.mark.parametrize("runner", RUNNERS)
def test_refused_before_anything_is_done(blocking, runner):
    """Each awaited method raises an error that names asyncio and the way to do it, and has changed nothing."""
    file_id = blocking.store(b"before", filename="a.txt", session_id="alice")
    before = seen(blocking)
    files = aio.ArtifactStore.wrap(blocking)

    async def main(call):
        with pytest.raises(ArtifactStoreError, match=r"asyncio.*to_thread\.run_sync"):
            await call(files, file_id)

    for name, call in CALLS.items():
        RUNNERS[runner](main, call)
        assert seen(blocking) == before, name


def test_streams_are_refused(blocking):
    """Readers, streams, listings and ``async with`` raise the same error."""
    file_id = blocking.store(b"before", session_id="alice")
    files = aio.ArtifactStore.wrap(blocking)

    async def main():
        with pytest.raises(ArtifactStoreError, match="asyncio"):
            async with files.open(file_id):
                pass
        with pytest.raises(ArtifactStoreError, match="asyncio"):
            await anext(aiter(files.stream(file_id)))
        with pytest.raises(ArtifactStoreError, match="asyncio"):
            await anext(aiter(files.iter_session("alice")))
        with pytest.raises(ArtifactStoreError, match="asyncio"):
            async with files:
                pass

    trio.run(main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_blocking_store_in_threads(store, backend):
    """The blocking store works in anyio's threads, on asyncio and on trio."""

    async def main():
        file_id = await anyio.to_thread.run_sync(partial(store.store, b"hello", session_id="alice"))
        return await anyio.to_thread.run_sync(store.retrieve, file_id)

    assert anyio.run(main, backend=backend) == b"hello"


@pytest.mark.anyio
async def test_anyio_file_is_stored(files, tmp_path):
    """A file that anyio opened is stored, on asyncio."""
    path = anyio.Path(tmp_path / "a.bin")
    await path.write_bytes(b"x" * 100_000)
    async with await path.open("rb") as file:
        file_id = await files.store(file)
    assert (await files.metadata(file_id)).bytes == 100_000


@pytest.mark.anyio
async def test_cancel_scope_ends_the_wait(files):
    """An anyio cancel scope around an upload whose source stalls ends it, and leaves nothing behind."""

    async def stalled():
        yield b"begin"
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await files.store(stalled(), session_id="alice")
    assert scope.cancelled_caught
    assert await files.list_by_session("alice") == []

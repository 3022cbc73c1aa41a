"""One store with many event loops, threads and processes; readers and streams on each."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import child
import pytest

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, InvalidInputError, aio

uvloop = pytest.importorskip("uvloop")  # Windows has none

SECONDS = 60
LARGE = b"0123456789" * 100_000
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def run(coroutine, loop_factory=asyncio.new_event_loop):
    """Run a coroutine on a new event loop."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(coroutine)


def test_two_loops_in_two_threads(options):
    """A store works on two event loops in two threads at once, and is closed from a third."""
    store = aio.ArtifactStore(**options)
    at_once = threading.Barrier(2)

    async def work(name):
        view = store.session(name)
        at_once.wait(SECONDS)
        ids = await asyncio.gather(*(view.store(LARGE + b"%d" % number) for number in range(20)))
        for number, artifact_id in enumerate(ids):
            assert await store.retrieve(artifact_id) == LARGE + b"%d" % number
            assert [chunk async for chunk in store.stream(artifact_id, start=len(LARGE))] == [b"%d" % number]
        return len(await view.list_by_session())

    with ThreadPoolExecutor(2) as threads:
        counts = threads.map(lambda name, loop: run(work(name), loop), ["alice", "bob"], LOOPS)
        assert list(counts) == [20, 20]
    run(store.close())


@pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
def test_loop_after_loop(options, loop_factory):
    """A store, its readers and its streams outlive the event loop they were first used on."""
    store = aio.ArtifactStore(**options)
    artifact_id = run(store.store(LARGE), loop_factory)
    file, stream = store.open(artifact_id), store.stream(artifact_id, chunk_size=400_000)

    async def opened():
        return await file

    assert run(opened(), loop_factory) is file
    assert run(file.read(10), loop_factory) == b"0123456789"
    assert run(file.tell(), loop_factory) == 10
    for coroutine in (file.close(), file.close(), stream.aclose(), store.close()):
        run(coroutine, loop_factory)


def test_store_needs_no_loop(options):
    """A store can be created, bound and asked for keys without a running event loop."""
    store = aio.ArtifactStore(**options)
    assert store.get_canonical_prefix("alice") == "grid/box/alice/"
    assert store.session("alice").get_canonical_prefix() == "grid/box/alice/"
    assert store.parse_grid_key("grid/box/alice/a").session_id == "alice"
    run(store.close())


def test_fork(tmp_path):
    """A child of a fork can use and close the inherited store, though not its threads."""
    code = """
        import asyncio, os, sys
        from chuk_artifacts.aio import ArtifactStore

        store = ArtifactStore(storage_provider="filesystem", fs_root=sys.argv[1])

        async def use():
            return await store.retrieve(await store.store(iter([b"abc"]), session_id="alice"))

        asyncio.run(use())
        child = os.fork()
        assert asyncio.run(use()) == b"abc"
        asyncio.run(store.close())
        if child == 0:
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    paths = os.pathsep.join(sys.path)
    # Coverage has a lock that another thread may hold during the fork, and that would hang the child.
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", dedent(code), str(tmp_path)],
        env={**child.unmeasured(), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_end_without_close(tmp_path):
    """A program that ends without closing its store ends, and completes its calls."""
    code = """
        import asyncio, sys
        from chuk_artifacts.aio import ArtifactStore

        store = ArtifactStore(storage_provider="filesystem", fs_root=sys.argv[1])

        async def main():
            asyncio.create_task(store.store(b"abc", session_id="alice"))
            await store.store(b"abc", session_id="alice")

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.anyio
async def test_pickle(store, options):
    """An unpickled store has the same settings and number of threads."""
    artifact_id = await store.store(LARGE, session_id="alice")
    async with pickle.loads(pickle.dumps(store)) as copy:
        if options["storage_provider"] == "filesystem":
            assert await copy.retrieve(artifact_id) == LARGE
        assert await copy.get_sandbox_info() == await store.get_sandbox_info()


@pytest.mark.anyio
async def test_reader(store):
    """A reader opens by ``async with`` or ``await``, and reads, seeks, tells and closes."""
    artifact_id = await store.store(LARGE)
    async with store.open(artifact_id) as file:
        assert (await file.read(3), await file.tell()) == (b"012", 3)
        assert await file.seek(-2, os.SEEK_END) == len(LARGE) - 2
        assert await file.read() == b"89"
        assert await file.read(5) == b""
    with pytest.raises(ValueError, match="closed"):
        await file.read()
    file = await store.open(artifact_id)
    assert len(await file.read(-1)) == len(LARGE)
    await file.close()
    await file.close()
    with pytest.raises(ValueError, match="not open"):
        await store.open(artifact_id).read()
    with pytest.raises(ArtifactNotFoundError):
        await store.open("0" * 32)
    with pytest.raises(ArtifactNotFoundError):
        async with store.open("0" * 32):
            pass


class Careful(io.BytesIO):
    """A file that detects use by two threads at once."""

    _using = threading.Lock()

    def read(self, size=-1):
        """Read, slowly enough for another thread to come."""
        assert self._using.acquire(blocking=False)
        time.sleep(0)
        data = super().read(size)
        self._using.release()
        return data


@pytest.mark.anyio
async def test_reader_used_by_several_tasks(anyio_backend, options):
    """Calls of one reader by several tasks run one after the other, and lose nothing."""

    class Store(ArtifactStore):
        def open(self, artifact_id):
            return Careful(LARGE)

    async with aio.ArtifactStore.wrap(Store(**options)) as store, store.open("0" * 32) as file:
        parts = await asyncio.gather(*(file.read(1000) for _ in range(1000)))
    assert sorted(parts) == sorted(LARGE[at : at + 1000] for at in range(0, len(LARGE), 1000))


@pytest.mark.anyio
async def test_stream(store):
    """A stream is an async generator: it yields chunks, can be closed, and checks its arguments at the first step."""
    artifact_id = await store.store(LARGE)
    stream = store.stream(artifact_id, chunk_size=300_000)
    assert inspect.isasyncgen(stream)
    assert [len(chunk) async for chunk in stream] == [300_000, 300_000, 300_000, 100_000]
    async with contextlib.aclosing(store.stream(artifact_id, start=5, chunk_size=5)) as stream:
        assert await anext(stream) == b"56789"
    bad = store.stream(artifact_id, chunk_size=0)
    with pytest.raises(InvalidInputError, match="chunk_size"):
        await anext(bad)


@pytest.mark.anyio
async def test_iter_session(anyio_backend, tmp_path):
    """A session is iterated page by page: each page is one thread call, and read when needed."""
    pages = []
    async with aio.ArtifactStore(storage_provider="filesystem", fs_root=tmp_path) as store:
        await store.store_batch([{"data": b"", "filename": f"{number}"} for number in range(7)], session_id="alice")
        catalog = store._blocking.scope.core.catalog
        page = catalog.page
        catalog.page = lambda *args, **kwargs: pages.append(kwargs["limit"]) or page(*args, **kwargs)
        records = store.iter_session("alice", page_size=3)
        names = [(await anext(records)).filename for _ in range(3)]
        assert pages == [3]
        names += [record.filename async for record in records]
        assert names == [f"{number}" for number in range(7)]
        assert pages == [3, 3, 3]
        with pytest.raises(InvalidInputError, match="page_size"):
            await anext(store.iter_session("alice", page_size="3"))

"""aiofiles: files whose methods are awaited are read in chunks, whatever their lines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from chuk_artifacts import InvalidInputError

aiofiles = pytest.importorskip("aiofiles")

pytestmark = pytest.mark.anyio


class Counting(ThreadPoolExecutor):
    """Threads that count what they are given."""

    count = 0

    def submit(self, *args, **kwargs):
        """Count a call, and begin it."""
        self.count += 1
        return super().submit(*args, **kwargs)


@pytest.fixture
def path(tmp_path):
    """Return the path of a file of short lines."""
    path = tmp_path / "lines.txt"
    path.write_bytes(b"ab\n" * 10_000)
    return path


async def test_file_is_stored(files, path):
    """A file that aiofiles opened is stored as it is."""
    async with aiofiles.open(path, "rb") as file:
        file_id = await files.store(file)
    assert await files.retrieve(file_id) == path.read_bytes()


async def test_short_lines_cost_few_calls(files, path):
    """A file of ten thousand lines is read by a few calls of read(n), and not by one for each line."""
    with Counting() as threads:
        async with aiofiles.open(path, "rb", executor=threads) as file:
            await files.store(file)
    assert threads.count < 10


@pytest.mark.parametrize("method", ["store", "update_file", "store_batch"])
async def test_text_mode_is_refused(files, path, method):
    """A file in text mode is refused as invalid input, and nothing is stored."""
    async with aiofiles.open(path, "r") as file:
        with pytest.raises(InvalidInputError):
            await give(files, method, file)


@pytest.mark.parametrize("method", ["store", "update_file", "store_batch"])
async def test_closed_file_is_refused(files, path, method):
    """A closed file is refused as invalid input, and nothing is stored."""
    async with aiofiles.open(path, "rb") as file:
        pass
    with pytest.raises(InvalidInputError):
        await give(files, method, file)


async def give(files, method, source):
    """Give a source to one of the methods that take data."""
    file_id = await files.store(b"before", session_id="alice")
    try:
        if method == "store":
            await files.store(source, session_id="alice")
        elif method == "update_file":
            await files.update_file(file_id, data=source)
        else:
            await files.store_batch([{"data": b"first"}, {"data": source}], session_id="alice")
    finally:
        assert [(file.artifact_id, file.revision) for file in await files.list_by_session("alice")] == [(file_id, 1)]

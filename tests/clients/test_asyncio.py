"""asyncio's own sources: the pipes of a subprocess, sockets, and uploads that store while they are read."""

from __future__ import annotations

import asyncio
import sys

import pytest

pytestmark = pytest.mark.anyio

AT_ONCE = 100
NO_NEWLINE = "sys.stdout.buffer.write(b'x' * 1_000_000)"
SHORT_LINES = "sys.stdout.buffer.write(b'ab\\n' * 100_000)"


async def piped(code, use):
    """Run Python code, and return what *use* makes of its standard output."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"import sys; {code}", stdout=-1)
    try:
        return await use(process.stdout)
    finally:
        process._transport.close()
        await process.wait()


@pytest.mark.parametrize(("code", "size"), [(NO_NEWLINE, 10**6), (SHORT_LINES, 300_000)])
async def test_pipe_is_stored(files, code, size):
    """The output of a subprocess is stored, with lines of any length or without any."""
    file_id = await piped(code, files.store)
    assert (await files.metadata(file_id)).bytes == size


async def test_pipe_replaces_content(files):
    """The output of a subprocess becomes the new content of a file."""
    file_id = await files.store(b"before")
    changed = await piped(NO_NEWLINE, lambda output: files.update_file(file_id, data=output))
    assert (changed.bytes, changed.revision) == (10**6, 2)


async def test_pipe_in_a_batch(files):
    """The output of a subprocess may be the data of an item of a batch."""
    _, file_id = await piped(NO_NEWLINE, lambda output: files.store_batch([{"data": b"first"}, {"data": output}]))
    assert (await files.metadata(file_id)).bytes == 10**6


async def test_socket_is_stored(files):
    """What a client sends over a socket is stored, up to the end of its side of the connection."""
    stored = asyncio.get_running_loop().create_future()

    async def receive(reader, writer):
        try:
            stored.set_result(await files.store(reader))
        except ValueError as error:
            stored.set_exception(error)
        finally:
            writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        file_id = await stored
        writer.close()
    assert (await files.metadata(file_id)).bytes == 1_000_000


async def test_nested_uploads(files):
    """A hundred uploads at once, whose sources store a stream of their own, all come to their end."""

    async def source(number):
        async def inner():
            yield b"inner"

        yield b"begin "
        await files.store(inner(), session_id="inner")
        yield str(number).encode()

    async with asyncio.timeout(10):
        ids = await asyncio.gather(*(files.store(source(number), session_id="outer") for number in range(AT_ONCE)))
    assert await files.retrieve(ids[42]) == b"begin 42"
    assert len(await files.list_by_session("inner")) == AT_ONCE


async def test_stalled_uploads_hold_up_no_other(files):
    """While three hundred uploads wait for their next byte, another is stored; then each of them is stored too."""
    everyone, resume = asyncio.Barrier(301), asyncio.Event()

    async def stalled():
        yield b"0123456789"
        await everyone.wait()
        await resume.wait()

    async def other():
        yield b"other"

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        uploads = [group.create_task(files.store(stalled(), session_id="stalled")) for _ in range(300)]
        async with asyncio.timeout(10):
            await everyone.wait()
            assert await files.retrieve(await files.store(other())) == b"other"
        resume.set()
    assert len({upload.result() for upload in uploads}) == 300

"""aiohttp: bodies of requests and answers, forms, and downloads by its server."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from chuk_artifacts import aio

aiohttp = pytest.importorskip("aiohttp")
web = pytest.importorskip("aiohttp.web")

pytestmark = pytest.mark.anyio

LONG = b"x" * 1_000_000  # longer than aiohttp allows a line to be


@pytest.fixture
def application(files):
    """Return a function that serves a store at /files/NAME, and gives a client of that server."""

    async def upload(request):
        return web.Response(text=await files.store(request.content, filename=request.match_info["name"]))

    async def upload_chunks(request):
        return web.Response(text=await files.store(request.content.iter_any()))

    async def upload_form(request):
        reader = await request.multipart()
        part = await reader.next()
        return web.Response(text=await files.store(part, filename=part.filename, mime=part.headers["Content-Type"]))

    async def upload_parsed_form(request):
        field = (await request.post())["file"]
        return web.Response(text=await files.store(field.file, filename=field.filename, mime=field.content_type))

    async def download(request):
        answer = await aio.respond(files, request.match_info["id"], request.method, request.headers)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        async for chunk in answer:
            await response.write(chunk)
        return response

    app = web.Application(client_max_size=10 * len(LONG))
    app.add_routes(
        [
            web.put("/files/{name}", upload),
            web.put("/chunks", upload_chunks),
            web.post("/form", upload_form),
            web.post("/parsed", upload_parsed_form),
            web.get("/files/{id}", download),
        ]
    )

    @asynccontextmanager
    async def served():
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        try:
            async with aiohttp.ClientSession(f"http://{host}:{port}", raise_for_status=True) as client:
                yield client
        finally:
            await runner.cleanup()

    return served


async def test_request_content(application, files):
    """The body of a request is stored by ``store(request.content)``, also when it has no lines."""
    async with application() as client, client.put("/files/a.bin", data=LONG) as answer:
        file_id = await answer.text()
    assert await files.retrieve(file_id) == LONG


async def test_request_chunks(application, files):
    """The body of a request is stored by its chunks."""
    async with application() as client, client.put("/chunks", data=LONG) as answer:
        file_id = await answer.text()
    assert await files.retrieve(file_id) == LONG


async def test_answer_is_stored(application, files):
    """The body of an answer is stored by ``store(response.content)``, while it is downloaded."""
    first = await files.store(LONG)
    async with application() as client, client.get(f"/files/{first}") as answer:
        second = await files.store(answer.content)
    assert await files.retrieve(second) == LONG


@pytest.mark.parametrize("path", ["/form", "/parsed"])
async def test_form(application, files, path):
    """A file of a form is stored, as a part that is read from the network and as a field that is parsed before.

    The part has a ``read`` that takes no size, and chunks when it is iterated.
    """
    form = aiohttp.FormData()
    form.add_field("file", LONG, filename="photo.png", content_type="image/png")
    async with application() as client, client.post(path, data=form) as answer:
        file = await files.metadata(await answer.text())
    assert (file.bytes, file.filename, file.mime) == (len(LONG), "photo.png", "image/png")


async def test_broken_upload_leaves_nothing(application, files):
    """An upload whose client goes away in the middle leaves no file behind."""

    async def half():
        yield b"half"
        raise ZeroDivisionError

    before = (await files.get_stats())["artifacts"]
    async with application() as client:
        with pytest.raises(aiohttp.ClientError):
            await client.put("/files/a.bin", data=half())
    assert (await files.get_stats())["artifacts"] == before


async def test_download(application, files):
    """A file is downloaded by a handler that answers with ``respond``: whole, in part, and not again."""
    file_id = await files.store(LONG, mime="image/png", filename="a/photo.png")
    path = f"/files/{file_id}"
    async with application() as client:
        async with client.get(path) as answer:
            assert (answer.content_type, answer.content_length) == ("image/png", len(LONG))
            assert answer.content_disposition.filename == "photo.png"
            assert await answer.read() == LONG
        async with client.get(path, headers={"If-None-Match": answer.headers["ETag"]}) as again:
            assert (again.status, await again.read()) == (304, b"")
        async with client.get(path, headers={"Range": "bytes=-5"}) as part:
            assert (part.status, await part.read()) == (206, LONG[-5:])

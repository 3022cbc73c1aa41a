"""Starlette: forms that it parses, answers that it streams, and the ASGI gateway mounted beside its routes."""

from __future__ import annotations

import asyncio
import io
import urllib.request

import pytest

from chuk_artifacts import aio

pytest.importorskip("starlette")
applications = pytest.importorskip("starlette.applications")
responses = pytest.importorskip("starlette.responses")
routing = pytest.importorskip("starlette.routing")
datastructures = pytest.importorskip("starlette.datastructures")


@pytest.fixture
def upload():
    """Return an upload as Starlette makes it of a form's part."""
    return datastructures.UploadFile(io.BytesIO(b"x" * 600_000), filename="a.bin")


@pytest.mark.anyio
async def test_store(files, upload):
    """An UploadFile is stored as it is."""
    assert await files.retrieve(await files.store(upload)) == b"x" * 600_000


@pytest.mark.anyio
async def test_update(files, upload):
    """An UploadFile becomes the new content of a file."""
    assert (await files.update_file(await files.store(b"before"), data=upload)).bytes == 600_000


@pytest.mark.anyio
async def test_batch(files, upload):
    """An UploadFile may be the data of an item of a batch."""
    (file_id,) = await files.store_batch([{"data": upload}])
    assert (await files.metadata(file_id)).bytes == 600_000


@pytest.mark.anyio
async def test_closed(files, upload):
    """An UploadFile that Starlette has closed is refused as invalid input."""
    await upload.close()
    with pytest.raises(aio.InvalidInputError, match="closed"):
        await files.store(upload)


def test_streamed_answer(serve, options, store):
    """A StreamingResponse of a file's stream is complete."""
    file_id = store.store(b"x" * 3_000_000)
    files = aio.ArtifactStore(**options)

    async def download(request):
        return responses.StreamingResponse(files.stream(request.path_params["id"]))

    port = serve(applications.Starlette(routes=[routing.Route("/{id}", download)]))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{file_id}") as answer:
        assert answer.read() == b"x" * 3_000_000
    asyncio.run(files.close())


@pytest.mark.anyio
async def test_mounted_gateway(serve, options, to_thread):
    """The gateway answers below the path that it is mounted at, and the application's routes beside it."""

    async def home(request):
        return responses.PlainTextResponse("home")

    async with aio.ArtifactStore(**options, gateway_url="http://localhost/deep/files") as files:
        routes = [routing.Route("/", home), routing.Mount("/deep/files", app=aio.Gateway(files))]
        here = f"http://127.0.0.1:{serve(applications.Starlette(routes=routes))}"
        url = await files.presign(await files.store(b"hello", filename="a.txt"))
        assert await to_thread(fetch, url.replace("http://localhost", here)) == b"hello"
        assert await to_thread(fetch, here) == b"home"


def fetch(url):
    """Return what a URL answers."""
    with urllib.request.urlopen(url) as answer:
        return answer.read()

"""The web application of the page on FastAPI."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from blocks import block
from starlette.requests import ClientDisconnect

CONTENT = b"0123456789" * 300_000


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def in_app(use):
    """Run *use* with the page's web application and a client of it."""
    app = block("docs/howto/fastapi.md", "Upload and download")["app"]

    async def main():
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
        ):
            await use(app, client)

    asyncio.run(main())


def test_upload_and_download():
    """A client can download what it uploaded in pieces; another user can't."""

    async def body():
        for start in range(0, len(CONTENT), 65_536):
            yield CONTENT[start : start + 65_536]

    async def use(app, client):
        alice, bob = {"user": "alice", "content-type": "text/x-digits"}, {"user": "bob"}
        answer = await client.put("/files/sub/digits.txt", content=body(), headers=alice)
        path = f"/files/{answer.json()['file_id']}"
        downloaded = await client.get(path, headers=alice)
        assert downloaded.content == CONTENT
        assert downloaded.headers["content-length"] == str(len(CONTENT))
        assert downloaded.headers["content-type"].startswith("text/x-digits")
        assert (await client.get(path, headers=bob)).status_code == 404
        assert (await client.put("/files/a/", content=b"a", headers=bob)).status_code == 400
        assert await app.state.store.list_by_session("user_bob") == []
        (record,) = await app.state.store.list_by_session("user_alice")
        assert record.filename == "sub/digits.txt"

    in_app(use)


def test_upload_that_breaks_off():
    """A client that disconnects during an upload leaves nothing."""

    async def use(app, client):
        messages = [
            {"type": "http.request", "body": CONTENT, "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive():
            return messages.pop(0)

        async def send(message):
            pass

        scope = {"type": "http", "method": "PUT", "path": "/files/a", "query_string": b"", "headers": [(b"user", b"a")]}
        with pytest.raises(ClientDisconnect):
            await app(scope, receive, send)
        assert messages == []
        assert (await app.state.store.get_stats())["artifacts"] == 0

    in_app(use)


def test_download_of_a_part():
    """A download has its file's name and an ETag, can be resumed, and is not sent again to a client that has it."""

    async def use(app, client):
        alice = {"user": "alice"}
        answer = await client.put("/files/docs/a%20b.txt", content=CONTENT, headers=alice)
        path = f"/files/{answer.json()['file_id']}"
        whole = await client.get(path, headers=alice)
        assert whole.headers["content-disposition"] == 'attachment; filename="a b.txt"'
        etag = whole.headers["etag"]
        part = await client.get(path, headers={**alice, "range": "bytes=10-19", "if-range": etag})
        assert (part.status_code, part.content) == (206, CONTENT[10:20])
        assert (await client.get(path, headers={**alice, "if-none-match": etag})).status_code == 304
        assert (await client.get(path, headers={**alice, "range": "bytes=9000000-"})).status_code == 416

    in_app(use)

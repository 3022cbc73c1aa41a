"""The web application of the page on FastAPI."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from blocks import block

from chuk_artifacts import ConflictError, ProviderError, SessionError

CONTENT = b"0123456789" * 300_000


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def in_app(use):
    """Run *use* with the page's web application and a client of it."""
    app = block("docs/howto/fastapi.md", "Upload and download", "Replace a file", "List page by page")["app"]

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
        answer = await client.post("/files/sub/digits.txt", content=body(), headers=alice)
        path = f"/files/{answer.json()['file_id']}"
        downloaded = await client.get(path, headers=alice)
        assert downloaded.content == CONTENT
        assert downloaded.headers["content-length"] == str(len(CONTENT))
        assert downloaded.headers["content-type"].startswith("text/x-digits")
        assert (await client.get(path, headers=bob)).status_code == 404
        assert (await client.post("/files/a/", content=b"a", headers=bob)).status_code == 400
        assert await app.state.store.list_by_session("user:bob") == []
        (record,) = await app.state.store.list_by_session("user:alice")
        assert record.filename == "sub/digits.txt"

    in_app(use)


def test_upload_that_breaks_off():
    """A client that disconnects during an upload leaves nothing."""

    async def use(app, client):
        sent = []
        messages = [
            {"type": "http.request", "body": CONTENT, "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/files/a",
            "query_string": b"",
            "headers": [(b"user", b"a")],
        }
        await app(scope, receive, send)
        assert messages == []
        assert sent[0]["status"] == 400
        assert (await app.state.store.get_stats())["artifacts"] == 0

    in_app(use)


def test_download_of_a_part():
    """A download has its file's name and an ETag, can be resumed, and is not sent again to a client that has it."""

    async def use(app, client):
        alice = {"user": "alice"}
        answer = await client.post("/files/docs/a%20b.txt", content=CONTENT, headers=alice)
        path = f"/files/{answer.json()['file_id']}"
        whole = await client.get(path, headers=alice)
        assert whole.headers["content-disposition"] == 'attachment; filename="a b.txt"'
        etag = whole.headers["etag"]
        part = await client.get(path, headers={**alice, "range": "bytes=10-19", "if-range": etag})
        assert (part.status_code, part.content) == (206, CONTENT[10:20])
        assert (await client.get(path, headers={**alice, "if-none-match": etag})).status_code == 304
        assert (await client.get(path, headers={**alice, "range": "bytes=9000000-"})).status_code == 416

    in_app(use)


def test_replace():
    """A client replaces the file that it has seen; a change that it has not seen is a 412."""

    async def use(app, client):
        alice = {"user": "alice"}
        path = f"/files/{(await client.post('/files/a.txt', content=b'one', headers=alice)).json()['file_id']}"
        seen = (await client.get(path, headers=alice)).headers["etag"]
        changed = await client.put(path, content=b"two", headers={**alice, "if-match": seen})
        assert changed.status_code == 204
        assert changed.headers["etag"] == (await client.get(path, headers=alice)).headers["etag"]
        assert (await client.put(path, content=b"three", headers={**alice, "if-match": seen})).status_code == 412
        assert (await client.get(path, headers=alice)).content == b"two"
        assert (await client.put(path, content=b"three", headers=alice)).status_code == 204
        assert (await client.put(path, content=b"four", headers={"user": "bob"})).status_code == 404
        assert (await client.get(path, headers=alice)).content == b"three"

    in_app(use)


def test_pages_of_a_list():
    """Each file is on one page, those without a name and those of one name too."""

    async def use(app, client):
        files = app.state.store.user("alice")
        ids = [await files.store(b"...", filename=name) for name in (None, "b", "a", "b", None, "b", "c")]
        seen, cursor = [], {}
        while page := (await client.get("/files", params={**cursor, "limit": 2}, headers={"user": "alice"})).json():
            seen += [one["id"] for one in page]
            cursor = {"after": page[-1]["filename"], "after_id": page[-1]["id"]}
        assert len(seen) == len(ids)
        assert set(seen) == set(ids)

    in_app(use)


@pytest.mark.parametrize(
    ("error", "status"), [(ConflictError, 409), (ProviderError, 503), (SessionError, 503)], ids=str
)
def test_errors(error, status):
    """A conflict is the client's to solve; an outage is a 503, and the answer does not say of what."""

    class Failing:
        def user(self, user_id):
            raise error("the reason")

    async def use(app, client):
        store, app.state.store = app.state.store, Failing()
        answer = await client.get("/files", headers={"user": "alice"})
        app.state.store = store
        assert answer.status_code == status
        assert ("the reason" in answer.text) == (status == 409)

    in_app(use)

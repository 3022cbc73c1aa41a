"""What only the ASGI face of the gateway has: scopes, clients that are awaited, and files that the server sends."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import threading
from pathlib import Path

import pytest
from gateway_faces import exchange, scope_of
from process import eventually, open_below
from werkzeug.datastructures import Headers
from werkzeug.test import create_environ

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, InvalidInputError, aio, gateway
from chuk_artifacts.aio.content import Content
from chuk_artifacts.gateway.answer import Answer

BASE = "https://example.org/files"
DATA = os.urandom(700_000)

pytestmark = pytest.mark.anyio
needs_descriptors = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system does not list open files"
)


@pytest.fixture
def anyio_backend():
    """Return the event loop of these tests."""
    return "asyncio"


@pytest.fixture
def root(tmp_path):
    """Return the folder of the store on disk."""
    return tmp_path / "root"


@pytest.fixture
def blocking(root):
    """Return a store on disk."""
    with ArtifactStore(storage_provider="filesystem", fs_root=root, gateway_url=BASE) as store:
        yield store


@pytest.fixture
async def store(anyio_backend, blocking):
    """Return that store, awaited, with one thread: a call that waited for a client would stop all others."""
    async with aio.ArtifactStore.wrap(blocking, max_workers=1) as store:
        yield store


def scope_for(url, method="GET", headers=(), **scope):
    """Return the scope of a request for a signed URL."""
    whole = scope_of(create_environ(url.removeprefix(BASE), method=method))
    return {**whole, "headers": [(name.encode(), value.encode()) for name, value in headers], **scope}


async def ask(app, url, method="GET", headers=(), body=b"", **scope):
    """Return status, header and content of an answer."""
    sent, error = await exchange(app, scope_for(url, method, headers, **scope), io.BytesIO(body))
    assert error is None
    return answer_of(sent)


def answer_of(sent):
    """Return status, header and content of the messages of an answer."""
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message["body"] for message in sent[1:])


class Client:
    """The server's side of a connection, on which the test decides what comes when."""

    def __init__(self):
        self.coming = asyncio.Queue()
        self.sent = []
        self.sent_before = []
        self.reads = asyncio.Event()

    def says(self, body=b"", *, more=False):
        """Let a part of the content come."""
        self.coming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leaves(self):
        """Let the client go away."""
        self.coming.put_nowait({"type": "http.disconnect"})

    async def receive(self):
        """Return what comes next."""
        if not self.reads.is_set():
            self.sent_before = list(self.sent)
        self.reads.set()
        return await self.coming.get()

    async def send(self, message):
        """Keep a message."""
        self.sent.append(message)


# Scopes


async def test_lifespan(store):
    """Start and end of the application are acknowledged, and the store stays open."""
    client = Client()
    for event in ("lifespan.startup", "lifespan.shutdown"):
        client.coming.put_nowait({"type": event})
    await aio.Gateway(store)({"type": "lifespan"}, client.receive, client.send)
    assert [message["type"] for message in client.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert await store.exists("0" * 32) is False


async def test_websocket(store):
    """A WebSocket is closed before it is accepted, which is a refusal."""
    client = Client()
    client.coming.put_nowait({"type": "websocket.connect"})
    await aio.Gateway(store)({"type": "websocket", "path": "/"}, client.receive, client.send)
    assert [message["type"] for message in client.sent] == ["websocket.close"]


async def test_other_protocol(store):
    """A protocol that is not known is an error, as ASGI demands."""
    client = Client()
    with pytest.raises(ValueError, match="gopher"):
        await aio.Gateway(store)({"type": "gopher"}, client.receive, client.send)
    assert client.sent == []


@pytest.mark.parametrize(
    ("mounted", "path", "status"),
    [
        ("", "/{id}", 200),
        ("/files", "/files/{id}", 200),
        ("/files/", "/files/{id}", 200),
        ("/deep/files", "/deep/files/{id}", 200),
        ("/files", "/{id}", 200),  # a server that keeps them apart
        ("/{id}", "/{id}/{id}", 200),
        ("/files", "/filesystem/{id}", 403),
        ("/files", "/files//{id}", 403),
        ("/files", "/files/{id}/", 403),
        ("/files", "/files", 403),
        ("/files", "", 403),
    ],
)
async def test_path_below_the_mount(store, mounted, path, status):
    """The artifact is what follows the path that the gateway is mounted at."""
    artifact_id = await store.store(DATA)
    query = (await store.presign(artifact_id)).partition("?")[2].encode()
    place = {"root_path": mounted.format(id=artifact_id), "path": path.format(id=artifact_id), "query_string": query}
    assert (await ask(aio.Gateway(store), BASE + "/", **place))[0] == status


async def test_a_scope_of_few_keys(store):
    """Keys that ASGI leaves to the server may be missing."""
    scope = scope_for(await store.presign(await store.store(b"hello")))
    for name in ("root_path", "asgi", "scheme", "raw_path"):
        del scope[name]
    sent, _ = await exchange(aio.Gateway(store), {**scope, "extensions": None, "http_version": "2"}, io.BytesIO())
    assert answer_of(sent)[::2] == (200, b"hello")


async def test_header_fields_that_come_twice(store):
    """Values of a field that was sent twice count as one list, in any case of the name."""
    url = await store.presign(await store.store(b"hello"))
    etag = f'"{(await store.metadata(url[len(BASE) + 1 :][:32])).sha256}"'
    app = aio.Gateway(store)
    for name in ("if-none-match", "If-None-Match"):
        assert (await ask(app, url, headers=[("if-none-match", '"0"'), (name, etag)]))[0] == 304
    assert (await ask(app, url, headers=[("if_none_match", etag)]))[0] == 200
    upload, _ = await store.presign_upload("alice")
    lengths = [("content-length", "5"), ("content-length", "5")]
    assert (await ask(app, upload, "PUT", lengths, b"hello"))[0] == 400


async def test_two_ends_of_a_content(store):
    """After a request whose end is not clear the server closes the connection, on which another may be hidden."""
    url, _ = await store.presign_upload("alice")
    both = [("content-length", "5"), ("transfer-encoding", "chunked")]
    for method in ("PUT", "GET"):
        status, headers, _ = await ask(aio.Gateway(store), url, method, both, b"hello")
        assert (status, headers["connection"]) == (400, "close")
    assert "connection" not in (await ask(aio.Gateway(store), url, "PUT", both[:1], b"hello"))[1]


@pytest.mark.parametrize("other", [None, "store", aio, gateway.Gateway])
def test_anything_but_a_store(other):
    """Anything but a store is refused when the gateway is made, and one origin in place of a list."""
    with pytest.raises(InvalidInputError, match="must be an ArtifactStore"):
        aio.Gateway(other)
    with pytest.raises(InvalidInputError, match="list of origins"):
        aio.Gateway(ArtifactStore(), origins="https://example.org")


async def test_blocking_store(blocking):
    """A blocking store is served too, and a bound store serves only its session."""
    url = blocking.presign(blocking.store(b"hello", session_id="alice"))
    assert (await ask(aio.Gateway(blocking), url))[::2] == (200, b"hello")
    assert (await ask(aio.Gateway(blocking.session("bob")), url))[0] == 404
    async with aio.ArtifactStore.wrap(blocking) as store:
        assert (await ask(aio.Gateway(store.session("alice")), url))[0] == 200
        assert (await ask(aio.Gateway(store.session("bob")), url))[0] == 404


async def test_closed_store(store):
    """After the store was closed the answer is a 503."""
    url, app = await store.presign(await store.store(b"hello")), aio.Gateway(store)
    await store.close()
    assert (await ask(app, url))[0] == 503


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio(anyio_backend, blocking):
    """Under trio the error says what to use, before anything is sent."""
    sent, error = await exchange_anywhere(aio.Gateway(blocking), scope_for(blocking.presign(blocking.store(b"x"))))
    assert sent == []
    assert isinstance(error, aio.ArtifactStoreError)
    assert "asyncio" in str(error)


async def exchange_anywhere(app, scope):
    """Send a request without content on any event loop."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    try:
        await app(scope, receive, send)
    except aio.ArtifactStoreError as error:
        return sent, error
    return sent, None


# Clients that are awaited


async def test_stalled_uploads(store):
    """Three hundred uploads that stall, with little or much sent, delay neither a download nor another upload."""
    app, clients, tasks = aio.Gateway(store), [], []
    for number in range(300):
        url, _ = await store.presign_upload("alice")
        client = Client()
        client.says(DATA if number < 5 else b"0123456789", more=True)
        clients.append(client)
        headers = [("content-length", "1000000")]
        tasks.append(asyncio.ensure_future(app(scope_for(url, "PUT", headers), client.receive, client.send)))
    for client in clients:
        await client.reads.wait()
    assert (await ask(app, await store.presign(await store.store(DATA))))[::2] == (200, DATA)
    url, artifact_id = await store.presign_upload("alice")
    assert (await ask(app, url, "PUT", [("content-length", "5")], b"hello"))[0] == 200
    await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    for client in clients:
        client.leaves()
    await asyncio.gather(*tasks)
    assert {client.sent[0]["status"] for client in clients} == {400}
    assert [file.artifact_id for file in await store.list_by_session("alice")] == [artifact_id]
    assert len(list(store._blocking.scope.core.storage.list_objects("grid/"))) == 2


async def test_stalled_downloads(store):
    """A client that does not read holds up no other, and no more than a chunk is kept for it."""
    app, url = aio.Gateway(store), await store.presign(await store.store(DATA))
    stalled, reading, sizes = asyncio.Event(), asyncio.Event(), []

    async def send(message):
        if message["type"] == "http.response.body":
            sizes.append(len(message["body"]))
            if len(sizes) == 20:
                stalled.set()
            await reading.wait()

    tasks = [asyncio.ensure_future(app(scope_for(url), Client().receive, send)) for _ in range(20)]
    await stalled.wait()
    assert (await ask(app, url))[2] == DATA
    assert len(sizes) == 20
    assert max(sizes) <= 256 * 1024
    reading.set()
    await asyncio.gather(*tasks)
    assert sum(sizes) == 20 * len(DATA)


REFUSED = {
    "signature": (403, {}, [], "x"),
    "type": (415, {"mime_type": "image/png"}, [("content-type", "text/html"), ("content-length", "5")], ""),
    "size": (413, {"max_bytes": 4}, [("content-length", "5")], ""),
    "length": (400, {}, [("content-length", "five")], ""),
    "no length": (411, {}, [], ""),
    "condition": (412, {}, [("content-length", "5"), ("if-match", '"0"')], ""),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_before_the_first_byte(store, name):
    """An upload that can't be accepted is answered before its content is asked for."""
    status, options, headers, suffix = REFUSED[name]
    url, _ = await store.presign_upload("alice", **options)
    client = Client()
    client.leaves()
    await aio.Gateway(store)(scope_for(url + suffix, "PUT", headers), client.receive, client.send)
    assert client.sent[0]["status"] == status
    assert client.sent_before == client.sent[:2] or not client.reads.is_set()


async def test_what_comes_after_a_refusal_is_dropped(store):
    """A client that still sends its upload has its answer; the rest is read, so that the server resets nothing."""
    url, _ = await store.presign_upload("alice", mime_type="image/png")
    client = Client()
    headers = [("content-type", "text/html"), ("content-length", "3")]
    task = asyncio.ensure_future(aio.Gateway(store)(scope_for(url, "PUT", headers), client.receive, client.send))
    await asyncio.wait_for(client.reads.wait(), 30)
    assert client.sent_before[0]["status"] == 415
    assert len(client.sent_before[1]["body"]) == int(dict(client.sent_before[0]["headers"])[b"content-length"])
    client.says(b"on", more=True)
    client.says(b"e", more=True)
    await asyncio.sleep(0)
    assert len(client.sent) == 2
    client.says()
    await task
    assert client.sent[2:] == [{"type": "http.response.body", "body": b"", "more_body": False}]


async def test_client_that_stalls_after_a_refusal(store, monkeypatch):
    """A client that neither sends the rest nor goes away is not waited for."""
    monkeypatch.setattr("chuk_artifacts.aio.gateway._UNREAD_SECONDS", 0.01)
    url, _ = await store.presign_upload("alice", mime_type="image/png")
    client = Client()
    headers = [("content-type", "text/html"), ("content-length", "3")]
    await aio.Gateway(store)(scope_for(url, "PUT", headers), client.receive, client.send)
    assert client.sent[0]["status"] == 415
    assert client.sent[-1]["more_body"] is False


@pytest.mark.parametrize("scope", [{"http_version": "2"}, {"expects": True}])
async def test_client_that_need_not_send_the_rest(store, scope):
    """HTTP/2 ends a request without its connection, and a client that waits to be asked has sent nothing."""
    url, _ = await store.presign_upload("alice", mime_type="image/png")
    client = Client()
    headers = [("content-type", "text/html"), ("content-length", "3")]
    if scope.pop("expects", False):
        headers.append(("expect", "100-continue"))
    await aio.Gateway(store)(scope_for(url, "PUT", headers, **scope), client.receive, client.send)
    assert client.sent[0]["status"] == 415
    assert not client.reads.is_set()


async def test_registered_upload_is_refused_before_the_first_byte(store):
    """An upload that was registered takes no further content, and does not ask for it."""
    url, artifact_id = await store.presign_upload("alice")
    app, length = aio.Gateway(store), [("content-length", "5")]
    await ask(app, url, "PUT", length, b"hello")
    await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    client = Client()
    client.leaves()
    await app(scope_for(url, "PUT", length), client.receive, client.send)
    assert client.sent[0]["status"] == 404
    assert client.sent_before == client.sent[:2]


@pytest.mark.parametrize("size", [0, 1, 100, 300_000, 5_000_000])
@pytest.mark.parametrize(("off", "status"), [(-1, 400), (0, 200), (1, 400)])
async def test_length_that_is_not_what_comes(store, size, off, status):
    """An upload that is longer or shorter than announced is refused, and leaves nothing."""
    url, artifact_id = await store.presign_upload("alice")
    announced = [("content-length", str(max(size + off, 0)))]
    if size + off < 0:
        return
    assert (await ask(aio.Gateway(store), url, "PUT", announced, b"x" * size))[0] == status
    if status == 200:
        await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
        assert await store.retrieve(artifact_id) == b"x" * size
    else:
        await assert_nothing_uploaded(store, artifact_id)


async def assert_nothing_uploaded(store, artifact_id):
    """Check that no bytes of an upload were kept."""
    with pytest.raises(ArtifactNotFoundError):
        await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert list(store._blocking.scope.core.storage.list_objects("grid/")) == []


@pytest.mark.parametrize("sent", [[], [b"x"], [b"x" * 300_000, b"x" * 300_000]], ids=len)
async def test_client_that_leaves_in_an_upload(store, tmp_path, monkeypatch, sent):
    """A client that goes away in the middle of its upload leaves nothing, no temporary file either."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url, artifact_id = await store.presign_upload("alice")
    client = Client()
    for chunk in sent:
        client.says(chunk, more=True)
    client.leaves()
    headers = [("transfer-encoding", "chunked")]
    await aio.Gateway(store)(scope_for(url, "PUT", headers), client.receive, client.send)
    assert client.sent[0]["status"] == 400
    await assert_nothing_uploaded(store, artifact_id)
    assert [name for name in os.listdir(tmp_path) if name != "root"] == []


async def test_upload_in_tiny_chunks(store):
    """An upload of single bytes, and of empty chunks between them, arrives."""
    url, artifact_id = await store.presign_upload("alice")
    client = Client()
    for byte in DATA[:3000]:
        client.says(bytes([byte]), more=True)
        client.says(b"", more=True)
    client.says()
    headers = [("transfer-encoding", "chunked")]
    await aio.Gateway(store)(scope_for(url, "PUT", headers), client.receive, client.send)
    assert client.sent[0]["status"] == 200
    await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert await store.retrieve(artifact_id) == DATA[:3000]


@needs_descriptors
@pytest.mark.parametrize("end", ["leaves", "error", "cancel"])
async def test_client_that_leaves_in_a_download(store, root, end):
    """After a client goes away no more is read for it, and its file is closed."""
    app, url = aio.Gateway(store), await store.presign(await store.store(DATA * 10))
    before, client = len(open_below(root)), Client()
    client.says()

    async def send(message):
        client.sent.append(message)
        if message["type"] == "http.response.body" and len(client.sent) > 2:
            if end == "error":
                raise ConnectionResetError
            if end == "cancel":
                asyncio.current_task().cancel()
            client.leaves()
        await asyncio.sleep(0.001)

    task = asyncio.ensure_future(app(scope_for(url), client.receive, send))
    (error,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(error, asyncio.CancelledError) if end == "cancel" else error is None
    assert sum(len(message.get("body", b"")) for message in client.sent) < 10 * len(DATA)
    assert eventually(lambda: len(open_below(root)) == before)


@needs_descriptors
async def test_cancelled_while_the_file_is_opened(store, root, monkeypatch):
    """A file that a thread opens after the request was cancelled is closed."""
    url = await store.presign(await store.store(DATA))
    storage = store._blocking.scope.core.storage
    before, opening, go_on = len(open_below(root)), threading.Event(), threading.Event()
    real = storage.open

    def wait_and_open(*arguments, **options):
        opening.set()
        go_on.wait()
        return real(*arguments, **options)

    monkeypatch.setattr(storage, "open", wait_and_open)
    client = Client()
    task = asyncio.ensure_future(aio.Gateway(store)(scope_for(url), client.receive, client.send))
    await asyncio.to_thread(opening.wait)
    task.cancel()
    await asyncio.wait({task})
    go_on.set()
    assert task.cancelled()
    assert client.sent == []
    assert await asyncio.to_thread(eventually, lambda: len(open_below(root)) == before)


async def test_content_that_is_opened_after_its_end(store):
    """A content that a late thread opens after it was released is closed at once."""
    content, closed = Content(store._calls), []
    content.release()
    await store.exists("0" * 32)  # the one thread has done that
    answer = Answer(200, Headers({"Content-Length": "2"}), [b"1", b"2"], close=lambda: closed.append(True))
    assert await content.open(lambda: answer) is answer
    assert closed == [True]


async def test_server_that_does_not_wait_for_the_end(store):
    """A ``receive`` that always returns at once, or raises, does not stop a download."""
    app, url = aio.Gateway(store), await store.presign(await store.store(DATA))

    async def at_once():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def broken():
        raise LookupError

    for receive in (at_once, broken):
        client = Client()
        await app(scope_for(url), receive, client.send)
        assert answer_of(client.sent)[2] == DATA


async def test_download_that_breaks_off(store, root):
    """A download whose file shrinks meanwhile raises, so that the server ends the answer short of its length."""
    artifact_id = await store.store(DATA)
    app, url = aio.Gateway(store), await store.presign(artifact_id)
    key, client = (await store.metadata(artifact_id)).key, Client()

    async def send(message):
        client.sent.append(message)
        os.truncate(root / key, 300_000)

    with pytest.raises(aio.ArtifactCorruptedError):
        await app(scope_for(url), client.receive, send)
    assert client.sent[-1]["more_body"]


# Files that the server sends

PATHS, FILES = {"http.response.pathsend": {}}, {"http.response.zerocopysend": {}}


async def sent_by_server(app, url, extensions, before_opening=lambda: None, **options):
    """Return the type of the message with the content, and the content as a server that sends files finds it."""
    kinds, content = [], []

    async def send(message):
        kinds.append(message["type"].rpartition(".")[2])
        before_opening()
        if kinds[-1] == "pathsend":
            assert set(message) == {"type", "path"}
            content.append(await asyncio.to_thread(Path(message["path"]).read_bytes))
        elif kinds[-1] == "zerocopysend":
            content.append(os.pread(message["file"].fileno(), 10**7, message.get("offset", 0)))
        elif kinds[-1] == "body":
            content.append(message["body"])

    await app(scope_for(url, extensions=extensions, **options), Client().receive, send)
    return kinds[1], b"".join(content)


@pytest.mark.parametrize(("extensions", "kind"), [(PATHS, "pathsend"), (FILES, "zerocopysend")])
async def test_server_sends_a_local_file(store, extensions, kind):
    """A whole local file is left to a server that sends files; parts, refusals and other storages are not."""
    app, url = aio.Gateway(store), await store.presign(await store.store(DATA))
    assert await sent_by_server(app, url, extensions) == (kind, DATA)
    assert await sent_by_server(app, url, {**PATHS, **FILES}) == ("zerocopysend", DATA)
    assert await sent_by_server(app, url, extensions, headers=[("range", "bytes=5-")]) == ("body", DATA[5:])
    assert await sent_by_server(app, url, extensions, method="HEAD") == ("body", b"")
    assert (await sent_by_server(app, url + "x", extensions))[0] == "body"
    assert await sent_by_server(aio.Gateway(store, verify=True), url, extensions) == ("body", DATA)
    async with aio.ArtifactStore(gateway_url=BASE) as memory:
        url = await memory.presign(await memory.store(DATA))
        assert await sent_by_server(aio.Gateway(memory), url, extensions) == ("body", DATA)


@pytest.mark.skipif(os.name != "posix", reason="files have no owners here")
@pytest.mark.parametrize("place", ["root", "session", "above"])
@pytest.mark.parametrize("mode", [0o777, 0o770])
async def test_no_path_that_another_user_could_exchange(store, root, place, mode):
    """Where another user can write to a folder on the way, the gateway reads the file itself."""
    artifact_id = await store.store(DATA)
    app, url = aio.Gateway(store), await store.presign(artifact_id)
    file = root / (await store.metadata(artifact_id)).key
    folder = {"root": root, "session": file.parent, "above": root.parent}[place]
    was = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(mode)
    assert await sent_by_server(app, url, PATHS) == ("body", DATA)
    assert await sent_by_server(app, url, FILES) == ("zerocopysend", DATA)
    folder.chmod(0o1777)  # in a folder like /tmp, others can't exchange what is not theirs
    assert await sent_by_server(app, url, PATHS) == ("pathsend", DATA)
    folder.chmod(was)


@pytest.mark.parametrize("extensions", [PATHS, FILES])
async def test_links_are_not_followed(store, root, tmp_path, extensions):
    """A link in place of a file, or of its folder, is not followed, whatever the server can send."""
    (tmp_path / "outside").mkdir()
    app = aio.Gateway(store)
    for is_folder in (False, True):
        artifact_id = await store.store(DATA, session_id=f"user_{is_folder}")
        url = await store.presign(artifact_id)
        place = root / (await store.metadata(artifact_id)).key
        place = place.parent if is_folder else place
        place.rename(tmp_path / "outside" / place.name)
        place.symlink_to(tmp_path / "outside" / place.name)
        kind, content = await sent_by_server(app, url, extensions)
        assert (kind, content) == ("body", b"Service Unavailable.\n")


async def test_file_that_is_exchanged_before_it_is_sent(store, root, tmp_path):
    """A file that is sent by descriptor is the one that was checked, whatever its name leads to by then."""
    artifact_id = await store.store(DATA)
    file = root / (await store.metadata(artifact_id)).key
    (tmp_path / "secret").write_bytes(b"secret")

    def exchange_file():
        file.unlink()
        file.symlink_to(tmp_path / "secret")

    done = []
    url = await store.presign(artifact_id)
    before = lambda: done or done.append(exchange_file())  # noqa: E731 - once
    assert await sent_by_server(aio.Gateway(store), url, FILES, before) == ("zerocopysend", DATA)

"""FastAPI on uvicorn: the documented application, slow clients, forms, response models and the ASGI gateway."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from blocks import block

from chuk_artifacts import ArtifactMetadata, CleanupReport, SessionInfo, aio

fastapi = pytest.importorskip("fastapi")
pydantic = pytest.importorskip("pydantic")
pytest.importorskip("python_multipart")

LIMIT = 10  # seconds that a client waits for what must not wait
STALLED = 300


class Client:
    """Sends requests to a port, one connection for each."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, **headers):
        """Return status, headers and content of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def stall(self, method, path, count, **headers):
        """Begin *count* uploads that send ten bytes and no more, and return when the server reads all of them.

        A server answers "100 Continue" when the application asks for the body.
        """
        fields = {"Host": "localhost", "Content-Length": "1000", "Expect": "100-continue", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
        head = "\r\n".join([*lines, "", ""]).encode()
        with ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", self.port), LIMIT)) for _ in range(count)
            ]
            for client in clients:
                client.sendall(head)
            for client in clients:
                assert client.recv(100).startswith(b"HTTP/1.1 100 ")
                client.sendall(b"0123456789")
            return stack.pop_all()


@pytest.fixture
def readme(serve, monkeypatch, options):
    """Return a client of the documented application."""
    monkeypatch.setenv("ARTIFACT_FS_ROOT", options["fs_root"])
    return Client(serve(block("docs/howto/fastapi.md", "Upload and download")["app"], lifespan="on"))


def test_upload_and_download(readme, store):
    """The documented application takes a file and gives it back, to its user only."""
    status, _, content = readme.ask("POST", "/files/docs/a.png", b"x" * 300_000, User="alice", Content_Type="image/png")
    assert status == 200
    path = f"/files/{json.loads(content)['file_id']}"
    status, headers, content = readme.ask("GET", path, User="alice")
    assert (status, headers["Content-Type"], content) == (200, "image/png", b"x" * 300_000)
    assert readme.ask("GET", path, User="bob")[0] == 404
    assert [file.filename for file in store.list_by_session("user:alice")] == ["docs/a.png"]


def test_stalled_uploads_hold_up_nobody(readme, store):
    """While three hundred clients stall in the middle of an upload, others upload and download; nothing is left."""
    with readme.stall("POST", "/files/slow", STALLED, User="alice"):
        status, _, content = readme.ask("POST", "/files/quick", b"quick", User="alice")
        assert status == 200
        assert readme.ask("GET", f"/files/{json.loads(content)['file_id']}", User="alice")[2] == b"quick"
    assert [file.filename for file in store.list_by_session("user:alice")] == ["quick"]


@pytest.mark.parametrize("length", [1000, 1001, 20_000])
def test_upload_that_is_too_long(serve, options, store, length):
    """An upload of unknown length that turns out to be longer than ``max_bytes`` is refused, and leaves nothing."""
    app = fastapi.FastAPI()

    async def receive(request: fastapi.Request) -> dict[str, str]:
        async with aio.ArtifactStore(**options) as files:
            try:
                return {"id": await files.store(request.stream(), session_id="alice", max_bytes=1000)}
            except aio.QuotaExceededError as error:
                raise fastapi.HTTPException(413, {"limit": error.limit, "scope": error.scope}) from error

    app.put("/")(typed(receive, request=fastapi.Request))
    status, _, content = Client(serve(app)).ask("PUT", "/", (b"x" * part for part in (length - 500, 500)))
    assert [file.bytes for file in store.list_by_session("alice")] == ([1000] if length == 1000 else [])
    if length > 1000:
        assert (status, json.loads(content)["detail"]) == (413, {"limit": 1000, "scope": "artifact"})


def form(name, content_type, data):
    """Return the body of a form with one file, and its content type."""
    head = f'--line\r\nContent-Disposition: form-data; name="upload"; filename="{name}"\r\n'
    return f"{head}Content-Type: {content_type}\r\n\r\n".encode() + data + b"\r\n--line--\r\n"


@pytest.mark.parametrize(
    "source",
    [lambda upload: upload, lambda upload: upload.file],
    ids=["upload", "file"],
)
@pytest.mark.parametrize("size", [5, 3_000_000])
def test_form_upload(serve, options, store, source, size):
    """An UploadFile, in memory or rolled over to disk, is stored with its name and type."""
    app = fastapi.FastAPI()

    async def receive(upload: fastapi.UploadFile) -> dict[str, str]:
        async with aio.ArtifactStore(**options) as files:
            return {"id": await files.store(source(upload), filename=upload.filename, mime=upload.content_type)}

    app.post("/form")(typed(receive, upload=fastapi.UploadFile))
    status, _, content = Client(serve(app)).ask(
        "POST",
        "/form",
        form("photo.png", "image/png", b"x" * size),
        Content_Type="multipart/form-data; boundary=line",
    )
    assert status == 200
    file = store.metadata(json.loads(content)["id"])
    assert (file.bytes, file.filename, file.mime) == (size, "photo.png", "image/png")


def typed(function, **annotations):
    """Return a function with these annotations, which FastAPI reads."""
    function.__annotations__ = annotations
    return function


def test_response_models(serve, store):
    """Endpoints annotated with the public values return their public fields, and describe them in OpenAPI."""
    file_id = store.store(b"hello", filename="a.txt", session_id="alice", meta={"tags": ["a"]})
    app = fastapi.FastAPI()
    results = {
        "/file": (ArtifactMetadata, lambda: store.metadata(file_id)),
        "/files": (list[ArtifactMetadata], lambda: store.list_by_session("alice")),
        "/session": (SessionInfo | None, lambda: store.get_session_info("alice")),
        "/report": (CleanupReport, lambda: store.cleanup(dry_run=True)),
    }
    for path, (annotation, function) in results.items():
        app.get(path, name=path[1:])(typed(function, **{"return": annotation}))
    client = Client(serve(app))
    for path, (_, function) in results.items():
        value, expected = json.loads(client.ask("GET", path)[2]), function()
        assert value == ([dict(found) for found in expected] if path == "/files" else json.loads(as_json(expected)))
    schemas = json.loads(client.ask("GET", "/openapi.json")[2])["components"]["schemas"]
    assert schemas["ArtifactMetadata"]["properties"].keys() == dict(store.metadata(file_id)).keys()


def as_json(value):
    """Return a mapping as JSON."""
    return json.dumps(dict(value))


def test_request_model(store):
    """A public value is a field of a pydantic model, from itself and from the JSON that the model gives."""

    class Report(pydantic.BaseModel):
        file: ArtifactMetadata
        others: tuple[ArtifactMetadata, ...] = ()

    report = Report(file=store.metadata(store.store(b"hello", session_id="alice")))
    assert Report.model_validate_json(report.model_dump_json()) == report
    assert Report.model_validate(report.model_dump()).file == report.file
    assert "superseded" not in json.dumps(Report.model_json_schema())


@pytest.fixture
def gateway(serve, options):
    """Return a store whose signed URLs an ASGI gateway in a FastAPI application serves, and a client of that."""
    files = aio.ArtifactStore(**options, gateway_url="http://localhost/files")
    app = fastapi.FastAPI()
    app.mount("/files", aio.Gateway(files))
    return files, Client(serve(app))


@pytest.mark.anyio
async def test_gateway(gateway, to_thread):
    """Signed URLs of the ASGI gateway take an upload, and serve it with ranges, ETag and name."""
    files, client = gateway
    async with files:
        url, file_id = await files.presign_upload("alice", "Größe.png", mime_type="image/png", max_bytes=10**6)
        path, data = url.removeprefix("http://localhost"), bytes(range(256)) * 1000
        assert (await to_thread(client.ask, "PUT", path, data, Content_Type="text/html"))[0] == 415
        assert (await to_thread(client.ask, "PUT", path, data * 5, Content_Type="image/png"))[0] == 413
        assert (await to_thread(client.ask, "PUT", path, data, Content_Type="image/png"))[0] == 200
        await files.register_uploaded_artifact(file_id, mime="image/png", summary="")
        path = (await files.presign(file_id)).removeprefix("http://localhost")
        status, headers, content = await to_thread(client.ask, "GET", path)
        assert (status, content, headers["Content-Type"]) == (200, data, "image/png")
        assert quote("Größe.png") in headers["Content-Disposition"]
        assert (await to_thread(client.ask, "GET", path, Range="bytes=10-19"))[::2] == (206, data[10:20])
        assert (await to_thread(client.ask, "GET", path, If_None_Match=headers["ETag"]))[0] == 304
        assert (await to_thread(client.ask, "HEAD", path))[1]["Content-Length"] == str(len(data))
        assert (await to_thread(client.ask, "GET", path + "x"))[0] == 403


@pytest.mark.anyio
async def test_stalled_uploads_do_not_delay_a_download(gateway, to_thread):
    """While three hundred clients stall in the middle of an upload to the gateway, another downloads."""
    files, client = gateway
    async with files:
        url, _ = await files.presign_upload("alice", "slow.bin")
        download = await files.presign(await files.store(b"quick"))
        stalled = await to_thread(
            client.stall, "PUT", url.removeprefix("http://localhost"), STALLED, Content_Type="application/octet-stream"
        )
        with stalled:
            assert (await to_thread(client.ask, "GET", download.removeprefix("http://localhost")))[2] == b"quick"

"""Signed URLs in a real browser."""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Request, Response

from chuk_artifacts import ArtifactStore, aio
from chuk_artifacts.gateway import Gateway
from chuk_artifacts.gateway.server import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60
FILENAMES = ["Grüße aus Köln.txt", "日本語.txt", 'quote " and % 41.txt', "page.html"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
    pytest.mark.usefixtures("every_server"),
]

PAGE = """<!doctype html>
<meta charset="utf-8">
<body>
<script>
const work = %s;
async function attempt(url, options) {
  try {
    const response = await fetch(url, options);
    return [response.status, await response.text(), response.headers.get("ETag")];
  } catch (error) {
    return [error.name];
  }
}
async function main() {
  const put = (type) => ({method: "PUT", headers: {"Content-Type": type}, body: new Blob(["from a browser"])});
  const result = {
    uploaded: await attempt(work.upload, put("text/plain")),
    wrongType: await attempt(work.upload, put("text/html")),
    tooLong: await attempt(work.upload, {...put("text/plain"), body: "x".repeat(2000000)}),
    part: await attempt(work.download, {headers: {"Range": "bytes=0-4"}}),
    forbidden: await attempt(work.download + "x"),
  };
  await fetch("/done", {method: "POST", body: JSON.stringify(result)});
  for (const url of work.save) {
    const frame = document.createElement("iframe");
    frame.src = url;
    document.body.append(frame);
  }
}
main();
</script>
"""


class Site:
    """A web page and a gateway on one server, under two host names, which are two origins to a browser.

    Args:
        folder: where the store is.
        face: of the gateway.

    """

    def __init__(self, folder, face):
        self.results = queue.Queue()
        self.asked = []
        self.work = {}
        self._stack = ExitStack()
        port = self._stack.enter_context((by_wsgi if face == "wsgi" else by_asgi)(self))
        self.pages = f"http://localhost:{port}"
        self.store = self._stack.enter_context(
            ArtifactStore(storage_provider="filesystem", fs_root=folder, gateway_url=f"http://127.0.0.1:{port}/files")
        )
        self._face = Gateway if face == "wsgi" else aio.Gateway
        self.open_to(self.pages)

    def open_to(self, origin):
        """Serve the URLs of the store for pages of an origin."""
        self.gateway = self._face(self.store, origins=[origin])

    def page(self, request):
        """Answer with the page, and keep what the page reports."""
        self.asked.append(request.path)
        if request.path == "/done":
            self.results.put(json.loads(request.get_data()))
        if request.path == "/":
            return Response(PAGE % json.dumps(self.work), content_type="text/html; charset=utf-8")
        return Response()

    def close(self):
        """Close the store and the server."""
        self._stack.close()


@contextmanager
def by_wsgi(site):
    """Serve a site by the server of the package, and yield its port."""
    pages = Request.application(site.page)

    def app(environ, start_response):
        return DispatcherMiddleware(pages, {"/files": site.gateway})(environ, start_response)

    server = Server(app)
    server.start()
    yield server.url.rpartition(":")[2]
    server.close()


@contextmanager
def by_asgi(site):
    """Serve a site by uvicorn, and yield its port."""
    pages = WSGIMiddleware(Request.application(site.page))

    async def gateway(scope, receive, send):
        await site.gateway(scope, receive, send)

    app = Starlette(routes=[Mount("/files", app=gateway), Mount("/", app=pages)])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(SECONDS)


@pytest.fixture(params=["wsgi", "asgi"])
def site(request, tmp_path):
    """Return a site, with each face of the gateway."""
    site = Site(tmp_path / "store", request.param)
    yield site
    site.close()


@pytest.fixture
def browse(tmp_path):
    """Return a function that opens a page in a browser, whose downloads go to the folder ``saved``."""
    profile = tmp_path / "profile"
    preferences = {"download": {"default_directory": str(tmp_path / "saved"), "prompt_for_download": False}}
    preferences["profile"] = {"default_content_setting_values": {"automatic_downloads": 1}}
    (profile / "Default").mkdir(parents=True)
    (profile / "Default" / "Preferences").write_text(json.dumps(preferences))
    (tmp_path / "saved").mkdir()
    started = []

    def open_page(url):
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command += [f"--user-data-dir={profile}", "--disable-dev-shm-usage", "--remote-debugging-port=0", url]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    yield open_page
    for process in started:
        process.terminate()
        process.wait()


def wait_for_files(folder, count):
    """Wait until a browser has finished *count* downloads, and return the content of each by its name."""
    end = time.monotonic() + SECONDS
    pause = threading.Event()
    while time.monotonic() < end:
        finished = [path for path in folder.iterdir() if path.suffix != ".crdownload" and path.name[0] != "."]
        files = {path.name: path.read_bytes() for path in finished}
        if len(files) >= count:
            break
        pause.wait(0.05)
    return files


def test_browser(site, browse, tmp_path):
    """A page uploads with ``fetch`` and saves files by name; an uploaded page is saved and does not run."""
    store = site.store
    html = f"<script>fetch('{site.pages}/ran'); location = '{site.pages}/ran'</script>".encode()
    contents = dict.fromkeys(FILENAMES, b"Hello, world!") | {"page.html": html}
    ids = [store.store(data, filename=f"a/{name}", session_id="s") for name, data in contents.items()]
    upload_url, upload_id = store.presign_upload("s", mime_type="text/plain", max_bytes=1_000_000)
    urls = [store.presign(artifact_id) for artifact_id in ids]
    site.work = {"upload": upload_url, "download": urls[0], "save": urls}
    browse(site.pages)
    result = site.results.get(timeout=SECONDS)
    etag = f'"{store.metadata(ids[0]).sha256}"'
    assert result["part"] == [206, "Hello", etag]
    assert result["uploaded"][0] == 200
    assert [result[name][0] for name in ("wrongType", "tooLong", "forbidden")] == [415, 413, 403]
    assert store.register_uploaded_artifact(upload_id, mime="text/plain", summary="")
    assert store.retrieve(upload_id) == b"from a browser"
    saved = wait_for_files(tmp_path / "saved", len(contents))
    assert saved == {name.replace('"', "_"): data for name, data in contents.items()}
    assert "/ran" not in site.asked


def test_archive(site, browse, tmp_path):
    """A browser saves the archive of a session, whose length the gateway does not announce, as a whole ZIP file."""
    contents = {f"a/{name}": os.urandom(300_000) for name in FILENAMES}
    for name, data in contents.items():
        site.store.store(data, filename=name, session_id="s 1")
    site.work = {"upload": "/", "download": "/", "save": [site.store.presign_archive("s 1", prefix="a/")]}
    browse(site.pages)
    saved = wait_for_files(tmp_path / "saved", 1)
    assert list(saved) == ["s 1.zip"]
    with zipfile.ZipFile(tmp_path / "saved" / "s 1.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == contents


def test_other_origin(site, browse):
    """A page of an unknown origin can neither read nor upload."""
    store = site.store
    artifact_id = store.store(b"x", session_id="s")
    upload_url, upload_id = store.presign_upload("s")
    site.open_to("https://app.example.org")
    site.work = {"upload": upload_url, "download": store.presign(artifact_id), "save": []}
    browse(site.pages)
    result = site.results.get(timeout=SECONDS)
    assert set(map(tuple, result.values())) == {("TypeError",)}
    assert not store.exists(upload_id)

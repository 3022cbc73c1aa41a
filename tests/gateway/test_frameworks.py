"""The web applications of the documentation in their frameworks: upload, register, download, expiry.

They are in docs/howto/flask-django.md and docs/howto/fastapi.md.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import django.conf
import django.urls
import pytest
import uvicorn
from blocks import block

import chuk_artifacts
from chuk_artifacts import aio
from chuk_artifacts.gateway.server import Server


@contextmanager
def served(app):
    """Serve a WSGI application, and yield its port."""
    server = Server(app)
    server.start()
    try:
        yield server.url.rpartition(":")[2]
    finally:
        server.close()


@contextmanager
def served_by_uvicorn(app):
    """Serve an ASGI application, and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def in_flask():
    """Return the store of the page's Flask application, and its server."""
    module = SimpleNamespace(**block("docs/howto/flask-django.md", "Flask"))
    return module.store, served(module.app)


def in_django():
    """Return the store of the page's Django application, and its server."""
    if not django.conf.settings.configured:
        django.conf.settings.configure(ROOT_URLCONF="django_app", ALLOWED_HOSTS=["localhost"])
    django.urls.clear_url_caches()
    module = sys.modules["django_app"] = SimpleNamespace(**block("docs/howto/flask-django.md", "Django"))
    return module.store, served(module.application)


def in_fastapi():
    """Return the store of the page's FastAPI application, and its server."""
    module = SimpleNamespace(**block("docs/howto/fastapi.md", "Upload and download", "Signed URLs"))
    return module.store._blocking, served_by_uvicorn(module.app)


@pytest.fixture(params=[in_flask, in_django, in_fastapi])
def application(request, monkeypatch, tmp_path, clock):
    """Return the store and the port of each application, which uses the clock of the test."""
    monkeypatch.setenv("ARTIFACT_FS_ROOT", str(tmp_path))
    for package in (chuk_artifacts, aio):
        monkeypatch.setattr(package, "ArtifactStore", functools.partial(package.ArtifactStore, clock=clock))
    monkeypatch.delitem(sys.modules, "django_app", raising=False)
    store, serving = request.param()
    with store, serving as port:
        yield store, port


class Browser:
    """A client of the application at its actual port."""

    def __init__(self, store, port):
        self._here = f"http://localhost:{port}"
        self._there = store.scope.core.settings.gateway_url.removesuffix("/signed")

    def path(self, url):
        """Return the path and the query of a signed URL."""
        return url.removeprefix(self._there)

    def ask(self, method, url, data=None, **headers):
        """Send a request, and return the status, the headers and the content of the answer."""
        here = self._here + self.path(url)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with urllib.request.urlopen(urllib.request.Request(here, data, named, method=method)) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()


def test_upload_and_download(application, clock):
    """A page uploads with one URL, and downloads the file or a range with another until it expires."""
    store, port = application
    ask = Browser(store, port).ask
    begun = json.loads(ask("POST", "/uploads?filename=Gr%C3%BC%C3%9Fe.jpg", User="alice")[2])
    data = bytes(range(256)) * 8000
    assert ask("PUT", begun["url"], data, Content_Type="text/html")[0] == 415
    assert ask("PUT", begun["url"], data, Content_Type="image/jpeg")[0] == 200
    assert ask("POST", f"/uploads/{begun['id']}", User="bob")[0] in {404, 500}  # where errors have no handler
    url = json.loads(ask("POST", f"/uploads/{begun['id']}", User="alice")[2])["url"]
    status, headers, content = ask("GET", url)
    assert (status, content) == (200, data)
    assert headers["Content-Disposition"].endswith("''Gr%C3%BC%C3%9Fe.jpg")
    assert ask("GET", url, Range="bytes=1000000-1000009")[::2] == (206, data[1_000_000:1_000_010])
    assert ask("GET", url, If_None_Match=headers["ETag"])[0] == 304
    assert ask("HEAD", url)[1]["Content-Length"] == str(len(data))
    assert ask("DELETE", url)[0] == 405
    assert store.metadata(begun["id"]).session_id == "user:alice"
    clock.advance(900)
    assert ask("GET", url)[0] == 403


def test_refusal_is_read_by_a_client_that_sends_to_the_end(application):
    """A client that closes its connection after one request reads why, although it still sends its upload."""
    store, port = application
    browser = Browser(store, port)
    url = json.loads(browser.ask("POST", "/uploads?filename=a.jpg", User="alice")[2])["url"]
    head = f"PUT {browser.path(url)} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/html\r\nConnection: close\r\n"
    with socket.create_connection(("localhost", port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: 5000000\r\n\r\n".encode())
        answer = connection.recv(65536)
        for _ in range(50):
            connection.sendall(bytes(100_000))
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 415 ")


def test_answer_in_flask(monkeypatch, tmp_path):
    """The Flask application takes a photo and shows it, whole, in part and not again, and only to its user."""
    monkeypatch.setenv("ARTIFACT_FS_ROOT", str(tmp_path))
    module = SimpleNamespace(**block("docs/howto/flask-django.md", "Flask"))
    with module.store as store, served(module.app) as port:
        browser = Browser(store, port)
        data = os.urandom(700_000)
        ask = functools.partial(browser.ask, User="alice")
        stored = json.loads(ask("POST", "/files/a/sea.png", data, Content_Type="image/png")[2])
        assert store.metadata(stored["file_id"]).session_id == "user:alice"
        path = f"/files/{stored['file_id']}"
        status, headers, content = ask("GET", path)
        assert (status, content, headers["Content-Type"]) == (200, data, "image/png")
        assert headers["Content-Disposition"] == 'inline; filename="sea.png"'
        assert ask("GET", path, Range="bytes=-9")[::2] == (206, data[-9:])
        assert ask("GET", path, If_None_Match=headers["ETag"])[0] == 304
        assert ask("HEAD", path)[1]["Content-Length"] == "700000"
        assert browser.ask("GET", path, User="bob")[0] == 404
        status, headers, _ = ask("POST", "/files/a/<b>/", b"...")
        assert (status, headers["Content-Type"]) == (400, "text/plain; charset=utf-8")

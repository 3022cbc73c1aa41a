"""What only the WSGI face of the gateway has: content that the server closes, and files that the server sends."""

from __future__ import annotations

import os
from wsgiref.util import FileWrapper

import pytest
from process import open_below
from werkzeug.test import create_environ

from chuk_artifacts import ArtifactStore, InvalidInputError, aio
from chuk_artifacts.gateway import Gateway

BASE = "https://example.org/files"
DATA = os.urandom(700_000)

needs_descriptors = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system does not list open files"
)


@pytest.fixture(params=["filesystem", "memory", "memory://wsgi"])
def store(request, tmp_path):
    """Return a store on the disk, in memory and at a URL."""
    options = {"fs_root": tmp_path / "root"} if request.param == "filesystem" else {"sandbox_id": tmp_path.name}
    with ArtifactStore(
        storage_provider=request.param, gateway_url=BASE, signing_key="a secret of 16 bytes", **options
    ) as store:
        yield store


@pytest.fixture
def path(store):
    """Return path and query of a URL that downloads ``DATA``."""
    return store.presign(store.store(DATA)).removeprefix(BASE)


class Server:
    """A server that sends files itself, as gunicorn and uWSGI do: by descriptor, from the present position."""

    def __init__(self, app):
        self.app = app
        self.wrapped = []

    def wrapper(self, file, size):
        """Return the object that the server looks for."""
        self.wrapped.append(FileWrapper(file, size))
        return self.wrapped[-1]

    def ask(self, path, **environ):
        """Return status, content and length of an answer, and whether the server read the file itself."""
        started = []
        whole = {**create_environ(path), "wsgi.file_wrapper": self.wrapper, **environ}
        result = self.app(whole, lambda status, headers: started.append((status[:3], dict(headers))))
        try:
            is_file = result in self.wrapped
            content = (
                b"".join(iter(lambda: os.read(result.filelike.fileno(), 1000), b"")) if is_file else b"".join(result)
            )
        finally:
            result.close()
        return started[0][0], content, started[0][1].get("Content-Length"), is_file


def test_server_sends_a_local_file(store, path):
    """A whole local file is handed to a server that sends files, with the same header; no other content is."""
    server = Server(Gateway(store))
    is_local = store.storage_provider == "filesystem"
    assert server.ask(path) == ("200", DATA, "700000", is_local)
    assert server.ask(path, HTTP_RANGE="bytes=5-") == ("206", DATA[5:], "699995", False)
    assert server.ask(path, HTTP_RANGE="bytes=0-4") == ("206", DATA[:5], "5", False)
    assert server.ask(path, REQUEST_METHOD="HEAD") == ("200", b"", "700000", False)
    assert server.ask(path, HTTP_IF_NONE_MATCH="*")[::3] == ("304", False)
    assert server.ask(path + "x")[::3] == ("403", False)
    assert all(wrapped.filelike.closed for wrapped in server.wrapped)


def test_verified_file_is_not_left_to_the_server(store, path):
    """With ``verify`` the gateway reads the file itself."""
    assert Server(Gateway(store, verify=True)).ask(path) == ("200", DATA, "700000", False)


@pytest.mark.parametrize("store", ["filesystem"], indirect=True)
def test_file_that_is_deleted_or_exchanged_meanwhile(store, path, tmp_path):
    """The server sends the file that was opened, whatever happens to its name before the first byte is read."""
    artifact_id = path[1:33]
    name = tmp_path / "root" / store.metadata(artifact_id).key
    (tmp_path / "secret").write_bytes(b"secret")
    server = Server(Gateway(store))

    def exchange(file, size):
        name.unlink()
        name.symlink_to(tmp_path / "secret")
        return server.wrapper(file, size)

    assert server.ask(path, **{"wsgi.file_wrapper": exchange})[1] == DATA
    assert server.ask(path)[0] == "503"  # a link is not followed


@pytest.mark.parametrize("store", ["filesystem"], indirect=True)
@needs_descriptors
@pytest.mark.parametrize("environ", [{}, {"wsgi.file_wrapper": FileWrapper}], ids=["chunks", "file"])
def test_unread_download(store, path, tmp_path, environ):
    """A download that the server closes before or in the middle of its content keeps no file open."""
    before = len(open_below(tmp_path))
    for read in (lambda _: None, next):
        content = Gateway(store)({**create_environ(path), **environ}, lambda *_: lambda _: None)
        read(iter(content))
        assert len(open_below(tmp_path)) == before + 1
        content.close()
        assert len(open_below(tmp_path)) == before


@pytest.mark.parametrize("other", [None, "store", aio.ArtifactStore])
def test_anything_but_a_store(other):
    """Anything but a blocking store is refused when the gateway is made."""
    with pytest.raises(InvalidInputError, match=r"must be a chuk_artifacts\.ArtifactStore"):
        Gateway(other() if callable(other) else other)

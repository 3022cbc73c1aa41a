"""Both faces of the gateway give one answer to one request: the same status, header and content."""

from __future__ import annotations

import hashlib
import io

import pytest
from gateway_faces import FACES
from werkzeug.test import create_environ, run_wsgi_app

from chuk_artifacts import ArtifactStore

BASE = "https://example.org/files"
DATA = bytes(range(256)) * 4
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'
APP = "https://app.example.org"

DOWNLOADS = [
    {},
    {"method": "HEAD"},
    {"method": "OPTIONS"},
    {"method": "OPTIONS", "HTTP_ORIGIN": APP, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"},
    {"method": "DELETE"},
    {"method": "POST", "body": b"x"},
    {"method": "get"},
    {"method": "PUT", "body": b"x"},
    {"HTTP_RANGE": "bytes=1-9"},
    {"HTTP_RANGE": "bytes=-1"},
    {"HTTP_RANGE": "bytes=5000-"},
    {"HTTP_RANGE": "bytes=1-2,3-4"},
    {"HTTP_RANGE": "bytes=1-9", "HTTP_IF_RANGE": ETAG},
    {"HTTP_RANGE": "bytes=1-9", "HTTP_IF_RANGE": '"0"'},
    {"method": "HEAD", "HTTP_RANGE": "bytes=1-9"},
    {"HTTP_IF_NONE_MATCH": ETAG},
    {"HTTP_IF_NONE_MATCH": "*", "method": "HEAD"},
    {"HTTP_IF_MATCH": '"0"'},
    {"HTTP_ORIGIN": APP},
    {"HTTP_ORIGIN": "https://other.example.org"},
    {"HTTP_COOKIE": "session=1", "HTTP_AUTHORIZATION": "Basic eDp5"},
    {"QUERY_STRING": ""},
    {"PATH_INFO": "/"},
    {"PATH_INFO": ""},
    {"PATH_INFO": "/" + "0" * 32},
    {"SCRIPT_NAME": "/deep/files"},
    {"CONTENT_LENGTH": "5, 5"},
    {"body": b"a body that nobody reads"},
]
UPLOADS = [
    {"body": b"hello"},
    {"body": b""},
    {"body": b"hello", "HTTP_IF_NONE_MATCH": "*"},
    {"body": b"hello", "HTTP_IF_MATCH": "*"},
    {"body": b"hello", "HTTP_IF_MATCH": '"0"'},
    {"body": b"hello", "CONTENT_TYPE": "text/html"},
    {"body": b"hello", "CONTENT_LENGTH": "6"},
    {"body": b"hello", "CONTENT_LENGTH": "-1"},
    {"body": b"hello", "CONTENT_LENGTH": "9" * 30},
    {"body": b"hello", "CONTENT_LENGTH": ""},
    {"body": b"hello", "CONTENT_LENGTH": None},
    {"body": b"hello", "CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    {"body": b"hello", "CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "gzip", "wsgi.input_terminated": True},
    {"body": b"hello", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    {"body": b"x" * 1_000_001},
    {
        "body": b"x" * 1_000_001,
        "CONTENT_LENGTH": None,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
    },
    {"body": b"hello", "HTTP_CONTENT_RANGE": "bytes 0-4/5"},
    {"body": b"hello", "HTTP_ORIGIN": APP},
    {"body": b"hello", "method": "GET"},
    {"body": b"hello", "QUERY_STRING": "expires=1"},
]


def answer(face, store, url, *, method="GET", body=None, verify=False, **changed):
    """Return status, header and content that a face answers a request with."""
    environ = create_environ(url.removeprefix(BASE), method=method)
    if body is not None:
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "text/plain"}
    environ = {name: value for name, value in (environ | changed).items() if value is not None}
    content, status, headers = run_wsgi_app(FACES[face](store, origins=[APP], verify=verify), environ)
    return status, sorted((name.lower(), value) for name, value in headers), b"".join(content)


@pytest.fixture
def store():
    """Return a store in memory."""
    with ArtifactStore(gateway_url=BASE) as store:
        yield store


@pytest.mark.parametrize("number", range(len(DOWNLOADS)))
@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("kind", ["live", "empty", "deleted"])
def test_downloads(store, number, verify, kind):
    """A download, or what is none, has the same answer on each face."""
    artifact_id = store.store(b"" if kind == "empty" else DATA, filename="a/Grüße.txt", session_id="alice")
    url = store.presign(artifact_id)
    if kind == "deleted":
        store.delete(artifact_id)
    first, second = (answer(face, store, url, verify=verify, **DOWNLOADS[number]) for face in FACES)
    assert first == second


@pytest.mark.parametrize("number", range(len(UPLOADS)))
@pytest.mark.parametrize("before", [None, b"earlier"])
def test_uploads(number, before):
    """An upload, or what is none, has the same answer on each face, and leaves the same."""
    seen = []
    for face in FACES:
        with ArtifactStore(gateway_url=BASE) as store:
            url, _ = store.presign_upload("alice", mime_type="text/plain", max_bytes=1_000_000)
            if before is not None:
                answer(face, store, url, method="PUT", body=before)
            answered = answer(face, store, url, **{"method": "PUT", **UPLOADS[number]})
            seen.append((answered, [item.bytes for item in store.scope.core.storage.list_objects("grid/")]))
    assert seen[0] == seen[1]

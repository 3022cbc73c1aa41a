"""Hostile requests to the gateway, on each of its faces, and damaged records."""

from __future__ import annotations

import io
import logging
import random
import threading

import pytest
from gateway_faces import FACES
from werkzeug.test import create_environ, run_wsgi_app
from werkzeug.wrappers import Response

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore
from chuk_artifacts.disposition import content_disposition
from chuk_artifacts.gateway import Gateway

BASE = "https://example.org/files"
ALICE = "user_alice"


@pytest.fixture(autouse=True, params=FACES)
def face(request, monkeypatch):
    """Run each test on each face of the gateway, and return its name."""
    monkeypatch.setitem(globals(), "Gateway", FACES[request.param])
    return request.param


@pytest.fixture(params=["memory", "disk", "url"])
def store(request, tmp_path):
    """Return an empty store of each kind of storage that signs no URLs itself."""
    options = {
        "memory": {},
        "disk": {"storage_provider": "filesystem", "fs_root": tmp_path},
        "url": {"storage_provider": "memory://gateway", "sandbox_id": tmp_path.name},
    }[request.param]
    with ArtifactStore(gateway_url=BASE, signing_key="a secret of 16 bytes", **options) as store:
        yield store


@pytest.fixture
def in_memory():
    """Return an empty store in memory."""
    with ArtifactStore(gateway_url=BASE, signing_key="a secret of 16 bytes") as store:
        yield store


def ask(app, method, path, body=b"", **environ):
    """Send a request with some values of its environment replaced, and return the response."""
    whole = create_environ(path, method=method)
    whole.pop("CONTENT_LENGTH", None)
    stream = body if hasattr(body, "read") else io.BytesIO(body)
    return Response(*run_wsgi_app(app, {**whole, "wsgi.input": stream, **environ}, buffered=True))


def put(store, path, body, **environ):
    """Upload and return the response."""
    return ask(Gateway(store), "PUT", path, body, **{"CONTENT_LENGTH": str(len(body)), **environ})


def upload(store, **options):
    """Return path and query of a URL to upload to, and the id."""
    url, artifact_id = store.presign_upload(ALICE, **options)
    return url.removeprefix(BASE), artifact_id


def assert_nothing_uploaded(store, artifact_id):
    """Check that no bytes of an upload were kept."""
    with pytest.raises(ArtifactNotFoundError):
        store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert list(store.scope.core.storage.list_objects(store.get_session_prefix_pattern())) == []


# The length of the content

NO_LENGTHS = [
    "-1",
    "+5",
    "0_5",
    "\xb2",
    "\u0665",
    "",
    " ",
    "5, 5",
    "5,5",
    "5 5",
    "0x5",
    "5.0",
    "5e0",
    "five",
    "-0",
    "5\0",
    "5\n",
]


@pytest.mark.parametrize("length", NO_LENGTHS)
@pytest.mark.parametrize("terminated", [False, True], ids=["", "terminated"])
def test_malformed_length(in_memory, length, terminated):
    """An upload whose Content-Length is not digits is refused, and stores no bytes (RFC 9112 section 6.3)."""
    path, artifact_id = upload(in_memory)
    more = {"wsgi.input_terminated": True} if terminated else {}
    assert put(in_memory, path, b"hello", CONTENT_LENGTH=length, **more).status_code == 400
    assert_nothing_uploaded(in_memory, artifact_id)


@pytest.mark.parametrize("length", [length for length in NO_LENGTHS if length.strip()])
def test_length_of_a_download(in_memory, length):
    """A download with a malformed Content-Length is refused too."""
    path = in_memory.presign(in_memory.store(b"x")).removeprefix(BASE)
    assert ask(Gateway(in_memory), "GET", path, CONTENT_LENGTH=length).status_code == 400


def test_empty_length_of_a_download(in_memory):
    """A download ignores an empty CONTENT_LENGTH, which some servers pass on for a missing header."""
    path = in_memory.presign(in_memory.store(b"x")).removeprefix(BASE)
    assert ask(Gateway(in_memory), "GET", path, CONTENT_LENGTH="").status_code == 200


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000, "1" + "0" * 100_000])
def test_length_of_too_many_digits(in_memory, length):
    """A length of more than 18 digits is a 413, not an error of the server."""
    path, artifact_id = upload(in_memory)
    assert put(in_memory, path, b"hello", CONTENT_LENGTH=length).status_code == 413
    assert_nothing_uploaded(in_memory, artifact_id)


@pytest.mark.parametrize("length", ["0005", " 5", "5\t"])
def test_other_spellings_of_a_length(in_memory, length):
    """Leading zeros, and blanks around a length, are allowed."""
    path, _ = upload(in_memory)
    assert put(in_memory, path, b"hello", CONTENT_LENGTH=length).status_code == 200


@pytest.mark.parametrize(
    "coding", ["chunked", "Chunked", "gzip, chunked", "chunked, chunked", "identity", "xchunked", ""]
)
@pytest.mark.parametrize("length", ["5", "0", ""])
def test_length_and_transfer_encoding(in_memory, coding, length):
    """A request with both a length and a transfer coding is refused: a proxy may see another end."""
    path, artifact_id = upload(in_memory)
    options = {"HTTP_TRANSFER_ENCODING": coding, "wsgi.input_terminated": True}
    assert put(in_memory, path, b"hello", CONTENT_LENGTH=length, **options).status_code == 400
    assert_nothing_uploaded(in_memory, artifact_id)


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", ""])
def test_transfer_encoding(in_memory, coding):
    """Only the transfer coding ``chunked`` is accepted, so compressed bytes are never stored as the file."""
    path, artifact_id = upload(in_memory)
    options = {"HTTP_TRANSFER_ENCODING": coding, "wsgi.input_terminated": True}
    assert ask(Gateway(in_memory), "PUT", path, b"hello", **options).status_code == 400
    assert_nothing_uploaded(in_memory, artifact_id)


# Conditions of an upload


def test_first_upload_only(store):
    """With ``If-None-Match: *`` only the first upload is accepted (RFC 9110 section 13.1.2)."""
    path, artifact_id = upload(store)
    assert put(store, path, b"first", HTTP_IF_NONE_MATCH="*").status_code == 200
    assert put(store, path, b"second", HTTP_IF_NONE_MATCH="*").status_code == 412
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.retrieve(artifact_id) == b"first"


def test_upload_that_replaces_another(store):
    """With ``If-Match`` an upload replaces only the upload that the client knows."""
    path, artifact_id = upload(store)
    assert put(store, path, b"x", HTTP_IF_MATCH="*").status_code == 412
    assert put(store, path, b"x", HTTP_IF_MATCH='"0"').status_code == 412
    first = put(store, path, b"first").headers["ETag"]
    second = put(store, path, b"second", HTTP_IF_MATCH=f'"0", {first}').headers["ETag"]
    for known in (first, f"W/{second}", '"0"', "", "nonsense"):
        assert put(store, path, b"third", HTTP_IF_MATCH=known).status_code == 412, known
    assert put(store, path, b"third", HTTP_IF_MATCH=second).status_code == 200
    assert put(store, path, b"fourth", HTTP_IF_MATCH="*").status_code == 200
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.retrieve(artifact_id) == b"fourth"


def test_upload_of_other_bytes_only(store):
    """With ``If-None-Match`` and an ETag an upload replaces any upload but that one."""
    path, _ = upload(store)
    first = put(store, path, b"first", HTTP_IF_NONE_MATCH='"0"').headers["ETag"]
    assert put(store, path, b"second", HTTP_IF_NONE_MATCH=f"W/{first}").status_code == 412
    assert put(store, path, b"second", HTTP_IF_NONE_MATCH='"0"').status_code == 200
    assert put(store, path, b"x", HTTP_IF_MATCH=first, HTTP_IF_NONE_MATCH='"0"').status_code == 412


class Unread:
    """Content that must not be read."""

    def __len__(self):
        """Return the announced length."""
        return 5

    def read(self, size=-1):
        """Fail."""
        raise AssertionError("was read")


def test_condition_fails_before_the_first_byte(store):
    """An upload whose condition fails is refused before its content is read."""
    path, _ = upload(store)
    put(store, path, b"first")
    assert put(store, path, Unread(), HTTP_IF_NONE_MATCH="*").status_code == 412
    assert put(store, path, Unread(), HTTP_IF_MATCH='"0"').status_code == 412


class Meanwhile:
    """Content that calls a function when it is first read."""

    def __init__(self, data, happens):
        self._data, self._happens = data, happens

    def __len__(self):
        """Return the announced length."""
        return len(self._data)

    def read(self, size=-1):
        """Call the function the first time, and return the content."""
        self._happens()
        data, self._data, self._happens = self._data, b"", lambda: None
        return data


@pytest.mark.parametrize("condition", [{"HTTP_IF_NONE_MATCH": "*"}, {"HTTP_IF_MATCH": "the first"}])
def test_another_upload_comes_first(store, condition):
    """The condition of an upload holds against another upload that began later and ended first."""
    path, artifact_id = upload(store)
    if "HTTP_IF_MATCH" in condition:
        condition = {"HTTP_IF_MATCH": put(store, path, b"first").headers["ETag"]}
    body = Meanwhile(b"late", lambda: put(store, path, b"early"))
    assert put(store, path, body, **condition).status_code == 412
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert store.retrieve(artifact_id) == b"early"


@pytest.mark.parametrize("header", ["HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"])
def test_many_uploads_at_once(store, header):
    """Of concurrent uploads with one condition exactly one is accepted, and its bytes are kept."""
    path, artifact_id = upload(store)
    condition = {header: "*" if header == "HTTP_IF_NONE_MATCH" else put(store, path, b"first").headers["ETag"]}
    together, statuses = threading.Barrier(8), {}

    def attempt(name):
        statuses[name] = put(store, path, Meanwhile(name, together.wait), **condition).status_code

    threads = [threading.Thread(target=attempt, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses.values()) == [200] + [412] * 7
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert statuses[store.retrieve(artifact_id)] == 200


def test_condition_after_registration(store):
    """After registration an upload returns a 404, whatever its condition (RFC 9110 section 13.2.1)."""
    path, artifact_id = upload(store)
    put(store, path, b"first")
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert put(store, path, b"x", HTTP_IF_NONE_MATCH="*").status_code == 404


# Records that are damaged

ODD_RECORDS = [
    {"mime": "text/plain\r\nSet-Cookie: a=b"},
    {"mime": "text/plain\0"},
    {"mime": "text/\ud800"},
    {"mime": "text/\u2028"},
    {"mime": "text/é"},
    {"mime": "a/" + "b" * 1_000_000},
    {"mime": None},
    {"mime": 5},
    {"mime": ["text/plain"]},
    {"filename": 5},
    {"filename": b"a.txt"},
    {"filename": ["a.txt"]},
    {"filename": "a" * 1_000_000},
    {"sha256": 'a"\r\nSet-Cookie: a=b'},
    {"sha256": None},
    {"sha256": "\ud800" * 64},
    {"bytes": "5"},
    {"bytes": None},
    {"bytes": -5},
    {"bytes": 5.5},
    {"key": None},
    {"key": "\ud800"},
    {"key": "grid/\0"},
    {"key": ["grid"]},
    {"expires_at": 5},
    {"superseded": 5},
]


@pytest.mark.parametrize("fields", ODD_RECORDS, ids=lambda fields: repr(fields)[:40])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_odd_record(in_memory, monkeypatch, caplog, fields, method):
    """A damaged record is an error of the server and one safe line in the log."""
    record = in_memory.metadata(in_memory.store(b"hello"))
    path = in_memory.presign(record.artifact_id).removeprefix(BASE)
    monkeypatch.setattr(in_memory.scope.core.catalog, "get", lambda _: [record.changed(**fields)])
    response = ask(Gateway(in_memory), method, path)
    if response.status_code == 200:  # HEAD opens nothing, and needs no key
        assert set(fields) <= {"key", "superseded"}
    else:
        assert response.status_code in {404, 500, 503}
        assert "Set-Cookie" not in response.headers
    for line in caplog.messages:
        assert line.isprintable()
        assert len(line) < 700


@pytest.mark.parametrize(
    "error", [ValueError("\r\n"), RecursionError(), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "")]
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_record_that_cannot_be_read(in_memory, monkeypatch, caplog, error, method):
    """An error while the catalog reads a record is a 500 and one line in the log, without a traceback."""
    path = in_memory.presign(in_memory.store(b"hello")).removeprefix(BASE) if method == "GET" else upload(in_memory)[0]

    def stumble(_):
        raise error

    monkeypatch.setattr(in_memory.scope.core.catalog, "get", stumble)
    response = ask(Gateway(in_memory), method, path, b"x", CONTENT_LENGTH="1")
    assert response.status_code == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("seed", range(10))
def test_any_filename(in_memory, monkeypatch, seed):
    """A filename of any characters makes a header of printable ASCII."""
    chance = random.Random(seed)
    record = in_memory.metadata(in_memory.store(b"hello"))
    path = in_memory.presign(record.artifact_id).removeprefix(BASE)
    for _ in range(100):
        name = "".join(chr(chance.choice((chance.randrange(256), chance.randrange(0x110000)))) for _ in range(20))
        monkeypatch.setattr(in_memory.scope.core.catalog, "get", lambda _, name=name: [record.changed(filename=name)])
        response = ask(Gateway(in_memory), "GET", path)
        header = response.headers["Content-Disposition"]
        assert (response.status_code, response.data) == (200, b"hello")
        assert header.isascii()
        assert header.isprintable()
        assert not {"%0D", "%0A", "%00"} & {header[place : place + 3] for place in range(len(header))}


def test_disposition_of_a_surrogate():
    """Half of a surrogate pair, which UTF-8 can't encode, becomes a question mark."""
    assert content_disposition("a\ud800\r\n.txt") == "attachment; filename=\"a___.txt\"; filename*=UTF-8''a%3F__.txt"


# Requests that are damaged

PLACES = [
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "HTTP_HOST",
    "HTTP_RANGE",
    "HTTP_IF_RANGE",
    "HTTP_IF_MATCH",
    "HTTP_IF_NONE_MATCH",
    "HTTP_ORIGIN",
    "HTTP_TRANSFER_ENCODING",
    "SERVER_NAME",
    "SERVER_PORT",
]
NOISE = [
    '"',
    "W/",
    "*",
    ",",
    ";",
    "=",
    "\r\n",
    "\0",
    "%",
    "bytes=",
    "é",
    "[",
    "]",
    ":",
    "//",
    "charset*=utf-9''%ff",
    "-",
    "9",
]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_any_environment(in_memory, seed, method):
    """A request with any text in its environment, latin-1 or not, gets no 5xx answer."""
    chance = random.Random(f"{method} {seed}")
    artifact_id = in_memory.store(b"hello")
    app = Gateway(in_memory, origins=["https://app.example.org"])
    for _ in range(100):
        path = in_memory.presign(artifact_id).removeprefix(BASE) if method == "GET" else upload(in_memory)[0]
        noise = [*NOISE, chr(chance.randrange(256)), chr(chance.randrange(0x110000))]
        given = {
            place: "".join(chance.choices(noise, k=chance.randrange(8)))
            for place in chance.sample(PLACES, chance.randrange(1, 4))
        }
        assert ask(app, method, path, b"hello", **{"CONTENT_LENGTH": "5", **given}).status_code < 500, given

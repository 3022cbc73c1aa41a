"""The answers of the gateway, by kind of request, on each of its faces."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from urllib.parse import unquote_to_bytes

import pytest
from gateway_faces import FACES
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client, create_environ, run_wsgi_app
from werkzeug.wrappers import Response

from chuk_artifacts import ArtifactCorruptedError, ArtifactNotFoundError, ArtifactStore, InvalidInputError
from chuk_artifacts.gateway import Gateway

BASE = "https://example.org/files"
DATA = bytes(range(256)) * 4
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'
ALICE = "user_alice"


@pytest.fixture(autouse=True, params=FACES)
def face(request, monkeypatch):
    """Run each test on each face of the gateway, and return its name."""
    monkeypatch.setitem(globals(), "Gateway", FACES[request.param])
    return request.param


@pytest.fixture
def store(clock):
    """Return an empty store in memory."""
    with ArtifactStore(gateway_url=BASE, signing_key="a secret of 16 bytes", clock=clock) as store:
        yield store


@pytest.fixture
def on_disk(clock, tmp_path):
    """Return an empty store on the disk."""
    with ArtifactStore(storage_provider="fs", fs_root=tmp_path / "root", gateway_url=BASE, clock=clock) as store:
        yield store


@pytest.fixture
def client(store):
    """Return a client of the gateway of the store in memory."""
    return Client(Gateway(store))


@pytest.fixture
def path(store):
    """Return path and query of a URL that downloads ``DATA``."""
    return local(store.presign(store.store(DATA, session_id=ALICE)))


def local(url):
    """Return path and query of a URL below the gateway."""
    assert url.startswith(BASE + "/")
    return url.removeprefix(BASE)


def upload(store, **options):
    """Return path and query of a URL to upload to, and the id."""
    url, artifact_id = store.presign_upload(ALICE, **options)
    return local(url), artifact_id


def register(store, artifact_id):
    """Register an upload."""
    return store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")


class Body:
    """The content of a request, which a server passes on piece by piece."""

    def __init__(self, *steps):
        self._steps = list(steps)

    def read(self, size=-1):
        """Return the next piece; call a step that is callable, raise a step that is an error."""
        step = self._steps.pop(0) if self._steps else b""
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step


def put(store, path, body, *, length=None, content_type=None, terminated=False, headers=None):
    """PUT a body, with a *length* or ``wsgi.input_terminated``, and return the response."""
    environ = create_environ(path, method="PUT", content_type=content_type, headers=headers)
    environ["wsgi.input"] = body
    if terminated:
        environ["wsgi.input_terminated"] = True
    environ.pop("CONTENT_LENGTH", None)
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    return Response(*run_wsgi_app(Gateway(store), environ, buffered=True))


# Download


def test_download(client, store):
    """A download returns the bytes with their type, length, filename, and SHA-256 as ETag."""
    artifact_id = store.store(DATA, mime="image/png", filename="holidays/sea.png")
    response = client.get(local(store.presign(artifact_id)))
    assert (response.status_code, response.data) == (200, DATA)
    assert {name.lower(): value for name, value in response.headers} == {
        "accept-ranges": "bytes",
        "cache-control": "private",
        "content-disposition": 'attachment; filename="sea.png"',
        "content-length": "1024",
        "content-security-policy": "sandbox; default-src 'none'",
        "content-type": "image/png",
        "etag": ETAG,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


def test_head(client, path):
    """HEAD returns the header of GET without content, and ignores ranges."""
    head, get = client.head(path, headers={"Range": "bytes=0-1"}), client.get(path)
    assert (head.status_code, head.headers, head.data) == (200, get.headers, b"")


def test_empty_file(client, store):
    """An empty file can be downloaded, and every range of it is refused."""
    path = local(store.presign(store.store(b"")))
    response = client.get(path)
    assert (response.status_code, response.data, response.content_length) == (200, b"", 0)
    assert client.get(path, headers={"Range": "bytes=0-"}).status_code == 416


@pytest.mark.parametrize("mime", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/html; a=b"])
def test_active_content_does_not_run(client, store, mime):
    """A browser saves active content; if it shows the content, the page has no origin and no scripts."""
    response = client.get(local(store.presign(store.store(b"<script>alert(1)</script>", mime=mime))))
    assert response.headers["Content-Type"] == mime
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        (None, "attachment"),
        ("a b.txt", 'attachment; filename="a b.txt"'),
        ('x/y/q"; filename=evil.exe', "attachment; filename*=UTF-8''q%22%3B%20filename%3Devil.exe"),
        ("Grüße.txt", "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"),
        ("日本.txt", "attachment; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"),
        ("100%41.txt", "attachment; filename*=UTF-8''100%2541.txt"),
    ],
)
def test_filename(client, store, filename, disposition):
    """A download is saved as the last segment of its filename, with any characters (RFC 6266)."""
    header = client.get(local(store.presign(store.store(b"x", filename=filename)))).headers["Content-Disposition"]
    kind, *parameters = header.split("; ")
    assert header.isascii()
    assert "; ".join([kind, *(item for item in parameters if "*" in item or len(parameters) == 1)]) == disposition


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 1023),
        ("bytes=1-9", 1, 9),
        ("bytes=1023-", 1023, 1023),
        ("bytes=1000-5000", 1000, 1023),
        ("bytes=-1", 1023, 1023),
        ("bytes=-1024", 0, 1023),
        ("bytes=-5000", 0, 1023),
        ("Bytes = 5-6 ", 5, 6),
    ],
)
def test_range(client, path, asked, first, last):
    """A single range, also a suffix, returns exactly these bytes (RFC 9110 section 14)."""
    response = client.get(path, headers={"Range": asked})
    assert (response.status_code, response.data) == (206, DATA[first : last + 1])
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/1024"
    assert response.content_length == last + 1 - first
    assert response.headers["ETag"] == ETAG


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_range_outside_the_file(client, path, asked):
    """A range outside the file is refused, with the file's length."""
    response = client.get(path, headers={"Range": asked})
    assert (response.status_code, response.headers["Content-Range"]) == (416, "bytes */1024")


@pytest.mark.parametrize(
    "asked",
    ["bytes=", "bytes=-", "bytes=9-1", "bytes=a-b", "bytes=0-1,5-6", "lines=0-1", "0-1", "bytes=1-2-3", "bytes=٣-"],
)
def test_ignored_range(client, path, asked):
    """Malformed ranges, several ranges and other units are ignored (RFC 9110 section 14.2)."""
    response = client.get(path, headers={"Range": asked.encode().decode("latin-1")})
    assert (response.status_code, response.data) == (200, DATA)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(ETAG, 206), (f"W/{ETAG}", 200), ('"other"', 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200), ("", 200)],
)
def test_if_range(client, path, condition, status):
    """A range is sent if If-Range names the present revision; otherwise the whole file is sent."""
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": condition}).status_code == status


@pytest.mark.parametrize("known", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
@pytest.mark.parametrize("more", [{}, {"Range": "bytes=0-1"}])
def test_not_modified(client, path, known, more):
    """A client that has the present revision gets a 304, with or without a range (RFC 9110 section 13.2.2)."""
    for method in ("GET", "HEAD"):
        response = client.open(path, method=method, headers={"If-None-Match": known, **more})
        assert (response.status_code, response.data, response.headers["ETag"]) == (304, b"", ETAG)
        assert response.headers["Cache-Control"] == "private"


def test_modified(client, store, path):
    """A client that has an older revision gets the present one."""
    assert client.get(path, headers={"If-None-Match": '"other"'}).data == DATA
    store.update_file(path[1:33], data=b"new")
    assert client.get(path, headers={"If-None-Match": ETAG}).data == b"new"


@pytest.mark.parametrize(("wanted", "status"), [(ETAG, 200), ("*", 200), ('"other"', 412), (f"W/{ETAG}", 412)])
def test_if_match(client, path, wanted, status):
    """With If-Match a client gets the revision it wants, or a 412."""
    assert client.get(path, headers={"If-Match": wanted}).status_code == status


def test_old_range_of_new_revision(client, store, path):
    """A resumed download does not continue with the bytes of another revision."""
    store.update_file(path[1:33], data=b"n" * 2000)
    response = client.get(path, headers={"Range": "bytes=100-", "If-Range": ETAG})
    assert (response.status_code, response.data) == (200, b"n" * 2000)


def test_bytes_that_vanish_before_they_are_read(store, path, monkeypatch):
    """If the bytes are replaced and deleted before they are read, the client gets the next revision and its header."""
    storage = store.scope.core.storage
    real = storage.open

    def change_and_open(*arguments, **options):
        monkeypatch.setattr(storage, "open", real)
        for number in range(20):
            store.update_file(path[1:33], data=b"%d" % number)
        return real(*arguments, **options)

    monkeypatch.setattr(storage, "open", change_and_open)
    response = Client(Gateway(store)).get(path, headers={"Range": "bytes=0-", "If-Range": ETAG})
    assert (response.status_code, response.data, response.content_length) == (200, b"19", 2)
    assert response.headers["ETag"] == f'"{hashlib.sha256(b"19").hexdigest()}"'


# Refusals


def test_every_changed_byte_is_refused(store, path):
    """A change of any bit in a URL's path and query is refused."""
    gateway = Gateway(store)
    assert asked(gateway, path.encode()) == "200 OK"
    for index in range(len(path)):
        for bit in range(8):
            altered = bytearray(path.encode())
            altered[index] ^= 1 << bit
            assert asked(gateway, bytes(altered)) == "403 FORBIDDEN", bytes(altered)


def asked(gateway, url):
    """Return the status of a GET of exactly these bytes, as a server passes them on (PEP 3333)."""
    path, _, query = url.partition(b"?")
    environ = create_environ("/")
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")
    return run_wsgi_app(gateway, environ)[1]


def test_url_ends(client, store, clock):
    """A URL works until it expires; then the answer is the same as for a forged URL."""
    path = local(store.presign(store.store(DATA), expires=60))
    clock.advance(59.9)
    assert client.get(path).status_code == 200
    clock.advance(0.1)
    expired, false = client.get(path), client.get("/" + "0" * 32)
    assert (expired.status_code, expired.headers, expired.data) == (403, false.headers, false.data)
    assert expired.headers["Cache-Control"] == "no-store"


def test_artifact_ends_before_its_url(client, store, clock):
    """The URL of an expired or deleted artifact returns a 404."""
    paths = [local(store.presign(store.store(DATA, ttl=ttl), expires=3600)) for ttl in (60, None)]
    clock.advance(61)
    store.delete(paths[1][1:33])
    assert [client.get(path).status_code for path in paths] == [404, 404]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods(client, path, method):
    """Any other method is refused with a list of the allowed ones."""
    response = client.open(path, method=method)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, PUT")


@pytest.mark.parametrize("method", ["get", "Get", "put", "GET ", "", "\u0131", "G\r\nX: y", "X" * 100_000])
def test_methods_are_case_sensitive(store, path, method):
    """Only the exact names of three methods are accepted (RFC 9110 section 9.1)."""
    environ = {**create_environ(path), "REQUEST_METHOD": method}
    assert run_wsgi_app(Gateway(store), environ)[1] == "405 METHOD NOT ALLOWED"


def test_url_is_of_one_method(client, store, path):
    """A download URL takes no upload, and an upload URL gives no download."""
    target, artifact_id = upload(store)
    assert client.put(path, data=b"x").status_code == 403
    assert client.put(target, data=b"x").status_code == 200
    register(store, artifact_id)
    assert client.get(target).status_code == client.head(target).status_code == 403


def test_gateway_of_another_store(path):
    """A store with another sandbox or another key refuses the URL."""
    with (
        ArtifactStore(signing_key="a secret of 16 bytes") as other_box,
        ArtifactStore(signing_key="another of 16 bytes") as other_key,
    ):
        assert Client(Gateway(other_box)).get(path).status_code == 403
        assert Client(Gateway(other_key)).get(path).status_code == 403


def test_gateway_of_a_bound_store(store, path):
    """The gateway of a bound store serves only its session."""
    assert Client(Gateway(store.session(ALICE))).get(path).data == DATA
    assert Client(Gateway(store.session("user_bob"))).get(path).status_code == 404


def test_bound_store_signs(client, store):
    """A bound store signs URLs only of its own artifacts."""
    alice, bob = store.session(ALICE), store.session("user_bob")
    artifact_id = alice.store(DATA)
    assert client.get(local(alice.presign(artifact_id))).data == DATA
    with pytest.raises(ArtifactNotFoundError):
        bob.presign(artifact_id)


def test_below_a_path(store):
    """The gateway can be mounted below any path: a signature does not cover it."""
    path = local(store.presign(store.store(DATA)))
    app = DispatcherMiddleware(Gateway(store), {"/some/where": Gateway(store)})
    assert Client(app).get("/some/where" + path).data == DATA
    assert Client(app).get("/some/when" + path).status_code == 403


# Failures


def test_closed_store(client, store, path):
    """The gateway of a closed store returns a 503."""
    store.close()
    assert client.get(path).status_code == 503


def bytes_on_disk(store, artifact_id):
    """Return the path of an artifact's bytes."""
    return os.path.join(store.scope.core.settings.fs_root, store.metadata(artifact_id).key)


def test_outage(on_disk, caplog):
    """An outage is logged; the client gets a 503 without the reason."""
    artifact_id = on_disk.store(DATA)
    path = bytes_on_disk(on_disk, artifact_id)
    os.unlink(path)
    os.symlink("/etc/passwd", path)
    response = Client(Gateway(on_disk)).get(local(on_disk.presign(artifact_id)))
    assert (response.status_code, response.text) == (503, "Service Unavailable.\n")
    assert "symbolic link" in caplog.text


def test_lost_bytes(on_disk):
    """An artifact whose bytes are lost returns a 404."""
    artifact_id = on_disk.store(DATA)
    os.unlink(bytes_on_disk(on_disk, artifact_id))
    assert Client(Gateway(on_disk)).get(local(on_disk.presign(artifact_id))).status_code == 404


def test_corrupted_length(on_disk):
    """Bytes of another length than recorded are not sent at all."""
    artifact_id = on_disk.store(DATA)
    os.truncate(bytes_on_disk(on_disk, artifact_id), 1000)
    assert Client(Gateway(on_disk)).get(local(on_disk.presign(artifact_id))).status_code == 500


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_verified_download(on_disk, size):
    """With ``verify`` a download of altered bytes is an error, or ends short of its announced length."""
    data = b"x" * size
    artifact_id = on_disk.store(data)
    path = local(on_disk.presign(artifact_id))
    gateway = Gateway(on_disk, verify=True)
    assert Client(gateway).get(path).data == data
    with open(bytes_on_disk(on_disk, artifact_id), "r+b") as file:
        file.write(b"y")
    received = b""
    with pytest.raises(ArtifactCorruptedError, match="do not match"):  # it comes at the end of the content
        content, status, _ = run_wsgi_app(gateway, create_environ(path))
        if status.startswith("500"):
            raise ArtifactCorruptedError("the bytes do not match")
        for chunk in content:
            received += chunk
    assert len(received) < len(data)


def test_logs_hold_no_signature(client, store, path, caplog):
    """Downloads, refusals and uploads log no signature."""
    caplog.set_level(logging.DEBUG)
    target, _ = upload(store)
    client.get(path)
    client.get(path + "x")
    client.put(target, data=b"x")
    signatures = [url.rpartition("=")[2] for url in (path, target)]
    assert not any(signature in caplog.text for signature in signatures)
    assert "a secret of 16 bytes" not in caplog.text


# Upload


@pytest.mark.parametrize("data", [b"", b"x", DATA * 2000], ids=len)
@pytest.mark.parametrize("terminated", [False, True], ids=["", "terminated"])
def test_upload(store, data, terminated):
    """Registering turns the uploaded bytes into the artifact, with or without an announced length."""
    path, artifact_id = upload(store, filename="a.txt")
    response = put(store, path, io.BytesIO(data), length=None if terminated else len(data), terminated=terminated)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert register(store, artifact_id)
    assert store.retrieve(artifact_id) == data
    assert store.metadata(artifact_id).filename == "a.txt"


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("image/jpeg", "image/jpeg"),
        ("image/jpeg", "Image/JPEG"),
        ("text/plain; charset=utf-8", "text/plain;charset=UTF-8"),
        ("text/plain; charset=utf-8", 'text/plain; charset="utf-8"'),
        ("application/octet-stream", "anything/else"),
        ("application/octet-stream", None),
    ],
)
def test_upload_of_the_right_type(client, store, wanted, given):
    """An upload must have the signed content type; the default type accepts any."""
    path, _ = upload(store, mime_type=wanted)
    assert client.put(path, data=b"x", content_type=given).status_code == 200


@pytest.mark.parametrize("given", ["image/png", "text/plain", "image/jpeg; a=b", "image", "", None])
def test_upload_of_another_type(store, given):
    """An upload with another content type, or none, is refused before its first byte."""
    path, artifact_id = upload(store, mime_type="image/jpeg")
    unread = Body(AssertionError("was read"))
    response = put(store, path, unread, content_type=given, length=5)
    assert (response.status_code, b"image/jpeg" in response.data) == (415, True)
    assert_nothing_uploaded(store, artifact_id)


def assert_nothing_uploaded(store, artifact_id):
    """Check that no bytes of an upload were kept."""
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)
    assert list(store.scope.core.storage.list_objects(store.get_session_prefix_pattern())) == []


@pytest.mark.parametrize("terminated", [False, True], ids=["", "terminated"])
def test_upload_as_long_as_allowed(store, terminated):
    """An upload may have as many bytes as allowed, with its length announced or not."""
    path, artifact_id = upload(store, max_bytes=10)
    length = None if terminated else 10
    assert put(store, path, io.BytesIO(b"x" * 10), length=length, terminated=terminated).status_code == 200
    assert register(store, artifact_id)


def test_upload_with_too_great_a_length(store):
    """An upload that announces too many bytes is refused before its first byte."""
    path, artifact_id = upload(store, max_bytes=10)
    assert put(store, path, Body(AssertionError("was read")), length=11).status_code == 413
    assert_nothing_uploaded(store, artifact_id)


def test_upload_that_turns_out_too_long(store):
    """An upload of unknown length is refused as soon as it is too long, and no bytes are kept."""
    path, artifact_id = upload(store, max_bytes=10)
    body = Body(b"x" * 8, b"x" * 3, AssertionError("was read on"))
    assert put(store, path, body, terminated=True).status_code == 413
    assert_nothing_uploaded(store, artifact_id)


def test_upload_larger_than_an_artifact(clock):
    """An upload that no artifact of the store may hold is answered 413, announced or not."""
    with ArtifactStore(
        gateway_url=BASE, signing_key="a secret of 16 bytes", clock=clock, max_artifact_bytes=10
    ) as store:
        path, artifact_id = upload(store)
        assert put(store, path, Body(AssertionError("was read")), length=11).status_code == 413
        body = Body(b"x" * 8, b"x" * 3, AssertionError("was read on"))
        assert put(store, path, body, terminated=True).status_code == 413
        assert_nothing_uploaded(store, artifact_id)


def test_upload_to_a_full_session(clock):
    """An upload that its session has no room for is answered 507, announced or not, also under a condition."""
    with ArtifactStore(
        gateway_url=BASE, signing_key="a secret of 16 bytes", clock=clock, max_session_bytes=20
    ) as store:
        filler = store.store(b"x" * 10, session_id=ALICE)
        path, artifact_id = upload(store)
        assert put(store, path, Body(AssertionError("was read")), length=11).status_code == 507
        for headers in ({}, {"If-None-Match": "*"}):
            body = Body(b"x" * 8, b"x" * 3, AssertionError("was read on"))
            response = put(store, path, body, terminated=True, headers=headers)
            assert response.status_code == 507
            assert response.headers["Cache-Control"] == "no-store"
        store.delete(filler)
        assert_nothing_uploaded(store, artifact_id)


@pytest.mark.parametrize("end", [b"", ConnectionResetError(), TimeoutError(), ValueError("no chunk")], ids=repr)
@pytest.mark.parametrize("terminated", [False, True], ids=["", "terminated"])
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_broken_upload(store, on_disk, kind, end, terminated):
    """No bytes are kept of an upload that breaks off, however the server reports it."""
    used = on_disk if kind == "disk" else store
    path, artifact_id = upload(used)
    body = Body(b"x" * 600_000, end)
    assert put(used, path, body, length=1_000_000, terminated=terminated).status_code == 400
    assert_nothing_uploaded(used, artifact_id)


def test_upload_of_unknown_length(store):
    """An upload without a length is refused, unless the server finds its end."""
    path, artifact_id = upload(store)
    assert put(store, path, Body(AssertionError("was read"))).status_code == 411
    assert_nothing_uploaded(store, artifact_id)


def test_upload_of_a_part(client, store):
    """An upload with a Content-Range is refused."""
    path, artifact_id = upload(store)
    assert client.put(path, data=b"x", headers={"Content-Range": "bytes 0-0/5"}).status_code == 400
    assert_nothing_uploaded(store, artifact_id)


def test_second_upload(client, store):
    """An upload can be repeated until it is registered, and the last one counts."""
    path, artifact_id = upload(store)
    for data in (b"first, and longer", b"second"):
        assert client.put(path, data=data).status_code == 200
    register(store, artifact_id)
    assert store.retrieve(artifact_id) == b"second"


def test_upload_after_registration(client, store):
    """After the artifact is registered or deleted, its upload URL returns a 404."""
    path, artifact_id = upload(store)
    client.put(path, data=b"first")
    register(store, artifact_id)
    assert client.put(path, data=b"second").status_code == 404
    assert store.retrieve(artifact_id) == b"first"
    store.delete(artifact_id)
    assert client.put(path, data=b"third").status_code == 404
    assert list(store.scope.core.storage.list_objects(store.get_session_prefix_pattern())) == []


def test_upload_during_registration(client, store):
    """An upload that ends after an earlier one was registered changes nothing and leaves no bytes."""
    path, artifact_id = upload(store)
    client.put(path, data=b"first")
    body = Body(b"sec", lambda: b"ond" if register(store, artifact_id) else b"")
    assert put(store, path, body, length=6).status_code == 404
    assert store.retrieve(artifact_id) == b"first"
    keys = [item.key for item in store.scope.core.storage.list_objects(store.get_session_prefix_pattern())]
    assert keys == [store.metadata(artifact_id).key]


def test_upload_url_ends(client, store, clock):
    """An upload URL works until it expires."""
    path, artifact_id = upload(store, expires=60)
    clock.advance(60)
    assert client.put(path, data=b"x").status_code == 403
    assert_nothing_uploaded(store, artifact_id)


def test_upload_with_complete_metadata(client, store):
    """An upload whose metadata was given with the URL is an artifact as soon as its bytes arrive."""
    url, artifact_id = store.presign_upload_and_register(
        mime="text/plain", summary="", filename="a.txt", session_id=ALICE
    )
    assert client.put(local(url), data=b"x", content_type="text/plain").status_code == 200
    assert client.get(local(store.presign(artifact_id))).data == b"x"


# Pages of other origins


APP = "https://app.example.org"


@pytest.mark.parametrize(
    ("origins", "allowed", "varies"),
    [
        ([APP], APP, True),
        (["*"], "*", False),
        (["*", APP], "*", False),
        (["https://other.org"], None, True),
        ([], None, False),
    ],
)
def test_origins(store, path, origins, allowed, varies):
    """Only pages of the configured origins may read answers and refusals; ``*`` allows all pages."""
    client = Client(Gateway(store, origins=origins))
    for url, status in ((path, 200), (path + "x", 403)):
        response = client.get(url, headers={"Origin": APP})
        assert response.status_code == status
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        assert ("Vary" in response.headers) == varies


def test_any_origin(store, path):
    """With ``*`` the answer is the same for every origin, so a cache may share it."""
    client = Client(Gateway(store, origins=["*"]))
    answers = [client.get(path, headers=headers).headers for headers in ({}, {"Origin": APP}, {"Origin": "null"})]
    assert answers[0] == answers[1] == answers[2]
    assert client.options(path, headers={"Origin": APP}).headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "origin", ["", "example.org", "https://a\r\nSet-Cookie: b", "https://a b", "https://é", 5, None]
)
def test_origins_are_checked(store, origin):
    """A configured origin must be a web origin, so that it is safe in a header."""
    with pytest.raises(InvalidInputError):
        Gateway(store, origins=[origin])


def test_preflight(store):
    """A preflight request of a browser returns the allowed methods and header fields."""
    path, _ = upload(store)
    client = Client(Gateway(store, origins=[APP]))
    headers = {"Origin": APP, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    response = client.options(path, headers=headers)
    assert response.status_code == 204
    assert "PUT" in response.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]
    refused = client.options(path, headers={**headers, "Origin": "https://other.org"})
    assert not any(name.startswith("Access-Control") for name in refused.headers.keys())  # noqa: SIM118 - no mapping


def test_origins_is_a_list(store):
    """A single string is refused: it would be a list of letters."""
    with pytest.raises(InvalidInputError):
        Gateway(store, origins=APP)

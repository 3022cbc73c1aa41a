"""What a store on a bucket sends: how much, and in which form."""

from __future__ import annotations

import base64
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from servers.proxy import Proxy

from chuk_artifacts import ArtifactStore
from chuk_artifacts.storage.bucket.client import Client
from chuk_artifacts.storage.bucket.connections import _Connection

MIB = 1024 * 1024
KEY = "grid/box/session/0123"
SESSION = "user_alice"


@pytest.fixture
def artifact_id(store, proxy):
    """Return the id of a small artifact; what was sent for it is forgotten."""
    artifact_id = store.store(b"0123456789", filename="a.txt", session_id=SESSION)
    proxy.told()
    return artifact_id


@pytest.mark.parametrize("size", [0, 1, 8 * MIB])
def test_store_is_one_request(store, proxy, size):
    """To store up to 8 MiB takes one request, whether they come as bytes or as a stream."""
    store.store(b"x" * size, session_id=SESSION)
    store.store(iter([b"x" * size]), session_id=SESSION)
    assert [(request.method, request.size) for request in proxy.requests] == [("PUT", size)] * 2


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        (lambda store, one: store.retrieve(one), ["GET"]),
        (lambda store, one: list(store.stream(one)), ["GET"]),
        (lambda store, one: list(store.stream(one, start=3, end=5)), ["GET"]),
        (lambda store, one: store.open(one).read(), ["GET"]),
        (lambda store, one: store.copy_file(one), ["PUT"]),
        (lambda store, one: store.delete(one), ["DELETE"]),
        (lambda store, one: store.update_file(one, data=b"new"), ["PUT"]),
        (lambda store, one: store.exists(one), []),
        (lambda store, one: store.metadata(one), []),
        (lambda store, one: store.update_metadata(one, summary="new"), []),
        (lambda store, one: store.move_file(one, new_filename="b"), []),
        (lambda store, one: store.presign(one), []),
        (lambda store, one: store.list_by_session(SESSION), []),
        (lambda store, one: store.cleanup(), []),
        (lambda store, one: store.retrieve_batch([one] * 3), ["GET"] * 3),
        (lambda store, one: store.delete_batch([one, store.copy_file(one)]), ["PUT", "POST"]),
        (lambda store, one: store.delete_session(SESSION), ["POST"]),  # with what the storage keeps of the session
    ],
)
def test_requests_of_a_method(store, proxy, artifact_id, method, sent):
    """A method sends one request where there is something to do with bytes, and none where there is not."""
    method(store, artifact_id)
    assert proxy.told() == sent


def test_requests_of_registering(store, proxy):
    """To register looks, copies, reads for the hash, and removes the upload."""
    _, artifact_id = store.presign_upload(SESSION)
    store.scope.core.storage.put(f"{store.generate_artifact_key(SESSION, artifact_id)}~upload", b"1")
    proxy.told()
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert proxy.told() == ["HEAD", "PUT", "GET", "DELETE"]


def test_many_deletes_are_few_requests(storage, proxy):
    """1,000 keys go in one request, with the checksum that other services than AWS want, and no other."""
    storage.delete([f"grid/box/session/{number}" for number in range(2000)])
    assert [request.method for request in proxy.requests] == ["POST", "POST"]
    for request in proxy.requests:
        assert len(base64.b64decode(request.headers["content-md5"])) == 16
        assert not [name for name in request.headers if name.startswith("x-amz-checksum")]


def test_deletes_one_by_one(storage, proxy):
    """A service that can't remove many at once is asked once, and then for one after the other."""
    proxy.only, proxy.failing = "POST", 1
    proxy.failure = (501, b"<Error><Code>NotImplemented</Code></Error>")
    storage.put(KEY, b"1")
    proxy.told()
    storage.delete([KEY, f"{KEY}~2"])
    storage.delete([KEY, f"{KEY}~2"])
    assert proxy.told() == ["POST", *["DELETE"] * 4]
    assert storage.stat(KEY) is None


def test_small_body_is_sent_unasked(storage, proxy):
    """A body of less than 1 MiB is sent without waiting for 100-continue; for a larger one the SDK waits."""
    storage.put(KEY, b"x" * (MIB - 1))
    storage.put(f"{KEY}~2", b"x" * MIB)
    assert ["expect" in request.headers for request in proxy.requests] == [False, True]


@pytest.mark.parametrize(("size", "sends"), [(0, 1), (1000, 1), (64 * 1024, 1), (64 * 1024 + 1, 2)])
def test_small_body_goes_with_its_headers(storage, monkeypatch, size, sends):
    """The headers and a small body leave together; a longer one is not copied for that."""
    sent, plain = [], HTTPConnection.send

    def noting(self, data):
        sent.append(type(self))
        plain(self, data)

    monkeypatch.setattr(HTTPConnection, "send", noting)
    storage.put(KEY, b"x" * size)
    assert len([kind for kind in sent if issubclass(kind, _Connection)]) == sends  # and not the proxy's
    assert storage.get(KEY) == b"x" * size


def test_write_of_a_fresh_key_is_conditional(store, proxy):
    """What is stored under a fresh key can't take the place of anything, and a plain put of the storage does."""
    store.store(b"1", session_id=SESSION)
    artifact_id = store.store(iter([b"1"]), session_id=SESSION)
    store.update_file(artifact_id, data=b"2")
    assert [request.headers["if-none-match"] for request in proxy.requests] == ["*"] * 3
    store.scope.core.storage.put(KEY, b"1")
    assert "if-none-match" not in proxy.requests[-1].headers


def test_no_checksums_elsewhere(store, proxy):
    """A service other than AWS is sent no checksum of AWS's own, which many refuse, and asked for none."""
    artifact_id = store.store(b"x" * (9 * MIB), session_id=SESSION)
    store.retrieve(store.copy_file(artifact_id))
    assert [name for request in proxy.requests for name in request.headers if "checksum" in name] == []


def test_path_style_elsewhere(store, proxy, options):
    """The bucket stands in the path: the name of the host is the service's own."""
    store.store(b"1", session_id=SESSION)
    assert proxy.requests[0].path.startswith(f"/{options['bucket']}/grid/")


def test_parts_go_side_by_side(storage, monkeypatch):
    """The parts of an upload are on their way at the same time, and so are the blocks of a reader."""
    at_once = threading.Barrier(3)
    ranges = tuple(f"bytes={number * MIB}-" for number in (5, 13, 21))
    call = storage._client.call

    def meeting(operation, **order):
        if operation == "upload_part" or order.get("Range", "").startswith(ranges):
            at_once.wait(timeout=30)
        return call(operation, **order)

    monkeypatch.setattr(storage._client, "call", meeting)
    storage.put(KEY, b"x" * (24 * MIB))
    with storage.open(KEY, 24 * MIB) as reader:
        assert len(reader.read()) == 24 * MIB


def test_context_variables(store, monkeypatch):
    """Parts, ranges that are read ahead and batches run with the context variables of the caller."""
    from urllib3.connectionpool import HTTPConnectionPool  # noqa: PLC0415 - what the SDKs' pools derive from

    span, seen, plain = contextvars.ContextVar("span", default="none"), [], HTTPConnectionPool._make_request

    def noting(self, *args, **more):
        seen.append(span.get())
        return plain(self, *args, **more)

    monkeypatch.setattr(HTTPConnectionPool, "_make_request", noting)
    span.set("upload")
    artifact_id = store.store(b"x" * (20 * MIB), session_id=SESSION)
    assert seen == ["upload"] * len(seen)
    assert len(seen) >= 5
    seen.clear()
    span.set("download")
    with store.open(artifact_id) as file:
        while file.read(MIB):
            pass
    store.retrieve_batch(store.store_batch([{"data": b"x"}] * 3, session_id=SESSION))
    assert seen == ["download"] * len(seen)
    assert len(seen) >= 8


def test_options_of_a_write(open_store, proxy):
    """What is to go with each write goes with it: with small data, with large, with a copy."""
    store = open_store(storage_options={"StorageClass": "STANDARD", "Tagging": "team=a", "ACL": "private"})
    small = store.store(b"1", session_id=SESSION)
    store.store(b"1" * (9 * MIB), session_id=SESSION)
    store.copy_file(small)
    told = [
        (request.headers.get("x-amz-storage-class"), request.headers.get("x-amz-tagging"))
        for request in proxy.requests
        if "UploadId" not in request.path and "uploadId" not in request.path
    ]
    assert told == [("STANDARD", "team=a")] * 3
    assert proxy.requests[-1].headers["x-amz-tagging-directive"] == "REPLACE"


def test_one_client(open_store, monkeypatch):
    """Threads that begin at once make one client, and no more."""
    store = open_store()
    made = []
    connect = Client._connect
    monkeypatch.setattr(Client, "_connect", lambda self: made.append(self) or connect(self))
    at_once = threading.Barrier(8)

    def run(_):
        at_once.wait()
        return store.store(b"1", session_id=SESSION)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(run, range(8)))) == 8
    assert len(made) == 1


def test_connections_are_kept(options):
    """Threads use as many connections as there are, again and again, and no more than these."""
    at_once = threading.Barrier(8)
    with Proxy(urlsplit(options["endpoint_url"]).port) as proxy:
        options = {**options, "endpoint_url": f"http://127.0.0.1:{proxy.port}", "max_connections": 8}
        with ArtifactStore(**options) as store, ThreadPoolExecutor(8) as pool:

            def run(_):
                at_once.wait()
                return store.store(b"1", session_id=SESSION)

            list(pool.map(run, range(80)))
        assert proxy.accepted <= 8

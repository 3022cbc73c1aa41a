"""What an object in a bucket says of itself, and that nothing is ever overwritten."""

from __future__ import annotations

import hashlib
import json
import threading
from urllib.parse import unquote

import pytest
from servers.buckets import open_bucket, s3_on_moto

from chuk_artifacts.errors import ProviderError
from chuk_artifacts.storage import Description, ObjectExistsError
from chuk_artifacts.storage.bucket.client import Client

MIB = 1024 * 1024
KEY = "grid/box/session/0123"
SESSION = "user_alice"


def head(store, artifact_id):
    """Return content type and user metadata of an artifact's object."""
    storage = store.scope.core.storage
    answer = storage._client.call("head_object", Key=storage._full(store.metadata(artifact_id).key))
    return answer["ContentType"], answer["Metadata"]


def described(storage, **details):
    """Return the user metadata of an object that was put with *details*, without the signature of the write."""
    storage.put(KEY, b"1", about=lambda *_: Description(mime="text/plain", details=details))
    return storage._client.call("head_object", Key=storage._full(KEY))["Metadata"]


@pytest.mark.parametrize("as_stream", [False, True])
def test_object_tells_its_artifact(open_store, clock, as_stream):
    """Key, content type and user metadata of an object are enough to make its record again."""
    store = open_store(clock=clock)
    artifact_id = store.store(
        iter([b"0123456789"]) if as_stream else b"0123456789",
        mime="text/plain; charset=utf-8",
        filename="docs/Übersicht 50%.txt",
        summary="two\nlines",
        meta={"author": "Älice", "n": 1},
        session_id=SESSION,
    )
    record = store.metadata(artifact_id)
    mime, told = head(store, artifact_id)
    assert mime == record.mime
    assert all(value.isascii() for value in told.values())
    told = {name: unquote(value) for name, value in told.items()}
    assert (told["sha256"], told["filename"], told["summary"]) == (record.sha256, record.filename, record.summary)
    assert json.loads(told["meta"]) == record.meta
    assert (told["stored-at"], told["expires-at"]) == (record.stored_at, record.expires_at)
    assert "cut" not in told


def test_object_of_little_tells_little(store):
    """Details that do not exist are left out."""
    _, told = head(store, store.store(b"1", session_id=SESSION))
    assert set(told) == {
        *("format", "mime", "sha256", "bytes", "revision", "stored-at", "expires-at", "ttl", "inherits", "write"),
    }


def test_copy_tells_of_itself(store):
    """The object of a copy describes the copy, and that of an update the update."""
    artifact_id = store.store(b"1", filename="a.txt", summary="before", session_id=SESSION)
    copy_id = store.copy_file(artifact_id, new_filename="b.txt", new_meta={"n": 2}, summary="copied")
    _, told = head(store, copy_id)
    assert (told["filename"], told["summary"], unquote(told["meta"])) == ("b.txt", "copied", '{"n":2}')
    store.update_file(artifact_id, data=b"22", summary="after", mime="image/png")
    mime, told = head(store, artifact_id)
    assert (mime, told["summary"], told["sha256"]) == ("image/png", "after", hashlib.sha256(b"22").hexdigest())
    mime, told = head(store, copy_id)
    assert (mime, told["summary"]) == ("text/plain", "copied")


def test_upload_tells_of_itself(store):
    """The object of a registered upload has the metadata of the registration."""
    _, artifact_id = store.presign_upload(SESSION, filename="a.txt", mime_type="text/html")
    store.scope.core.storage.put(f"{store.generate_artifact_key(SESSION, artifact_id)}~upload", b"1")
    store.register_uploaded_artifact(artifact_id, mime="image/png", summary="photo")
    mime, told = head(store, artifact_id)
    assert (mime, told["summary"], told["filename"]) == ("image/png", "photo", "a.txt")


def test_large_object_tells_of_itself(store):
    """The hash of bytes is known before the first part is sent; that of a stream is not, and is left out."""
    _, told = head(store, store.store(b"x" * 9 * MIB, filename="a", session_id=SESSION))
    assert told["sha256"] == hashlib.sha256(b"x" * 9 * MIB).hexdigest()
    _, told = head(store, store.store(iter([b"x" * MIB] * 9), filename="b", session_id=SESSION))
    assert told["filename"] == "b"
    assert "sha256" not in told


@pytest.mark.parametrize(
    "value", ["x" * 5000, "ü" * 5000, "%" * 5000, "日本" * 3000, " " * 5000], ids=lambda one: one[:2]
)
def test_too_much_is_cut(storage, value):
    """User metadata ends where 2 KB do, within no character, and says what was cut."""
    told = described(storage, sha256="0" * 64, summary=value, meta='{"n":1}')
    assert sum(len(name) + len(text) for name, text in told.items()) <= 2048
    assert len(told["summary"]) > 1700
    assert value.startswith(unquote(told["summary"], errors="strict"))
    assert told["cut"] == "summary,meta"
    assert told["sha256"] == "0" * 64


def test_just_enough_is_not_cut(storage):
    """What fits is whole."""
    told = described(storage, summary="x" * 1800)
    assert told == {"mime": "text/plain", "summary": "x" * 1800}


def test_one_of_twelve_wins(storage):
    """Of twelve threads that write exclusively to one key, one wins, whole."""
    won, lost = [], []
    at_once = threading.Barrier(12)

    def run(number):
        at_once.wait()
        try:
            storage.put(KEY, b"%02d" % number, exclusive=True)
        except ObjectExistsError as error:
            lost.append(error.key)
        else:
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == [KEY] * 11
    assert storage.get(KEY) == b"%02d" % won[0]
    assert list(storage.sweep("grid/", float("inf"))) == []


def test_service_without_conditions(storage, proxy):
    """A service that knows no conditional put gets a plain one, and no condition again; nothing is asked before it.

    It refuses twice: the direct path, and the client.
    """
    proxy.only, proxy.failing = "PUT", 2
    proxy.failure = (501, b"<Error><Code>NotImplemented</Code></Error>")
    storage.put(KEY, b"first", exclusive=True)
    storage.put(f"{KEY}~2", b"second", exclusive=True)
    sent = [(request.method, "if-none-match" in request.headers) for request in proxy.requests]
    assert sent == [("PUT", True), ("PUT", True), ("PUT", False), ("PUT", False)]
    assert (storage.get(KEY), storage.get(f"{KEY}~2")) == (b"first", b"second")


def test_service_that_refuses_all(storage, proxy):
    """A 501 to every put is an error of the provider, and says nothing of conditions."""
    proxy.only, proxy.failing = "PUT", 3
    proxy.failure = (501, b"<html>no</html>")
    with pytest.raises(ProviderError) as caught:
        storage.put(KEY, b"first", exclusive=True)
    assert type(caught.value) is ProviderError
    storage.put(KEY, b"first", exclusive=True)
    assert "if-none-match" in proxy.requests[-1].headers


def test_sweep_leaves_what_goes_on(storage):
    """Sweeping removes the parts of uploads that began long ago, and leaves others."""
    storage._client.call("create_multipart_upload", Key=storage._full(KEY))
    assert list(storage.sweep("grid/box/", 0)) == []
    assert list(storage.sweep("grid/other/", float("inf"))) == []
    assert [found.key for found in storage.sweep("grid/box/", float("inf"))] == [KEY]
    assert list(storage.sweep("grid/box/", float("inf"))) == []


def test_listing_goes_on(storage, monkeypatch):
    """A listing has all objects, however small the service's pages are."""
    pages = Client.pages
    monkeypatch.setattr(Client, "pages", lambda self, *which, **order: pages(self, *which, MaxKeys=2, **order))
    keys = [f"grid/box/session/{number}" for number in range(5)]
    for key in keys:
        storage.put(key, b"")
    assert [item.key for item in storage.list_objects("grid/box/")] == keys


def test_aws_tells_the_hash_of_a_copy(request):
    """Where the service returns the SHA-256 of a copy, nothing is read for it."""
    storage = open_bucket(s3_on_moto(request))
    storage.put(KEY, b"0123456789")
    assert storage.copy(KEY, f"{KEY}~2", 10, hashed=True) == hashlib.sha256(b"0123456789").hexdigest()
    storage.close()

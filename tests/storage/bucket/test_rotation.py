"""Keys that change while a store is open: one new client takes the new ones, and the request is made once more."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import rgw
from servers.buckets import open_bucket, s3_on_rgw
from servers.scripted import Scripted, refusal

from chuk_artifacts import ArtifactStore, ProviderError
from chuk_artifacts.source import source
from chuk_artifacts.storage.bucket.client import Client

KEY = "grid/box/session/0123"
MIB = 1024 * 1024


def key_of(request):
    """Return the access key with which a request is signed."""
    return re.search(r"Credential=([^/]+)/", request.headers["authorization"])[1]


@pytest.fixture
def rotate(tmp_path, monkeypatch):
    """Return a function that writes a credentials file."""

    def write(access_key, secret_key="secret"):
        (tmp_path / ".aws").mkdir(exist_ok=True)
        text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
        (tmp_path / ".aws" / "credentials").write_text(text, "utf-8")

    write("first")
    return write


@pytest.fixture
def service():
    """Return a service that knows one key at a time, ``valid``."""
    with Scripted() as service:
        service.valid, service.refusal = "first", refusal(403, "InvalidAccessKeyId")
        service.script = lambda request: None if key_of(request) == service.valid else service.refusal
        yield service


@pytest.fixture(params=["s3", "ibm_cos"])
def storage(request, rotate, service):
    """Return a storage that has used the first keys, with each SDK."""
    storage = open_bucket({"storage_provider": request.param, "bucket": "bucket", "endpoint_url": service.url})
    storage.put(KEY, b"0")
    service.told()
    yield storage
    storage.close()


@pytest.mark.parametrize(
    "answer", [refusal(403, "InvalidAccessKeyId"), refusal(400, "ExpiredToken"), refusal(400, "InvalidToken")]
)
def test_new_keys_are_taken(storage, service, rotate, answer):
    """After a refusal of its keys each request is made once more, with the keys that are configured now."""
    for number, method in enumerate(
        (
            lambda: storage.put(KEY, b"1"),
            lambda: storage.put(f"{KEY}~2", source(iter([b"2"]))),
            lambda: storage.get(KEY),
            lambda: storage.stat(KEY),
            lambda: list(storage.list_objects("grid/")),
            lambda: storage.delete([KEY, f"{KEY}~2"]),
        )
    ):
        service.valid, service.refusal = f"key-{number}", answer
        rotate(service.valid)
        method()
        keys = [key_of(request) for request in service.requests]
        assert keys.index(service.valid) == len(keys) - 1
        assert len(keys) <= 3  # the SDK asks for the bucket after a 400 to HEAD
        service.told()


def test_bytes_are_whole_after_a_rotation(storage, service, rotate):
    """A body that was refused is sent again from its beginning."""
    service.valid = "second"
    rotate("second")
    storage.put(KEY, b"0123456789" * 1000, exclusive=False)
    assert storage.get(KEY) == b"0123456789" * 1000


def test_same_keys_are_not_tried_again(storage, service):
    """While the same keys are configured a refusal stands, and nothing is repeated."""
    service.valid = "second"
    for _ in range(2):
        with pytest.raises(ProviderError, match="access key is not known"):
            storage.get(KEY)
    assert service.told() == ["GET", "GET"]


def test_keys_that_are_refused_too(storage, service, rotate):
    """New keys that are refused too are an error after one more request."""
    service.valid = "third"
    rotate("second")
    with pytest.raises(ProviderError, match="access key is not known"):
        storage.get(KEY)
    assert service.told() == ["GET", "GET"]


def test_denied_access_is_no_rotation(storage, service):
    """Access that is denied to these keys is not asked for again."""
    service.script = lambda _: refusal(403, "AccessDenied")
    for method, sent in ((lambda: storage.get(KEY), "GET"), (lambda: storage.stat(KEY), "HEAD")):
        with pytest.raises(ProviderError):
            method()
        assert service.told() == [sent]


def test_file_that_is_gone(storage, service, tmp_path):
    """When no keys can be read any more, the first refusal is the error."""
    service.valid = "second"
    (tmp_path / ".aws" / "credentials").write_text("[[[", "utf-8")
    with pytest.raises(ProviderError, match="access key is not known"):
        storage.get(KEY)


def test_given_keys_do_not_change(service, rotate):
    """Keys that were handed in stay what they are."""
    keys = {"aws_access_key_id": "second", "aws_secret_access_key": "secret"}
    storage = open_bucket(
        {"storage_provider": "s3", "bucket": "bucket", "endpoint_url": service.url, "storage_options": keys}
    )
    with pytest.raises(ProviderError, match="access key is not known"):
        storage.get(KEY)
    assert service.told() == ["GET"]
    storage.close()


def test_threads_make_one_client(storage, service, rotate, monkeypatch):
    """Threads that meet the rotation at once make one client."""
    made, connect, at_once = [], Client._connect, threading.Barrier(8)
    monkeypatch.setattr(Client, "_connect", lambda self: made.append(self) or connect(self))
    service.valid = "second"
    rotate("second")

    def refuse(request):
        if key_of(request) == service.valid:
            return None
        at_once.wait(timeout=30)
        return service.refusal

    service.script = refuse
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: storage.get(KEY), range(8))) == {b"0"}
    assert len(made) == 1


def test_urls_after_a_rotation(storage, service, rotate):
    """URLs are signed by the client that has the new keys."""
    service.valid = "second"
    rotate("second")
    storage.get(KEY)
    assert "second" in storage.sign_get(KEY, expires=60, filename=None, mime="text/plain")


def test_token_of_the_environment(service, monkeypatch):
    """Keys of the environment may change as well, and a token with them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "first")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "old")
    service.script = lambda request: (
        None if request.headers["x-amz-security-token"] == "new" else refusal(400, "ExpiredToken")
    )
    storage = open_bucket({"storage_provider": "s3", "bucket": "bucket", "endpoint_url": service.url})
    with pytest.raises(ProviderError, match="expired"):
        storage.put(KEY, b"1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "new")
    storage.put(KEY, b"1")
    assert len(service.requests) == 3
    storage.close()


def test_rotation_on_a_real_service(request, rotate, monkeypatch):
    """Ceph refuses keys that it does not know, and a store goes on when the right ones are in the file."""
    options = s3_on_rgw(request)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with ArtifactStore(**options) as store:
        with pytest.raises(ProviderError, match="access key is not known"):
            store.store(b"1", session_id="user_alice")
        rotate(rgw.ACCESS_KEY, rgw.SECRET_KEY)
        large = b"x" * (9 * MIB)
        assert store.retrieve(store.store(iter([large]), session_id="user_alice")) == large

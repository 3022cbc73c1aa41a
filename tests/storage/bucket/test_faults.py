"""A service that is busy, forgetful, cut or gone: what is stored is stored whole, or an error says that it is not."""

from __future__ import annotations

import hashlib
from collections import Counter
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from ibm_botocore.config import Config as IbmConfig
from servers.buckets import ibm_on_rgw, s3_by_client, s3_on_rgw
from servers.proxy import Proxy

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, InvalidInputError, ProviderError
from chuk_artifacts.source import source
from chuk_artifacts.storage import ObjectExistsError

MIB = 1024 * 1024
KEY = "grid/box/session/0123"
OTHER = "grid/box/session/4567"
SESSION = "user_alice"
LARGE = bytes(range(256)) * (MIB // 256) * 20
ALWAYS = 1000
KINDS = {"s3": s3_on_rgw, "s3 by its client": s3_by_client, "ibm_cos": ibm_on_rgw}

DENIED = (403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")


@pytest.fixture(params=KINDS)
def options(request):
    """Return the options of an empty bucket, with each SDK, and without the direct path."""
    return KINDS[request.param](request)


def keys(storage):
    """Return all keys that hold bytes."""
    return sorted(item.key for item in storage.list_objects("grid/"))


def nothing_is_left(storage):
    """Say that neither an object nor a part of one remains."""
    return keys(storage) == [] and list(storage.sweep("grid/", float("inf"))) == []


# Busy


@pytest.mark.parametrize("data", [b"0123456789", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("as_stream", [False, True])
def test_busy_for_a_while(storage, proxy, data, as_stream):
    """A service that is too busy three times gets the bytes all the same, whole, also from a stream."""
    proxy.failing, proxy.only = 3, "PUT"
    stored = storage.put(KEY, source(iter([data])) if as_stream else data, exclusive=True)
    assert stored == (len(data), hashlib.sha256(data).hexdigest())
    assert storage.get(KEY) == data


@pytest.mark.parametrize("data", [b"0123456789", LARGE], ids=["small", "large"])
def test_busy_for_ever(store, proxy, data):
    """A service that stays too busy is asked once a part, and as often again as it may be retried; then no more."""
    proxy.failing, proxy.only = ALWAYS, "PUT"
    with pytest.raises(ProviderError, match="SlowDown"):
        store.store(data, session_id=SESSION)
    assert {*Counter(request.path for request in proxy.requests if request.method == "PUT").values()} == {4}
    proxy.failing = 0
    assert nothing_is_left(store.scope.core.storage)
    assert store.list_by_session(SESSION) == []


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_as_many_retries_as_told(open_store, proxy, retries):
    """``max_retries`` is how often a request is repeated."""
    store = open_store(max_retries=retries)
    artifact_id = store.store(b"1", session_id=SESSION)
    proxy.told()
    proxy.failing = ALWAYS
    with pytest.raises(ProviderError):
        store.retrieve(artifact_id)
    assert len(proxy.told()) == retries + 1


def test_busy_while_reading(store, proxy):
    """What can be read is read in the end."""
    artifact_id = store.store(LARGE, session_id=SESSION)
    proxy.failing = 3
    assert store.retrieve(artifact_id) == LARGE
    proxy.failing = 3
    assert b"".join(store.stream(artifact_id)) == LARGE


@pytest.mark.parametrize("part", ["partNumber=3", "uploads", "uploadId"])
def test_part_that_never_arrives(storage, proxy, part):
    """When a part, the beginning or the end of an upload fails for good, nothing of it is left."""
    methods = {"partNumber=3": "PUT", "uploads": "POST", "uploadId": "POST"}
    take = proxy.take
    proxy.take = lambda name, line: name == "failing" and line.startswith(methods[part]) and part in line
    with pytest.raises(ProviderError):
        storage.put(KEY, LARGE, exclusive=True)
    proxy.take = take
    assert nothing_is_left(storage)


# Refused


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (DENIED, "access is denied"),
        ((403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"), "secret key"),
        ((403, b"<Error><Code>InvalidAccessKeyId</Code></Error>"), "access key"),
        ((400, b"<Error><Code>ExpiredToken</Code></Error>"), "expired"),
        ((404, b"<Error><Code>NoSuchBucket</Code></Error>"), "does not exist"),
        ((418, b"<Error><Code>Teapot</Code><Message>Short and stout</Message></Error>"), "418, Teapot Short and stout"),
        ((400, b"no XML at all"), "400"),
    ],
)
def test_refusal(store, proxy, failure, message):
    """A refusal is an error of the provider that says why, and is not asked for again."""
    artifact_id = store.store(b"1", session_id=SESSION)
    proxy.failing, proxy.failure = ALWAYS, failure
    for method in (lambda: store.store(b"2", session_id=SESSION), lambda: store.retrieve(artifact_id)):
        proxy.told()
        with pytest.raises(ProviderError, match=message):
            method()
        assert len(proxy.told()) <= 2  # the second takes back what may have been written
    assert store.exists(artifact_id)


def test_refused_listing_and_delete(storage, proxy):
    """A listing that is refused is no empty one, and a delete that is refused is no success."""
    storage.put(KEY, b"1")
    proxy.failing, proxy.failure = ALWAYS, DENIED
    with pytest.raises(ProviderError):
        keys(storage)
    with pytest.raises(ProviderError):
        storage.delete([KEY])
    with pytest.raises(ProviderError):
        storage.delete([KEY, OTHER])
    with pytest.raises(ProviderError):
        list(storage.sweep("grid/", 0))
    with pytest.raises(ProviderError):
        storage.stat(KEY)


def test_refused_within_an_answer(storage, proxy):
    """A delete of many that fails for some, in an answer that succeeds, is an error."""
    refused = b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    proxy.failing, proxy.failure = 1, (200, refused)
    with pytest.raises(ProviderError, match="access is denied"):
        storage.delete([KEY, OTHER])


def test_others_write_at_the_same_moment(storage, proxy):
    """A conditional write that meets another under way is tried again; if that goes on and on, it is an error."""
    conflict = (409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
    proxy.failing, proxy.failure, proxy.only = 2, conflict, "PUT"
    storage.put(KEY, b"0123456789", exclusive=True)
    assert storage.get(KEY) == b"0123456789"
    proxy.failing = ALWAYS
    with pytest.raises(ProviderError, match="all the time"):
        storage.put(OTHER, b"1", exclusive=True)
    assert keys(storage) == [KEY]


# Forgetful


def test_answer_to_a_write_is_lost(storage, proxy):
    """A write that is repeated because its answer was lost meets itself, and knows it."""
    proxy.forgetting, proxy.only = 1, "PUT"
    storage.put(KEY, b"0123456789", exclusive=True)
    assert [request.method for request in proxy.requests] == ["PUT", "PUT", "HEAD"]
    assert storage.get(KEY) == b"0123456789"


def test_answer_to_a_write_is_lost_and_the_key_is_taken(storage, proxy):
    """A write to a key that another has taken is no success, though it was repeated."""
    storage.put(KEY, b"first", exclusive=True)
    proxy.forgetting, proxy.only = 1, "PUT"
    with pytest.raises(ObjectExistsError):
        storage.put(KEY, b"second", exclusive=True)
    assert storage.get(KEY) == b"first"


def test_answer_to_the_end_of_an_upload_is_lost(storage, proxy):
    """The end of an upload by parts that is repeated because its answer was lost is a success."""
    lost = iter(["uploadId"])
    take = proxy.take
    ending = lambda line: line.startswith("POST") and "uploadId" in line  # noqa: E731
    proxy.take = lambda name, line: name == "forgetting" and ending(line) and next(lost, None) is not None
    storage.put(KEY, LARGE, exclusive=True)
    proxy.take = take
    assert storage.get(KEY) == LARGE
    assert list(storage.sweep("grid/", float("inf"))) == []


def test_answer_is_cut(store, proxy):
    """An answer that breaks off is asked for again, so that what is read is whole."""
    artifact_id = store.store(LARGE, session_id=SESSION)
    proxy.cut_after = 5 * MIB
    assert store.retrieve(artifact_id) == LARGE
    proxy.cut_after = 500_000
    assert b"".join(store.stream(artifact_id)) == LARGE


def test_every_answer_is_cut(open_store, proxy, tmp_path):
    """Answers that always break off are an error, and a download of them makes no file."""
    store = open_store(max_retries=1)
    artifact_id = store.store(LARGE, session_id=SESSION)
    proxy.take_cut = lambda _: 1000
    for method in (
        store.retrieve,
        lambda one: list(store.stream(one)),
        lambda one: store.download(one, tmp_path / "file"),
    ):
        with pytest.raises(ProviderError, match="breaks"):
            method(artifact_id)
    assert list(tmp_path.iterdir()) == []


def test_bytes_go_while_they_are_read(store):
    """Bytes deleted while they are read are an error of the reader, not a short read."""
    artifact_id = store.store(LARGE, session_id=SESSION)
    with store.open(artifact_id) as reader:
        assert reader.read(10) == LARGE[:10]
        store.delete(artifact_id)
        with pytest.raises(ProviderError, match="gone"):
            reader.read()
    with pytest.raises(ArtifactNotFoundError):
        store.open(artifact_id)


# Cut, silent, gone


def test_connections_break_while_data_comes(options):
    """Connections that break in the middle of an upload are made anew, and the bytes are whole."""
    with Proxy(urlsplit(options["endpoint_url"]).port) as proxy:
        options = {**options, "endpoint_url": f"http://127.0.0.1:{proxy.port}", "max_retries": 10}

        def data():
            for begin in range(0, len(LARGE), MIB):
                yield LARGE[begin : begin + MIB]
                if begin in {9 * MIB, 17 * MIB}:
                    proxy.reset()

        with ArtifactStore(**options) as store:
            artifact_id = store.store(data(), session_id=SESSION)
            proxy.reset()
            assert store.retrieve(artifact_id) == LARGE


def test_silence(options):
    """A service that does not answer in time is an error that says so."""
    config = (Config if options["storage_provider"] == "s3" else IbmConfig)(read_timeout=0.05)
    with Proxy(urlsplit(options["endpoint_url"]).port) as proxy:
        more = {**options.get("storage_options", {}), "config": config}
        options = {**options, "endpoint_url": f"http://127.0.0.1:{proxy.port}", "max_retries": 1}
        with ArtifactStore(**{**options, "storage_options": more}) as store:
            proxy.silent = True
            with pytest.raises(ProviderError, match="does not answer in time"):
                store.store(b"1", session_id=SESSION)
        assert proxy.accepted >= 2


def test_nobody_there(options):
    """An unreachable service is an error for methods that need it, and for no others."""
    with Proxy(urlsplit(options["endpoint_url"]).port) as proxy:
        store = ArtifactStore(**{**options, "endpoint_url": f"http://127.0.0.1:{proxy.port}", "max_retries": 1})
        artifact_id = store.store(b"1", session_id=SESSION)
    with store:
        for method in (store.retrieve, store.open, store.copy_file, store.delete):
            with pytest.raises(ProviderError, match="can't be reached"):
                method(artifact_id)
        assert store.validate_configuration()["storage"]["status"] == "error"
        assert "can't be reached" in store.validate_configuration()["storage"]["message"]


def test_missing_bucket(open_store):
    """A missing bucket is an error that names it, appears in the validation, and is not created."""
    store = open_store(bucket="no-such-bucket", storage_options={"presign_upload": "native"})
    _, artifact_id = store.presign_upload(SESSION)
    for method in (
        lambda: open_store(bucket="no-such-bucket").presign_upload(SESSION),
        lambda: store.store(b"1", session_id=SESSION),
        lambda: store.store(LARGE, session_id=SESSION),
        lambda: store.register_uploaded_artifact(artifact_id, mime="text/plain", summary=""),
        lambda: list(store.scope.core.storage.sweep("grid/", 0)),
    ):
        with pytest.raises(ProviderError, match=r"'no-such-bucket'.*does not exist.*init"):
            method()
    told = store.validate_configuration()["storage"]
    assert told["status"] == "error"
    assert "no-such-bucket" in told["message"]


# Streams


def test_stream_that_breaks(store, proxy):
    """What a stream raises in the middle of an upload by parts passes through, and nothing is left, nor sent twice."""

    def data():
        yield LARGE[: 17 * MIB]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        store.store(data(), session_id=SESSION)
    assert nothing_is_left(store.scope.core.storage)


def test_stream_of_the_wrong_kind(store):
    """A stream that turns out to give no bytes is refused, and nothing is left."""
    with pytest.raises(InvalidInputError):
        store.store(iter([LARGE, "text"]), session_id=SESSION)
    assert nothing_is_left(store.scope.core.storage)

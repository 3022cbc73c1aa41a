"""What every store does at its limits: the largest artifact, and the bytes of a session."""

from __future__ import annotations

import asyncio
import io
import threading
import urllib.error
import urllib.request

import pytest

from chuk_artifacts import ArtifactNotFoundError, InvalidInputError, QuotaExceededError, aio

SESSION = "user_alice"

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

WAYS = {
    "bytes": lambda data: data,
    "file": io.BytesIO,
    "iterator": lambda data: iter([data[begin : begin + 2] for begin in range(0, len(data), 2)]),
}


def put(url, data):
    """Upload data to a signed URL, and return the status."""
    request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method="PUT")
    try:
        with _direct.open(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def keys(store):
    """Return the keys of all objects in the store's session."""
    inner = getattr(store, "_store", store)
    core = getattr(inner, "_blocking", inner).scope.core
    return sorted(item.key for item in core.storage.list_objects("grid/"))


@pytest.fixture
def limited(rig):
    """Return a store with artifacts of at most 10 bytes, and sessions of at most 20."""
    return rig.open(max_artifact_bytes=10, max_session_bytes=20)


def refused(call, scope, limit):
    """Raise unless a call is refused because of a limit."""
    with pytest.raises(QuotaExceededError) as caught:
        call()
    assert (caught.value.scope, caught.value.limit) == (scope, limit), caught.value


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_largest_artifact(limited, way):
    """No method stores an artifact of more bytes than are allowed, and a refused one leaves nothing."""
    one = limited.store(way(b"1234567890"), session_id=SESSION)
    before = keys(limited)
    for call in (
        lambda: limited.store(way(b"12345678901"), session_id=SESSION),
        lambda: limited.store(way(b"12345678901"), session_id=SESSION, max_bytes=100),
        lambda: limited.store_batch([{"data": b"1"}, {"data": way(b"12345678901")}], session_id=SESSION),
        lambda: limited.update_file(one, data=way(b"12345678901")),
        lambda: limited.session(SESSION).store(way(b"12345678901")),
        lambda: limited.write_file("12345678901", filename="a", session_id=SESSION),
    ):
        refused(call, "artifact", 10)
    refused(lambda: limited.store(way(b"123"), session_id=SESSION, max_bytes=2), "artifact", 2)
    assert keys(limited) == before
    assert dict(limited.usage(SESSION)) == {"artifacts": 1, "bytes": 10}
    assert limited.retrieve(one) == b"1234567890"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_full_session(limited, way):
    """No method makes a session larger than is allowed; a refused one leaves nothing, and a delete makes room."""
    one = limited.store(way(b"123456"), session_id=SESSION, filename="one")
    two = limited.store(way(b"12345678"), session_id=SESSION)
    before = keys(limited)
    for call in (
        lambda: limited.store(way(b"1234567"), session_id=SESSION),
        lambda: limited.store_batch([{"data": way(b"1234")}, {"data": b"123"}], session_id=SESSION),
        lambda: limited.store_batch([{"data": b"1"}, {"data": way(b"1234567"), "session_id": SESSION}]),
        lambda: limited.update_file(one, data=way(b"1234567"), keep_versions=1),
        lambda: limited.copy_file(two),
    ):
        refused(call, "session", 20)
    assert keys(limited) == before
    limited.store(way(b"1234567"), session_id="user_bob")
    limited.copy_file(one)
    limited.update_metadata(one, summary="more", meta={"a": 1})
    limited.move_file(one, new_filename="two")
    limited.store(b"", session_id=SESSION)
    refused(lambda: limited.store(way(b"1"), session_id=SESSION), "session", 20)
    limited.delete(two)
    limited.store(way(b"1234"), session_id=SESSION)


def test_data_longer_than_any_session(rig):
    """Data that is longer than a session may be is refused for its session, known to be so or not."""
    store = rig.open(max_session_bytes=20)
    for way in WAYS.values():
        refused(lambda way=way: store.store(way(b"x" * 21), session_id=SESSION), "session", 20)
    assert keys(store) == []


def test_a_stream_is_read_no_further(limited):
    """A stream of unknown length is refused as soon as it does not fit into what is left of the session."""
    limited.store_batch([{"data": b"x" * 8}] * 2, session_id=SESSION)
    read = []

    def endless():
        while True:
            read.append(1)
            yield b"xx"

    refused(lambda: limited.store(endless(), session_id=SESSION), "session", 20)
    assert len(read) <= 6  # two for what is left; the async store reads up to the largest artifact


def test_expired_content_makes_room(limited, clock):
    """What has expired does not keep a session full, though no cleanup has run."""
    one = limited.store(b"12345", session_id=SESSION)
    limited.update_file(one, data=b"54321")
    limited.store_batch([{"data": b"12345"}, {"data": b"1234567890"}], session_id=SESSION, ttl=60)
    refused(lambda: limited.store(b"1", session_id=SESSION), "session", 20)
    clock.advance(61)
    two = limited.store(iter([b"123456789", b"0"]), session_id=SESSION, ttl=60)
    limited.store(b"12345", session_id=SESSION, ttl=60)
    refused(lambda: limited.store(b"1", session_id=SESSION), "session", 20)
    clock.advance(3600)
    limited.store(b"1234567890", session_id=SESSION)
    assert limited.retrieve(one) == b"54321"
    with pytest.raises(ArtifactNotFoundError):
        limited.retrieve(two)
    assert dict(limited.usage(SESSION)) == {"artifacts": 2, "bytes": 15}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_replaced_content_makes_room(limited, way):
    """A content may be replaced in a full session by one that is no longer, and by one that fits without the old."""
    one = limited.store(way(b"1234567890"), session_id=SESSION)
    two = limited.store(way(b"12345"), session_id=SESSION)
    for data in (b"0987654321", b"1234567890", b"123", b"1234567890"):
        limited.update_file(one, data=way(data))
        assert limited.retrieve(one) == data
    limited.store(way(b"12345"), session_id=SESSION)
    before = keys(limited)
    refused(lambda: limited.update_file(two, data=way(b"123456")), "session", 20)
    assert keys(limited) == before
    limited.update_file(two, data=way(b"54321"))
    refused(lambda: limited.update_file(two, data=way(b"1"), keep_versions=1), "session", 20)
    assert limited.retrieve(two) == b"54321"


def test_kept_content_is_dropped_for_room(rig):
    """The kept content that an update drops makes room for the new one."""
    store = rig.open(max_session_bytes=20)
    one = store.store(b"x" * 10, session_id=SESSION, keep_versions=1)
    store.update_file(one, data=b"y" * 10)
    store.update_file(one, data=b"z" * 10)
    refused(lambda: store.update_file(one, data=b"z" * 11), "session", 20)
    assert store.usage(SESSION).bytes == 20
    assert [version.bytes for version in store.versions(one)][:2] == [10, 10]


@pytest.mark.parametrize("rig", [("aio", "filesystem"), ("blocking", "url-memory")], indirect=True, ids="-".join)
def test_restored_content_obeys_the_limits(rig, clock):
    """A content larger than today's limits is not restored, whether it is kept or about to go."""
    store = rig.open()
    one = store.store(b"x" * 11, session_id=SESSION)
    store.update_file(one, data=b"y" * 5)
    store.update_file(one, data=b"z")
    store.update_file(one, data=b"w", keep_versions=1)
    lower = rig.open(max_artifact_bytes=10, max_session_bytes=12)
    lower.store(b"1234567", session_id=SESSION)
    for _ in range(2):
        refused(lambda: lower.restore(one, 1), "artifact", 10)
        refused(lambda: lower.restore(one, 2), "session", 12)
        clock.advance(3590)  # a content that is about to go is copied
    assert dict(lower.usage(SESSION)) == {"artifacts": 2, "bytes": 9}
    assert lower.restore(one, 3).bytes == 1
    assert lower.retrieve(one) == b"z"


@pytest.mark.parametrize("rig", [("aio", "filesystem"), ("blocking", "url-memory")], indirect=True, ids="-".join)
@pytest.mark.parametrize("change", ["restore", "keep"])
def test_expired_content_makes_room_for_earlier_content(rig, clock, change):
    """A change that has an earlier content count again makes room for it as new data does, and only then."""
    store = rig.open(max_session_bytes=20)
    one = store.store(b"x" * 10, session_id=SESSION, ttl=None)
    store.update_file(one, data=b"y" * 6)
    store.store(b"z" * 14, session_id=SESSION, ttl=60)
    changes = {"restore": lambda: store.restore(one, 1), "keep": lambda: store.update_file(one, keep_versions=1)}
    refused(changes[change], "session", 20)
    clock.advance(61)
    assert store.usage(SESSION).bytes == 20
    changes[change]()
    assert dict(store.usage(SESSION)) == {"artifacts": 1, "bytes": 10 if change == "restore" else 16}
    assert store.retrieve(one, revision=1) == b"x" * 10


@pytest.mark.parametrize("rig", [("aio", "filesystem"), ("blocking", "memory")], indirect=True, ids="-".join)
def test_fewer_kept_contents_make_room(rig):
    """A change that keeps fewer contents frees their bytes at once, also for its own data."""
    store = rig.open(max_session_bytes=20)
    one = store.store(b"x" * 10, session_id=SESSION, keep_versions=1)
    store.update_file(one, data=b"y" * 10)
    refused(lambda: store.store(b"1", session_id=SESSION), "session", 20)
    refused(lambda: store.update_file(one, data=b"z" * 20), "session", 20)
    store.update_file(one, data=b"z" * 20, keep_versions=0)
    assert dict(store.usage(SESSION)) == {"artifacts": 1, "bytes": 20}
    store.update_file(one, data=b"w" * 10)
    store.update_file(one, data=b"x" * 10, keep_versions=1)
    refused(lambda: store.store(b"1", session_id=SESSION), "session", 20)
    store.update_file(one, keep_versions=0)
    store.store(b"v" * 10, session_id=SESSION)


def test_two_stores_at_once(rig):
    """Concurrent calls of a store can't exceed a session's limit together, and leave no bytes of refused data."""
    store = rig.open(max_session_bytes=100)
    refusals = []

    def work():
        for _ in range(5):
            try:
                store.store(b"x" * 8, session_id=SESSION)
            except QuotaExceededError:
                refusals.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(store.usage(SESSION)) == {"artifacts": 12, "bytes": 96}
    assert len(refusals) == 8
    assert len(keys(store)) == 12


def test_no_limit_in_another_store(rig):
    """A limit of 0 allows only empty artifacts; a store without limits is not bound by those of another."""
    store = rig.open(max_artifact_bytes=0, max_session_bytes=0)
    store.store(b"", session_id=SESSION)
    with pytest.raises(QuotaExceededError):
        store.store(b"1", session_id=SESSION)
    if rig.persistent:
        rig.open().store(b"123", session_id=SESSION)
        assert store.usage(SESSION).bytes == 3


UPLOADS = [("blocking", "memory"), ("aio", "filesystem"), ("blocking", "s3-rgw")]


@pytest.mark.parametrize("rig", UPLOADS, indirect=True, ids="-".join)
def test_upload_that_is_too_large(limited):
    """The gateway answers 413 to an upload that no artifact may hold; a registration refuses and removes it."""
    url, artifact_id = limited.presign_upload(SESSION)
    assert put(url, b"12345678901") in {413, 200}
    with pytest.raises((QuotaExceededError, ArtifactNotFoundError)):
        limited.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert keys(limited) == []
    assert put(url, b"1234567890") == 200
    assert limited.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")


@pytest.mark.parametrize("rig", UPLOADS, indirect=True, ids="-".join)
def test_upload_to_a_full_session(limited):
    """The gateway answers 507 to an upload to a full session; a registration refuses and removes it."""
    filler = limited.store(b"12345678", session_id=SESSION)
    other = limited.store(b"12345678", session_id=SESSION)
    url, artifact_id = limited.presign_upload(SESSION)
    status = put(url, b"12345")
    assert status in {507, 200}
    with pytest.raises((QuotaExceededError, ArtifactNotFoundError)):
        limited.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert len(keys(limited)) == 2
    assert put(url, b"1234") == 200
    limited.store(b"1", session_id=SESSION)
    refused(lambda: limited.register_uploaded_artifact(artifact_id, mime="text/plain", summary=""), "session", 20)
    assert len(keys(limited)) == 3
    limited.delete_batch([filler, other])
    assert put(url, b"1234") == 200
    assert limited.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")
    assert dict(limited.usage(SESSION)) == {"artifacts": 2, "bytes": 5}


@pytest.mark.parametrize("rig", UPLOADS, indirect=True, ids="-".join)
def test_complete_upload_to_a_full_session(limited):
    """An upload without registration that finds its session full becomes no artifact, and is removed."""
    url, artifact_id = limited.presign_upload_and_register(
        mime="application/octet-stream", summary="", session_id=SESSION
    )
    assert put(url, b"12345") == 200
    limited.store_batch([{"data": b"x" * 8}] * 2, session_id=SESSION)
    assert not limited.exists(artifact_id)
    assert len(keys(limited)) == 2
    assert dict(limited.usage(SESSION)) == {"artifacts": 2, "bytes": 16}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("limit", [-1, 2**63, 1.5, "1", True])
def test_bad_limits(rig, limit):
    """A limit must be a whole number of bytes."""
    for name in ("max_artifact_bytes", "max_session_bytes"):
        with pytest.raises(InvalidInputError, match=name):
            rig.open(**{name: limit})


@pytest.mark.same_everywhere
def test_limits_from_the_environment(rig, monkeypatch):
    """The environment sets limits, arguments override it, and a malformed one is an error."""
    monkeypatch.setenv("ARTIFACT_MAX_BYTES", "3")
    monkeypatch.setenv("ARTIFACT_MAX_SESSION_BYTES", "5")
    store = rig.open()
    refused(lambda: store.store(b"1234", session_id=SESSION), "artifact", 3)
    store.store(b"123", session_id=SESSION)
    refused(lambda: store.store(b"123", session_id=SESSION), "session", 5)
    other = rig.open(max_artifact_bytes=4, max_session_bytes=4)
    other.store(b"1234", session_id="user_bob")
    for name in ("ARTIFACT_MAX_BYTES", "ARTIFACT_MAX_SESSION_BYTES"):
        for bad in ("x", "-1", "1.5", "1e3", "10**3", "9" * 19):
            with monkeypatch.context() as patch:
                patch.setenv(name, bad)
                with pytest.raises(InvalidInputError, match=name):
                    rig.open()


def test_async_data_is_read_no_further():
    """The async store stops reading an async iterable at the limits of the store, in a batch too."""

    async def endless(read):
        while True:
            read.append(1)
            yield b"xx"

    async def main(limits):
        async with aio.ArtifactStore(**limits) as store:
            for call in (
                lambda data: store.store(data, session_id=SESSION),
                lambda data: store.store_batch([{"data": data}], session_id=SESSION),
            ):
                read = []
                with pytest.raises(QuotaExceededError):
                    await call(endless(read))
                assert len(read) == 6
            assert dict(await store.usage()) == {"artifacts": 0, "bytes": 0}

    asyncio.run(main({"max_artifact_bytes": 10}))
    asyncio.run(main({"max_session_bytes": 10}))

"""What every store does with data that is longer than its caller allows."""

from __future__ import annotations

import io
import pickle

import pytest

from chuk_artifacts import ArtifactNotFoundError, InvalidInputError, ProviderError, QuotaExceededError, SessionError
from chuk_artifacts.operations.calls import public_error
from chuk_artifacts.storage import ObjectChangedError, ObjectExistsError, ObjectMissingError

SESSION = "user_alice"
LONG = b"x" * 20_000_000
WAYS = {
    "bytes": lambda data: data,
    "file": io.BytesIO,
    "iterator": lambda data: iter([data[begin : begin + 100_000] for begin in range(0, len(data), 100_000)]),
}


def check_nothing_is_left(store):
    """Raise where the session holds something."""
    assert store.list_by_session(SESSION) == []
    assert store.get_stats()["bytes"] == 0


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_longest_data(store, way):
    """Data of exactly the allowed length is stored."""
    assert store.retrieve(store.store(way(b"abc"), max_bytes=3)) == b"abc"
    assert store.retrieve(store.store(way(b""), max_bytes=0)) == b""
    artifact_id = store.store(way(LONG), max_bytes=len(LONG))
    assert store.metadata(artifact_id).bytes == len(LONG)
    assert store.update_file(artifact_id, data=way(b"abcd"), max_bytes=4).bytes == 4


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("data", "limit"), [(b"abc", 2), (b"a", 0), (LONG, 1000), (LONG, len(LONG) - 1)])
def test_longer_data(store, way, data, limit):
    """Longer data is refused with its limit, and nothing of it is left."""
    with pytest.raises(QuotaExceededError, match=str(limit)) as caught:
        store.store(way(data), session_id=SESSION, max_bytes=limit)
    assert (caught.value.limit, caught.value.scope) == (limit, "artifact")
    check_nothing_is_left(store)


def test_longer_update(store):
    """Longer new content is refused, and the artifact stays as it was."""
    artifact_id = store.store(b"before", session_id=SESSION)
    before = store.metadata(artifact_id)
    for way in WAYS.values():
        with pytest.raises(QuotaExceededError):
            store.update_file(artifact_id, data=way(b"after"), summary="after", max_bytes=4)
    assert store.metadata(artifact_id) == before
    assert store.retrieve(artifact_id) == b"before"


def test_longer_text(store):
    """The limit of a text counts its encoded bytes."""
    with pytest.raises(QuotaExceededError):
        store.write_file("\u00e4", filename="a.txt", session_id=SESSION, max_bytes=1)
    check_nothing_is_left(store)
    assert store.read_file(store.write_file("\u00e4", filename="a.txt", max_bytes=2)) == "\u00e4"


def test_longer_item(store):
    """One item of a batch that is too long refuses all, and is named."""
    items = [{"data": b"abc"}, {"data": iter([b"abc"]), "max_bytes": 2}]
    with pytest.raises(QuotaExceededError) as caught:
        store.store_batch(items, session_id=SESSION)
    assert caught.value.limit == 2
    items = [{"data": b"abc"}, {"data": b"abc", "max_bytes": 2}]
    with pytest.raises(QuotaExceededError, match=r"items\[1\]") as caught:
        store.store_batch(items, session_id=SESSION)
    assert caught.value.limit == 2
    check_nothing_is_left(store)


def test_nothing_is_read_beyond_the_limit(store):
    """A stream is read no further than shows that it is too long."""
    given = []

    def endless():
        while True:
            given.append(None)
            yield b"x" * 1000

    with pytest.raises(QuotaExceededError):
        store.store(endless(), session_id=SESSION, max_bytes=10_000)
    assert len(given) <= 11


@pytest.mark.same_everywhere
@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
def test_bad_limit(store, limit):
    """A limit that is no length is refused before anything else happens, known length or not."""
    for call in (
        lambda: store.store(b"abc", session_id=SESSION, max_bytes=limit),
        lambda: store.store(iter([b"abc"]), session_id=SESSION, max_bytes=limit),
        lambda: store.write_file("abc", filename="a", session_id=SESSION, max_bytes=limit),
        lambda: store.update_file("0" * 32, data=b"abc", max_bytes=limit),
        lambda: store.update_file("0" * 32, summary="no data", max_bytes=limit),
    ):
        with pytest.raises(InvalidInputError, match="max_bytes"):
            call()
    check_nothing_is_left(store)


@pytest.mark.same_everywhere
def test_errors_say_what_they_are_about(store):
    """An error carries the artifact or the limit that it is about, also in another process."""
    with pytest.raises(ArtifactNotFoundError) as missing:
        store.retrieve("0" * 32)
    assert missing.value.artifact_id == "0" * 32
    with pytest.raises(ArtifactNotFoundError) as foreign:
        store.session(SESSION).metadata(store.store(b"abc", session_id="user_bob"))
    assert foreign.value.session_id == SESSION
    with pytest.raises(QuotaExceededError) as exceeded:
        store.store(b"abc", max_bytes=1)
    for error in (missing.value, exceeded.value):
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


@pytest.mark.same_everywhere
def test_errors_of_backends_name_their_provider(store, monkeypatch):
    """An error of the storage or the catalog names its provider, and the artifact that the call was about."""
    artifact_id = store.store(b"abc", session_id=SESSION)
    core = store.scope.core if hasattr(store, "scope") else store._store._blocking.scope.core

    def failing(error):
        def fail(*_, **__):
            raise error

        return fail

    bound = store.session(SESSION)
    for backend, error, provider in (
        (core.storage, ProviderError("out of order"), store.storage_provider),
        (core.catalog, SessionError("out of order"), store.session_provider),
    ):
        monkeypatch.setattr(backend, "get", failing(error))
        with pytest.raises(type(error)) as caught:
            bound.retrieve(artifact_id)
        assert (caught.value.provider, caught.value.artifact_id) == (provider, artifact_id)
        assert caught.value.session_id == SESSION


def test_signals_keep_their_key():
    """The public error for a signal of a storage has the key that the signal is about."""
    for signal in (ObjectMissingError("a/b"), ObjectExistsError("a/b"), ObjectChangedError("a/b", 1, 2)):
        assert public_error(signal).key == "a/b"

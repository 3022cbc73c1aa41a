"""What a verb costs in steady state: one call of the catalog, and at most one request to the storage."""

from __future__ import annotations

from collections import Counter

import pytest

from chuk_artifacts import ArtifactStore

STORES = {"memory": {}, "filesystem": {"storage_provider": "filesystem"}}


class Counting:
    """Stands before a backend and counts the calls that pass."""

    def __init__(self, backend, calls):
        self._backend = backend
        self._calls = calls

    def __getattr__(self, name):
        """Return an attribute of the backend, a method as one that counts."""
        value = getattr(self._backend, name)
        if not callable(value):
            return value

        def counted(*arguments, **options):
            if (name, arguments) != ("delete", ([],)):  # nothing to delete is no request
                self._calls[name] += 1
            return value(*arguments, **options)

        return counted


class Costs:
    """A store, and what its verbs have asked of the storage and the catalog."""

    def __init__(self, store):
        self.store = store
        self.storage: Counter[str] = Counter()
        self.catalog: Counter[str] = Counter()
        core = store._core
        core.storage = Counting(core.storage, self.storage)
        core.catalog = Counting(core.catalog, self.catalog)

    def of(self, verb):
        """Return the calls of storage and catalog that a verb makes."""
        self.storage.clear()
        self.catalog.clear()
        verb()
        return dict(self.storage), dict(self.catalog)


@pytest.fixture(params=STORES)
def costs(request, tmp_path):
    """Return a store whose calls are counted."""
    with ArtifactStore(**STORES[request.param], fs_root=tmp_path) as store:
        yield Costs(store)


@pytest.fixture
def artifact_id(costs):
    """Return the id of an artifact."""
    return costs.store.store(b"content", session_id="alice", filename="docs/a")


def test_store(costs):
    """Storing is one put and one add, for a new session as for an old one, bytes as streams."""
    for data in (b"x", b"y", iter([b"a", b"b"])):
        assert costs.of(lambda data=data: costs.store.store(data, session_id="alice")) == ({"put": 1}, {"add": 1})
    assert costs.of(lambda: costs.store.store(b"x")) == ({"put": 1}, {"add": 1})
    assert costs.of(lambda: costs.store.write_file("x", filename="a")) == ({"put": 1}, {"add": 1})
    with_all = {"meta": {"a": 1}, "user_id": "u", "ttl": 60, "session_id": "alice"}
    assert costs.of(lambda: costs.store.store(b"x", **with_all)) == ({"put": 1}, {"add": 1})


@pytest.mark.parametrize("count", [1, 2, 25])
def test_store_batch(costs, count):
    """A batch is as many puts as it has items, and one add."""
    items = [{"data": b"x"}] * count
    assert costs.of(lambda: costs.store.store_batch(items)) == ({"put": count}, {"add": 1})


@pytest.mark.parametrize(
    ("verb", "storage"),
    [
        (lambda store, one: store.retrieve(one), {"get": 1}),
        (lambda store, one: store.read_file(one), {"get": 1}),
        (lambda store, one: store.open(one).close(), {"open": 1}),
        (lambda store, one: list(store.stream(one)), {"open": 1}),
        (lambda store, one: list(store.stream(one, start=1, end=3)), {"open": 1}),
        (lambda store, one: store.retrieve_batch([one] * 9), {"get": 9}),
        (lambda store, one: store.metadata(one), {}),
        (lambda store, one: store.exists(one), {}),
        (lambda store, _: store.exists("0" * 32), {}),
        (lambda store, one: store.session("alice").retrieve(one), {"get": 1}),
    ],
    ids=[
        "retrieve",
        "read_file",
        "open",
        "stream",
        "range",
        "retrieve_batch",
        "metadata",
        "exists",
        "exists not",
        "bound",
    ],
)
def test_read(costs, artifact_id, verb, storage):
    """Reading is one look into the catalog, and one request for each content."""
    assert costs.of(lambda: verb(costs.store, artifact_id)) == (storage, {"get": 1})


def test_download(costs, artifact_id, tmp_path):
    """A download is one look into the catalog and one request."""
    assert costs.of(lambda: costs.store.download(artifact_id, tmp_path / "file")) == ({"open": 1}, {"get": 1})


def test_malformed_id(costs):
    """An id that can't be one costs nothing."""
    assert costs.of(lambda: costs.store.exists("nonsense")) == ({}, {})
    assert costs.of(lambda: costs.store.delete("nonsense")) == ({}, {})


@pytest.mark.parametrize(
    "verb",
    [
        lambda store, one: store.update_metadata(one, summary="new", meta={"a": 1}),
        lambda store, one: store.update_file(one, summary="new"),
        lambda store, one: store.move_file(one, new_filename="new"),
        lambda store, one: store.extend_ttl(one, 60),
    ],
    ids=["update_metadata", "update_file", "move_file", "extend_ttl"],
)
def test_change_of_the_record(costs, artifact_id, verb):
    """Changing a record is one look and one compare-and-set, which needs what was seen; no request to the storage."""
    assert costs.of(lambda: verb(costs.store, artifact_id)) == ({}, {"get": 1, "replace": 1})


def test_change_of_the_content(costs, artifact_id):
    """Changing the content is that, and one put."""
    change = costs.of(lambda: costs.store.update_file(artifact_id, data=b"new", summary="new"))
    assert change == ({"put": 1}, {"get": 1, "replace": 1})


def test_copy(costs, artifact_id):
    """Copying is one look, one copy inside the storage, and one add."""
    copy = costs.of(lambda: costs.store.copy_file(artifact_id, new_filename="new"))
    assert copy == ({"copy": 1}, {"get": 1, "add": 1})


def test_delete(costs, artifact_id):
    """Deleting is one removal from the catalog and one from the storage, the second time nothing but a look."""
    assert costs.of(lambda: costs.store.delete(artifact_id)) == ({"delete": 1}, {"remove": 1})
    assert costs.of(lambda: costs.store.delete(artifact_id)) == ({}, {"remove": 1})


def test_delete_batch(costs):
    """A batch is removed from the catalog at once."""
    ids = costs.store.store_batch([{"data": b"x"}] * 9)
    storage, catalog = costs.of(lambda: costs.store.delete_batch(ids))
    assert catalog == {"remove": 1}
    assert storage["delete"] <= 9


def test_delete_session(costs, artifact_id):
    """A session is removed from the catalog at once."""
    storage, catalog = costs.of(lambda: costs.store.delete_session("alice"))
    assert catalog == {"remove_session": 1}
    assert storage == {"delete": 1}


def test_cleanup(tmp_path, clock):
    """A cleanup releases expired artifacts together, removes their bytes together, and looks whether there are more."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path, clock=clock) as store:
        costs = Costs(store)
        store.store_batch([{"data": b"x"}] * 90, ttl=60)
        clock.advance(60)
        storage, catalog = costs.of(store.cleanup)
        assert (storage, catalog) == ({"delete": 1}, {"due": 2, "replace_each": 1, "expire_sessions": 1})
        clock.advance(3600)
        storage, catalog = costs.of(store.cleanup)
        assert (storage, catalog) == ({}, {"due": 2, "remove": 1, "expire_sessions": 1})


@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.list_by_session("alice"),
        lambda store: store.list_files("alice", "docs/"),
        lambda store: store.get_directory_contents("alice", "docs"),
        lambda store: store.list_by_session("alice", limit=1),
        lambda store: store.list_by_session("alice", limit=5),
        lambda store: list(store.iter_session("alice")),
        lambda store: store.list_by_session("nobody"),
    ],
    ids=["session", "prefix", "directory", "limit 1", "limit 5", "iterator", "empty"],
)
def test_list(costs, artifact_id, verb):
    """A listing is one page of the catalog, not a look for each artifact, and nothing of the storage."""
    costs.store.store_batch([{"data": b"x", "filename": f"docs/{number}"} for number in range(50)], session_id="alice")
    assert costs.of(lambda: verb(costs.store)) == ({}, {"page": 1})


def test_long_list(costs):
    """A long listing is a page for each thousand artifacts."""
    costs.store.store_batch([{"data": b""}] * 100, session_id="alice")
    assert costs.of(lambda: list(costs.store.iter_session("alice", page_size=30))) == ({}, {"page": 4})


@pytest.mark.parametrize(
    ("verb", "catalog"),
    [
        (lambda store: store.create_session(), {"create_session": 1}),
        (lambda store: store.validate_session("alice"), {"get_session": 1}),
        (lambda store: store.get_session_info("alice"), {"get_session": 1}),
        (lambda store: store.update_session_metadata("alice", {"a": 1}), {"update_session": 1}),
        (lambda store: store.extend_session_ttl("alice", 1), {"update_session": 1}),
        (lambda store: store.get_stats(), {"stats": 1}),
        (lambda store: store.get_canonical_prefix("alice"), {}),
        (lambda store: store.session("alice"), {}),
        (lambda store: store.get_sandbox_info(), {}),
    ],
    ids=["create", "validate", "info", "update", "extend", "stats", "prefix", "bind", "sandbox"],
)
def test_sessions(costs, artifact_id, verb, catalog):
    """What concerns sessions is one call of the catalog, and nothing of the storage."""
    assert costs.of(lambda: verb(costs.store)) == ({}, catalog)

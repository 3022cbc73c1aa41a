"""Instrumentation: what a store reports of its calls, and that it disturbs none of them."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
from contextlib import contextmanager

import child
import pytest

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, InvalidInputError, QuotaExceededError, aio
from chuk_artifacts.operations import changing

MEGABYTE = 2**20


class Recorder:
    """An instrumentation that keeps the calls that have ended, and which were entered in which thread."""

    def __init__(self):
        self.calls = []
        self.entered = []

    def begin(self, call):
        """Note where the call runs."""

        @contextmanager
        def around():
            self.entered.append((call.name, threading.get_ident()))
            yield

        return Again(around)

    def end(self, call):
        """Keep the call."""
        self.calls.append(call)

    def names(self, layer="method"):
        """Return the names of the calls of a layer, and forget all calls."""
        names = [call.name for call in self.calls if call.layer == layer]
        self.calls.clear()
        return names


class Again:
    """A context manager that may be entered again."""

    def __init__(self, make):
        self._make = make
        self._open = []

    def __enter__(self):
        self._open.append(self._make())
        self._open[-1].__enter__()

    def __exit__(self, *error):
        self._open.pop().__exit__(*error)


@pytest.fixture
def recorder():
    """Return what records calls."""
    return Recorder()


@pytest.fixture
def store(recorder, tmp_path):
    """Return a store on disk whose calls are recorded."""
    options = {"storage_provider": "filesystem", "fs_root": tmp_path / "files"}
    with ArtifactStore(**options, instrumentation=recorder) as store:
        yield store


METHODS = {
    "store": lambda store, one: store.store(b"abc", session_id="alice"),
    "store_batch": lambda store, one: store.store_batch([{"data": b"a"}, {"data": b"b"}], "alice"),
    "retrieve": lambda store, one: store.retrieve(one),
    "retrieve_batch": lambda store, one: store.retrieve_batch([one]),
    "exists": lambda store, one: store.exists(one),
    "metadata": lambda store, one: store.metadata(one),
    "versions": lambda store, one: store.versions(one),
    "update_metadata": lambda store, one: store.update_metadata(one, summary="x"),
    "update_file": lambda store, one: store.update_file(one, data=b"new"),
    "move_file": lambda store, one: store.move_file(one, new_filename="b.txt"),
    "copy_file": lambda store, one: store.copy_file(one),
    "extend_ttl": lambda store, one: store.extend_ttl(one, 60),
    "lookup": lambda store, one: store.lookup("a.txt", "alice"),
    "list_files": lambda store, one: store.list_by_session("alice"),
    "list_directory": lambda store, one: store.list_directory("alice"),
    "presign": lambda store, one: store.presign(one),
    "create_session": lambda store, one: store.create_session(),
    "get_session_info": lambda store, one: store.validate_session("alice"),
    "usage": lambda store, one: store.usage("alice"),
    "cleanup": lambda store, one: store.cleanup_expired_sessions(),
    "get_stats": lambda store, one: store.get_stats(),
    "delete": lambda store, one: store.delete(one),
    "delete_batch": lambda store, one: store.delete_batch([one]),
    "delete_session": lambda store, one: store.delete_session("alice"),
    "iter_session": lambda store, one: list(store.iter_session("alice")),
    "iter_sessions": lambda store, one: list(store.iter_sessions()),
    "search": lambda store, one: list(store.search("alice")),
    "archive": lambda store, one: b"".join(store.archive("alice")),
    "stream": lambda store, one: b"".join(store.stream(one)),
    "open": lambda store, one: store.open(one).close(),
}


@pytest.mark.parametrize("method", METHODS)
def test_one_call_a_method(recorder, store, method):
    """A call of a method is reported once, by the method's name, with its providers."""
    one = store.store(b"abc", filename="a.txt", session_id="alice")
    recorder.calls.clear()
    METHODS[method](store, one)
    calls = [call for call in recorder.calls if call.layer == "method"]
    assert [(call.name, call.outcome, call.attempts) for call in calls] == [(method, "ok", 1)]
    assert (calls[0].storage_provider, calls[0].session_provider) == ("filesystem", "sqlite")
    assert calls[0].seconds > 0


def test_backends(recorder, store):
    """What a method asks of storage and catalog is reported below it."""
    one = store.store(b"abc", session_id="alice")
    recorder.calls.clear()
    store.retrieve(one)
    assert [(call.name, call.parent and call.parent.name) for call in recorder.calls] == [
        ("catalog.get", "retrieve"),
        ("storage.get", "retrieve"),
        ("retrieve", None),
    ]


def test_ids(recorder, store):
    """A call has the ids of its artifact, session and bytes."""
    one = store.store(b"abc", session_id="alice")
    bound = store.session("alice")
    bound.retrieve(one)
    by_name = {call.name: call for call in recorder.calls}
    assert by_name["store"].artifact_id == by_name["retrieve"].artifact_id == one
    assert by_name["store"].session_id == by_name["retrieve"].session_id == "alice"
    assert by_name["storage.get"].key == store.metadata(one).key


def test_bytes(recorder, store, tmp_path):
    """A call has the number of bytes that it wrote or read, by whatever way."""
    store.store(b"")  # the first one writes more
    recorder.calls.clear()
    data = bytes(3 * MEGABYTE)
    one = store.store(iter([data]), session_id="alice")
    store.retrieve(one)
    b"".join(store.stream(one, chunk_size=1000))
    store.download(one, tmp_path / "copy")
    with store.open(one) as file:
        assert file.read(10) == bytes(10)
        assert file.read() == data[10:]
    store.retrieve_batch([one, one])
    sizes = [(call.name, call.bytes) for call in recorder.calls if call.layer == "method"]
    whole = len(data)
    expected = {"store": whole, "retrieve": whole, "stream": whole, "download": whole, "open": whole}
    assert sizes == [*expected.items(), ("retrieve_batch", 2 * whole)]


def test_iterator_that_is_left(recorder, store):
    """A call whose iterator is closed, or dropped, before its end is reported then."""
    one = store.store(bytes(MEGABYTE), session_id="alice")
    recorder.calls.clear()
    chunks = store.stream(one, chunk_size=10)
    next(chunks)
    assert recorder.names() == []
    chunks.close()
    assert [(call.name, call.outcome) for call in recorder.calls if call.layer == "method"] == [("stream", "closed")]
    recorder.calls.clear()
    store.stream(one)
    assert recorder.names() == ["stream"]


def test_caller_is_not_inside(recorder, store):
    """Between the steps of an iterator the caller's own calls are not part of it."""
    one = store.store(bytes(100), session_id="alice")
    recorder.calls.clear()
    for _ in store.stream(one, chunk_size=60):
        store.exists(one)
    outer = [(call.name, call.parent) for call in recorder.calls if call.layer == "method"]
    assert outer == [("exists", None), ("exists", None), ("stream", None)]


def test_calls_of_the_data(recorder, store):
    """A call that the iterable makes while its data is stored is a call of its own."""
    one = store.store(b"abc", session_id="alice")

    def data():
        yield store.retrieve(one)

    recorder.calls.clear()
    store.store(data(), session_id="alice")
    assert sorted(recorder.names()) == ["retrieve", "store"]


def test_errors(recorder, store):
    """A call that raises is reported with its error, under the class that the caller gets."""
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve("0" * 32)
    with pytest.raises(QuotaExceededError):
        store.store(b"abc", max_bytes=1)
    calls = [(call.name, call.outcome, call.error_class) for call in recorder.calls if call.layer == "method"]
    assert calls == [("retrieve", "error", "ArtifactNotFoundError"), ("store", "error", "QuotaExceededError")]


def test_interrupt(recorder, store):
    """A call that is interrupted is reported too."""

    def data():
        yield b"abc"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.store(data())
    assert ("store", "interrupted") in [(call.name, call.outcome) for call in recorder.calls]


def test_attempts(recorder, store, monkeypatch):
    """A change that another writer beats counts one more attempt."""
    one = store.store(b"abc", session_id="alice")
    monkeypatch.setattr(changing, "_pause", lambda _: None)
    replace = store.scope.core.catalog.replace
    answers = iter([False, False])
    monkeypatch.setattr(
        store.scope.core.catalog, "replace", lambda *args, **kwargs: next(answers, True) and replace(*args, **kwargs)
    )
    store.update_metadata(one, summary="x")
    assert [call.attempts for call in recorder.calls if call.name == "update_metadata"] == [3]


def test_cleanup(recorder, clock, tmp_path):
    """A cleanup is reported with what it removed."""
    with ArtifactStore(instrumentation=recorder, clock=clock) as store:
        store.store(b"abc", ttl=1, session_id="alice")
        clock.advance(10)
        store.cleanup()
    (call,) = (call for call in recorder.calls if call.name == "cleanup")
    assert call.facts == {"sessions": 0, "artifacts": 1, "orphans": 0, "bytes": 3}


def test_batch_in_threads(recorder, store):
    """What runs in other threads belongs to the call that they run for."""
    ids = store.store_batch([{"data": bytes(2 * MEGABYTE)} for _ in range(4)], "alice")
    recorder.calls.clear()
    store.retrieve_batch(ids)
    gets = [call for call in recorder.calls if call.name == "storage.get"]
    assert [call.parent.name for call in gets] == ["retrieve_batch"] * 4


def test_entered_for_each_step(recorder, store):
    """The context manager of a call is entered where the call runs: for an iterator at each step."""
    one = store.store(bytes(100), session_id="alice")
    recorder.entered.clear()
    assert len(list(store.stream(one, chunk_size=50))) == 2
    here = threading.get_ident()
    assert [entry for entry in recorder.entered if entry[0] == "stream"] == [("stream", here)] * 4


async def _awaited(recorder):
    async with aio.ArtifactStore(instrumentation=recorder) as store:
        one = await store.store(bytes(MEGABYTE), session_id="alice", filename="a.txt")
        await store.retrieve(one)
        assert [len(chunk) async for chunk in store.stream(one)] == [MEGABYTE]
        async with store.open(one) as file:
            assert len(await file.read()) == MEGABYTE
        assert [one.filename async for one in store.iter_session("alice")] == ["a.txt"]
        with pytest.raises(ArtifactNotFoundError):
            await store.metadata("0" * 32)
    return one


def test_awaited(recorder):
    """Awaited methods are reported like blocking ones, once."""
    asyncio.run(_awaited(recorder))
    methods = [(call.name, call.outcome, call.bytes) for call in recorder.calls if call.layer == "method"]
    assert methods == [
        ("store", "ok", MEGABYTE),
        ("retrieve", "ok", MEGABYTE),
        ("stream", "ok", MEGABYTE),
        ("open", "ok", MEGABYTE),
        ("iter_session", "ok", 0),
        ("metadata", "error", 0),
    ]


def test_cancelled(recorder, tmp_path):
    """A call whose wait is cancelled goes on, and is reported when it ends."""
    begun, may_end = threading.Event(), threading.Event()

    def data():
        begun.set()
        assert may_end.wait(60)
        yield b"abc"

    async def cancel():
        store = aio.ArtifactStore(instrumentation=recorder, storage_provider="filesystem", fs_root=tmp_path)
        task = asyncio.create_task(store.store(data()))
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert recorder.names() == []
        may_end.set()
        await store.close()

    asyncio.run(cancel())
    assert recorder.names() == ["store"]


class Broken:
    """An instrumentation that fails."""

    def begin(self, call):
        """Fail."""
        raise RuntimeError("begin")

    def end(self, call):
        """Fail."""
        raise RuntimeError("end")


def test_broken_instrumentation(caplog):
    """An instrumentation that raises is logged, and disturbs no call."""
    with ArtifactStore(instrumentation=Broken()) as store:
        assert store.retrieve(store.store(b"abc")) == b"abc"
    assert "the instrumentation failed: 'begin'" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_disabled(recorder):
    """Calls that begin while an instrumentation is not enabled are not observed."""
    recorder.enabled = lambda: False
    with ArtifactStore(instrumentation=recorder) as store:
        assert store.retrieve(store.store(b"abc")) == b"abc"
    assert recorder.calls == []


def test_no_instrumentation():
    """Without an instrumentation nothing observes a store, and its backends are its own."""
    for choice in ("auto", None):
        code = f"""
            from chuk_artifacts import ArtifactStore
            core = ArtifactStore(instrumentation={choice!r}).scope.core
            print(core.observer, type(core.storage).__name__, type(core.catalog).__name__)
            """
        assert child.run(code).split() == ["None", "MemoryStorage", "MemoryCatalog"]


def test_by_environment(monkeypatch):
    """ARTIFACT_INSTRUMENTATION selects the instrumentation; an argument overrides it."""
    monkeypatch.setenv("ARTIFACT_INSTRUMENTATION", "none")
    assert ArtifactStore().scope.core.observer is None
    monkeypatch.setenv("ARTIFACT_INSTRUMENTATION", "prometheus")
    with pytest.raises(InvalidInputError, match="instrumentation 'prometheus' is not known"):
        ArtifactStore()
    assert ArtifactStore(instrumentation=None).scope.core.observer is None


def test_wrong_instrumentation():
    """What lacks the methods is refused."""
    with pytest.raises(InvalidInputError, match="begin and end"):
        ArtifactStore(instrumentation=object())


def test_missing_package():
    """Without OpenTelemetry its name is an error that names the command to install it; by default nothing happens."""
    code = """
        import sys
        sys.modules["opentelemetry"] = None
        from chuk_artifacts import ArtifactStore, InvalidInputError
        ArtifactStore()
        try:
            ArtifactStore(instrumentation="otel")
        except InvalidInputError as error:
            print(error)
        """
    assert "python -m pip install '.[otel]' in a clone" in child.run(code)


def test_pickle(recorder, tmp_path):
    """An instrumentation does not travel; that a store has none does."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path, instrumentation=recorder) as store:
        with pickle.loads(pickle.dumps(store)) as again:
            again.exists("0" * 32)
        assert recorder.calls == []
    with ArtifactStore(instrumentation=None) as store, pickle.loads(pickle.dumps(store)) as again:
        assert again.scope.core.settings.instrumentation is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(recorder, store):
    """A forked child reports its own calls."""
    one = store.store(b"abc", session_id="alice")
    recorder.calls.clear()
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            store.retrieve(one)
            os.write(writer, ",".join(recorder.names()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answers:
        assert answers.read() == b"retrieve"
    os.waitpid(pid, 0)
    assert recorder.calls == []


def test_log_records(caplog):
    """A log record of a call has its method, outcome, duration, providers and ids as attributes."""
    caplog.set_level(logging.DEBUG, "chuk_artifacts")
    with ArtifactStore(instrumentation=None) as store:
        one = store.store(b"abc", session_id="alice")
        store.session("alice").retrieve(one)
        with pytest.raises(ArtifactNotFoundError):
            store.metadata("0" * 32)
    fields = ("method", "outcome", "error", "provider", "session_provider", "artifact_id", "session_id")
    records = [record for record in caplog.records if hasattr(record, "outcome")]
    assert [tuple(getattr(record, name) for name in fields) for record in records] == [
        ("store", "ok", None, "memory", "memory", None, None),
        ("retrieve", "ok", None, "memory", "memory", one, "alice"),
        ("metadata", "error", "ArtifactNotFoundError", "memory", "memory", "0" * 32, None),
    ]
    assert all(record.duration > 0 for record in records)

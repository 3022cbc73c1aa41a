"""Exceptions by which a backend signals a condition to this package never reach the caller."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import chuk_artifacts
from chuk_artifacts import ArtifactStore, ArtifactStoreError, aio
from chuk_artifacts.catalog import FilenameTakenError
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.storage import ObjectChangedError, ObjectExistsError, ObjectMissingError

SIGNALS = [ObjectMissingError("grid/box/alice/1"), ObjectExistsError("grid/box/alice/1"), ObjectChangedError("k", 1, 2)]
STORAGE = [
    "put",
    "get",
    "open",
    "stat",
    "copy",
    "delete",
    "sign_get",
    "sign_put",
    "list_objects",
    "now",
    "sweep",
    "check",
]
CATALOG = ["add", "get", "replace", "replace_each", "remove", "due", "get_session", "remove_session"]
PUBLIC = {value for name, value in vars(chuk_artifacts).items() if inspect.isclass(value) and name.endswith("Error")}


def calls(store, artifact_id, upload_id):
    """Yield a call of each method that uses the storage or the catalog."""
    yield lambda: store.store(b"x", session_id="alice")
    yield lambda: store.store(b"x", session_id="alice", filename="a", exclusive=True)
    yield lambda: store.store_batch([{"data": b"x"}] * 2, "alice")
    yield lambda: store.write_file("x", filename="a", session_id="alice")
    yield lambda: store.update_file(artifact_id, data=b"y")
    yield lambda: store.copy_file(artifact_id)
    yield lambda: store.retrieve(artifact_id)
    yield lambda: store.retrieve_batch([artifact_id] * 2)
    yield lambda: store.read_file(artifact_id)
    yield lambda: list(store.stream(artifact_id))
    yield lambda: store.open(artifact_id).close()
    yield lambda: store.presign(artifact_id)
    yield lambda: store.presign_upload("alice")
    yield lambda: store.register_uploaded_artifact(upload_id, mime="text/plain", summary="")
    yield lambda: store.list_by_session("alice")
    yield lambda: store.delete_batch([store.store(b"x", session_id="alice")])
    yield lambda: store.cleanup(orphans=True)
    yield store.validate_configuration
    yield lambda: store.delete_session("alice")


class Double:
    """A backend with one failing method."""

    def __init__(self, backend, name, error):
        self._backend, self._name, self._error = backend, name, error

    def __getattr__(self, name):
        """Return a method of the backend, or a function that raises."""
        if name != self._name:
            return getattr(self._backend, name)

        def fail(*_, **__):
            raise self._error

        return fail


def opened():
    """Return a store with an artifact and an upload in it."""
    store = ArtifactStore(gateway_url="http://127.0.0.1:1")
    artifact_id = store.store(b"x", session_id="alice", filename="file")
    _, upload_id = store.presign_upload("alice")
    store.scope.core.storage.put(f"{store.generate_artifact_key('alice', upload_id)}~upload", b"x")
    return store, artifact_id, upload_id


def check(call):
    """Make a call; if it raises, check that the error is exactly of a public class."""
    raised = None
    try:
        call()
    except ArtifactStoreError as error:
        raised = error
    assert raised is None or type(raised) in PUBLIC, raised
    return raised


@pytest.mark.parametrize("error", SIGNALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", STORAGE)
def test_signal_of_the_storage(name, error):
    """If any method of the storage raises a signal, each method of the store returns or raises a public error."""
    store, *ids = opened()
    raised = []
    for number in range(len(list(calls(store, *ids)))):
        with store:
            core = store.scope.core
            core.storage = Double(core.storage, name, error)
            raised.append(check(list(calls(store, *ids))[number]))
            core.storage = core.storage._backend
        store, *ids = opened()
    store.close()
    assert any(raised) or name in {"check", "sign_get"} or (name, type(error)) == ("stat", ObjectMissingError)


@pytest.mark.parametrize("name", CATALOG)
def test_signal_of_the_catalog(name):
    """An unexpected "filename taken" from the catalog is raised as a public error."""
    store, *ids = opened()
    for number in range(len(list(calls(store, *ids)))):
        with store:
            core = store.scope.core
            core.catalog = Double(core.catalog, name, FilenameTakenError("taken"))
            check(list(calls(store, *ids))[number])
            core.catalog = core.catalog._backend
        store, *ids = opened()
    store.close()


@pytest.mark.parametrize("error", SIGNALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["put", "get", "open", "copy", "delete"])
def test_signal_in_the_other_interfaces(name, error):
    """The async store and the filesystem raise only public errors too."""
    store, artifact_id, _ = opened()
    with store:
        core = store.scope.core
        storage, core.storage = core.storage, Double(core.storage, name, error)
        view, fs = aio.ArtifactStore.wrap(store.session("alice")), ArtifactFileSystem(store)
        for call in (
            lambda: asyncio.run(view.store(b"x")),
            lambda: asyncio.run(view.retrieve(artifact_id)),
            lambda: asyncio.run(view.update_file(artifact_id, data=b"y")),
            lambda: fs.cat_file("alice/file"),
            lambda: fs.pipe_file("alice/file", b"z"),
            lambda: fs.cp_file("alice/file", "alice/copy"),
            lambda: fs.rm_file("alice/file"),
        ):
            check(call)
        core.storage = storage

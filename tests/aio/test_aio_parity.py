"""The async store has the methods of the blocking one, and no others."""

from __future__ import annotations

import ast
import inspect
from typing import get_type_hints

import pytest

import chuk_artifacts
from chuk_artifacts import ArtifactStore, aio, gateway
from chuk_artifacts import store as blocking_store
from chuk_artifacts.aio import store as aio_store
from chuk_artifacts.aio.options import Options

NAMES = [name for name, _ in inspect.getmembers(ArtifactStore) if not name.startswith("_")]
PROPERTIES = [name for name in NAMES if isinstance(getattr(ArtifactStore, name), property)]
PUBLIC = [name for name in NAMES if name not in PROPERTIES]
PLAIN = {
    "session",
    "user",
    "get_canonical_prefix",
    "generate_artifact_key",
    "parse_grid_key",
    "get_session_prefix_pattern",
}
STEPPED = {"archive", "stream", "iter_session", "iter_sessions", "search"}
REWRITTEN = {"session", "user", "close"}  # they differ, and have docstrings of their own


def written(module):
    """Return the methods of the store by name, as the source of a module declares them."""
    tree = ast.parse(inspect.getsource(module))
    (store,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ArtifactStore")
    return {node.name: node for node in store.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


WRITTEN = written(aio_store), written(blocking_store)


@pytest.mark.parametrize("name", PUBLIC)
def test_same_signature(name):
    """Each method has the arguments, types and defaults of the blocking one."""
    ours, theirs = ([ast.unparse(arg) for arg in arguments(methods[name])] for methods in WRITTEN)
    for wider, narrower in ((": AsyncData", ": Data"), ("AsyncStoreItem", "StoreItem")):
        ours = [arg.replace(wider, narrower) for arg in ours]
    assert ours == theirs
    assert defaults(aio_store, WRITTEN[0][name]) == defaults(blocking_store, WRITTEN[1][name])
    assert inspect.signature(getattr(aio.ArtifactStore, name)) == inspect.signature(getattr(ArtifactStore, name))


def arguments(method):
    """Return the declared arguments of a method."""
    return [*method.args.posonlyargs, *method.args.args, ast.arg("*"), *method.args.kwonlyargs]


def defaults(module, method):
    """Return the declared default values of a method."""
    values = [*method.args.defaults, *method.args.kw_defaults]
    return [value and eval(ast.unparse(value), vars(module)) for value in values]


@pytest.mark.parametrize("name", sorted({*PUBLIC} - REWRITTEN))
def test_same_summary(name):
    """The docstring that an editor shows begins like that of the blocking method."""
    ours, theirs = (ast.get_docstring(methods[name]).partition("\n")[0] for methods in WRITTEN)
    assert ours == theirs


@pytest.mark.parametrize("name", sorted({*PUBLIC} - REWRITTEN))
def test_same_docstring(name):
    """Each method has the name and the docstring of the blocking one, with an example of its own."""
    method, original = getattr(aio.ArtifactStore, name), getattr(ArtifactStore, name)
    ours, theirs = (one.__doc__.partition("Example:") for one in (method, original))
    assert ours[:2] == theirs[:2]
    assert method.__name__ == original.__name__


@pytest.mark.parametrize("name", PROPERTIES)
def test_same_property(name):
    """Each property of the blocking store is there, with the same docstring and value, on views too."""
    ours, theirs = getattr(aio.ArtifactStore, name), getattr(ArtifactStore, name)
    assert (ours.__doc__, ours.fget.__annotations__) == (theirs.__doc__, theirs.fget.__annotations__)
    store = aio.ArtifactStore(sandbox_id="box")
    assert getattr(store, name) == getattr(store.session("alice"), name) == getattr(store._blocking, name)


def test_nothing_more():
    """Beyond the blocking methods the async store only has what wraps a blocking store."""
    names = {name for name, _ in inspect.getmembers(aio.ArtifactStore) if not name.startswith("_")}
    assert names - {*NAMES} == {"wrap"}


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_awaited(name):
    """All methods are awaited, except streams, the reader, views and methods that compute keys."""
    awaited = inspect.iscoroutinefunction(getattr(aio.ArtifactStore, name))
    assert awaited == (name not in PLAIN | STEPPED | {"open"})


def test_same_options():
    """The constructor takes the same arguments, of the same types."""
    hints = get_type_hints(ArtifactStore.__init__)
    assert hints.pop("return") is type(None)
    assert get_type_hints(Options) == hints


def test_same_names():
    """The async package exports the names of the package and of the gateway, and its reader."""
    assert set(aio.__all__) == {*chuk_artifacts.__all__, *gateway.__all__, "Reader"}
    for name in {*chuk_artifacts.__all__} - {"ArtifactStore", "migrate"}:
        assert getattr(aio, name) is getattr(chuk_artifacts, name)


def test_same_function():
    """The function that copies between stores has the arguments of the blocking one, and is awaited."""
    assert inspect.signature(aio.migrate) == inspect.signature(chuk_artifacts.migrate)
    assert inspect.iscoroutinefunction(aio.migrate)


def test_subclass(tmp_path):
    """A view of a subclass of the store calls the subclass's methods."""

    class Shouting(ArtifactStore):
        def get_session_prefix_pattern(self):
            return super().get_session_prefix_pattern().upper()

    assert aio.ArtifactStore.wrap(Shouting(sandbox_id="box")).get_session_prefix_pattern() == "GRID/BOX/"


def test_repr():
    """The repr names the contained store."""
    store = aio.ArtifactStore(sandbox_id="box")
    assert repr(store) == "<aio.ArtifactStore memory+memory sandbox='box'>"
    assert repr(store.session("alice")) == "<aio.ArtifactStore memory+memory sandbox='box' session='alice'>"


@pytest.mark.parametrize("max_workers", [0, -1, "2", 1.5, True])
def test_bad_number_of_workers(max_workers):
    """The number of threads must be an int above 0."""
    with pytest.raises(aio.InvalidInputError, match="max_workers"):
        aio.ArtifactStore(max_workers=max_workers)
    with pytest.raises(aio.InvalidInputError, match="max_workers"):
        aio.ArtifactStore.wrap(ArtifactStore(), max_workers=max_workers)


def test_unknown_option():
    """An unknown argument raises TypeError, as in the blocking store."""
    with pytest.raises(TypeError, match="storage_provide"):
        aio.ArtifactStore(storage_provide="memory")

"""The async face has what the blocking one has, and nothing that differs."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

import chuk_artifacts
from chuk_artifacts import ArtifactStore, aio
from chuk_artifacts.aio.options import Options

PUBLIC = [name for name, _ in inspect.getmembers(ArtifactStore) if not name.startswith("_")]
PLAIN = {
    "session",
    "get_canonical_prefix",
    "generate_artifact_key",
    "parse_grid_key",
    "get_session_prefix_pattern",
}
STEPPED = {"stream", "iter_session"}
REWRITTEN = {"session", "close"}  # what differs is told in docstrings of their own


@pytest.mark.parametrize("name", PUBLIC)
def test_same_signature(name):
    """Each verb of the blocking store is there, with the same arguments, defaults and annotations."""
    assert inspect.signature(getattr(aio.ArtifactStore, name)) == inspect.signature(getattr(ArtifactStore, name))


@pytest.mark.parametrize("name", sorted({*PUBLIC} - REWRITTEN))
def test_same_docstring(name):
    """Each verb says of itself what the blocking one says, under the same name."""
    verb, original = getattr(aio.ArtifactStore, name), getattr(ArtifactStore, name)
    assert verb.__doc__ == original.__doc__
    assert verb.__name__ == original.__name__


def test_nothing_more():
    """What the async store has beyond the blocking one is the way to make it from that."""
    names = {name for name, _ in inspect.getmembers(aio.ArtifactStore) if not name.startswith("_")}
    assert names - {*PUBLIC} == {"wrap"}


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_awaited(name):
    """All verbs are awaited but the streams, the reader, the views and the functions of the grid."""
    awaited = inspect.iscoroutinefunction(getattr(aio.ArtifactStore, name))
    assert awaited == (name not in PLAIN | STEPPED | {"open"})


def test_same_options():
    """The store is built from the same arguments, of the same types."""
    hints = get_type_hints(ArtifactStore.__init__)
    assert hints.pop("return") is type(None)
    assert get_type_hints(Options) == hints


def test_same_names():
    """What the package offers, the async one offers too."""
    assert set(aio.__all__) == {*chuk_artifacts.__all__, "Reader"}
    for name in {*chuk_artifacts.__all__} - {"ArtifactStore"}:
        assert getattr(aio, name) is getattr(chuk_artifacts, name)


def test_subclass(tmp_path):
    """A view of a store of a subclass calls what the subclass does."""

    class Shouting(ArtifactStore):
        def get_session_prefix_pattern(self):
            return super().get_session_prefix_pattern().upper()

    assert aio.ArtifactStore.wrap(Shouting(sandbox_id="box")).get_session_prefix_pattern() == "GRID/BOX/"


def test_repr():
    """A store shows what it contains, and what it is."""
    store = aio.ArtifactStore(sandbox_id="box")
    assert repr(store) == "<aio.ArtifactStore memory+memory sandbox='box'>"
    assert repr(store.session("alice")) == "<aio.ArtifactStore memory+memory sandbox='box' session='alice'>"


@pytest.mark.parametrize("max_workers", [0, -1, "2", 1.5, True])
def test_bad_number_of_workers(max_workers):
    """The number of threads is an int above 0."""
    with pytest.raises(aio.InvalidInputError, match="max_workers"):
        aio.ArtifactStore(max_workers=max_workers)
    with pytest.raises(aio.InvalidInputError, match="max_workers"):
        aio.ArtifactStore.wrap(ArtifactStore(), max_workers=max_workers)


def test_unknown_option():
    """An argument that the blocking store does not know is a TypeError, as it is there."""
    with pytest.raises(TypeError, match="storage_provide"):
        aio.ArtifactStore(storage_provide="memory")

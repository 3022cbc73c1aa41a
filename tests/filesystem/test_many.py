"""Many files at once: they are looked up, added and renamed in portions."""

from __future__ import annotations

import fsspec
import pytest

from chuk_artifacts import ArtifactNotFoundError, ConflictError, InvalidInputError
from chuk_artifacts.filesystem import writing

COUNT = 1203
NAMES = [f"d{number % 7}/f{number}" for number in range(COUNT)]


def contents(root):
    """Return the contents of many files by their paths."""
    return {f"{root}/{name}": name.encode() for name in NAMES}


@pytest.mark.same_everywhere
def test_round_trip(fs, tmp_path):
    """More files than a portion holds are written, copied, moved, fetched, put back and removed."""
    fs.pipe(contents("alice/a"))
    fs.cp("alice/a", "alice/b", recursive=True)
    fs.mv("alice/b", "alice/c", recursive=True)
    fs.get("alice/c", str(tmp_path / "c"), recursive=True)
    fs.put(str(tmp_path / "c"), "alice/d", recursive=True)
    for root in ("alice/a", "alice/c", "alice/d"):
        assert fs.cat(fs.find(root)) == contents(root)
    assert not fs.exists("alice/b")
    fs.rm(["alice/a", "alice/c", "alice/d"], recursive=True)
    assert fs.find("alice") == []


def test_written_over_some(fs):
    """Of many files, those that are there get a new revision, and the others are new."""
    fs.pipe_file("alice/a/1", b"old")
    fs.pipe({f"artifact://alice/a/{number}": b"new" for number in range(3)}, mime="text/x-new")
    assert [fs.info(f"alice/a/{number}")["revision"] for number in range(3)] == [1, 2, 1]
    assert {fs.info(path)["mime"] for path in fs.find("alice")} == {"text/x-new"}
    fs.pipe_file("alice/b/2", b"old")
    fs.cp("alice/a/", "alice/b/", recursive=True)
    assert [fs.cat_file(f"alice/b/{number}") for number in range(3)] == [b"new"] * 3
    assert [fs.info(f"alice/b/{number}")["revision"] for number in range(3)] == [1, 1, 2]


def test_of_several_sessions(fs):
    """The files of one call may be of several sessions."""
    files = {f"{session}/{name}": session.encode() for name in ("a", "b") for session in ("alice", "bob")}
    fs.pipe(files)
    assert {path: fs.cat_file(path) for path in files} == files
    assert fs.find("alice") == ["alice/a", "alice/b"]


def test_created_meanwhile(fs, monkeypatch):
    """A file that another writer creates between look and write gets a new revision; none is there twice."""
    look = fs.store.scope.core.catalog.named_each

    def late(*arguments):
        found = look(*arguments)
        fs.pipe_file("alice/a/1", b"theirs")
        return found

    monkeypatch.setattr(fs.store.scope.core.catalog, "named_each", late)
    fs.pipe({f"alice/a/{number}": b"mine" for number in range(3)})
    assert [fs.info(f"alice/a/{number}")["revision"] for number in range(3)] == [1, 2, 1]
    assert [fs.cat_file(f"alice/a/{number}") for number in range(3)] == [b"mine"] * 3
    assert fs.info("alice/a/1")["others"] == 0


def test_deleted_meanwhile(fs, monkeypatch):
    """A file that another process deletes between look and write is new again."""
    fs.pipe({"alice/a/0": b"old", "alice/a/1": b"old"})
    look = fs.store.scope.core.catalog.named_each

    def late(*arguments):
        found = look(*arguments)
        fs.rm_file("alice/a/1")
        return found

    monkeypatch.setattr(fs.store.scope.core.catalog, "named_each", late)
    fs.pipe({"alice/a/0": b"new", "alice/a/1": b"new"})
    assert [fs.info(f"alice/a/{number}")["revision"] for number in range(2)] == [2, 1]


def test_copy_that_fails(fs):
    """When the bytes of one file are gone, no file of its portion is copied, and no bytes are left."""
    fs.pipe({f"alice/a/{number}": b"x" for number in range(3)})
    storage = fs.store.scope.core.storage
    lost = fs.store.metadata(fs.info("alice/a/2")["artifact_id"])
    storage.delete([lost.key])
    before = {item.key for item in storage.list_objects("grid/")}
    with pytest.raises(ArtifactNotFoundError, match="gone"):
        fs.cp("alice/a/", "alice/b/", recursive=True, on_error="raise")
    assert not fs.exists("alice/b")
    assert {item.key for item in storage.list_objects("grid/")} == before


def test_bad_content(fs):
    """When one content can't be stored, none is."""
    with pytest.raises(InvalidInputError):
        fs.pipe({"alice/a": b"x", "alice/b": "text"})
    with pytest.raises(InvalidInputError):
        fs.pipe({"alice/a": b"x", "alice/../b": b"x"})
    assert not fs.exists("alice")


def test_portions():
    """A portion ends with its 500th item, or when it holds 64 MiB."""
    sizes = [1] * 1001 + [40 * 2**20] * 3
    assert [len(some) for some in writing._portions(sizes, int)] == [500, 500, 3, 1]


def test_callbacks(fs, tmp_path):
    """A callback gets the number of files, and a branch for each with its size and bytes."""
    fs.pipe({f"alice/a/{number}": bytes(number) for number in range(3)} | {"alice/a/long": bytes(200_000)})
    for call in (
        lambda callback: fs.get("alice/a/", f"{tmp_path}/a/", recursive=True, callback=callback),
        lambda callback: fs.put(f"{tmp_path}/a/", "alice/b/", recursive=True, callback=callback),
    ):
        callback = Branching()
        call(callback)
        assert callback.size == callback.value
        files = {name: child for name, child in callback.children.items() if child.size is not None}
        assert sorted((child.size, child.value) for child in files.values()) == [
            (0, 0),
            (1, 1),
            (2, 2),
            (200_000, 200_000),
        ]


class Branching(fsspec.Callback):
    """A callback that keeps the branches of its files.

    Attributes:
        children: the branches by the name of the file.

    """

    def __init__(self, **options):
        super().__init__(**options)
        self.children = {}

    def branched(self, path_1, path_2, **_):
        """Return and keep a callback for a file."""
        self.children[path_1.rpartition("/")[2]] = fsspec.Callback()
        return self.children[path_1.rpartition("/")[2]]


def test_create_mode(fs):
    """Files that must be new are refused when one of them is there."""
    fs.pipe_file("alice/b", b"old")
    with pytest.raises(FileExistsError):
        fs.pipe({"alice/a": b"x", "alice/b": b"x"}, mode="create")
    assert fs.cat_file("alice/b") == b"old"


def test_in_transaction(fs):
    """In a transaction many files appear with its end."""
    with fs.transaction:
        fs.pipe({"alice/a": b"x", "alice/b": b"y"})
        assert not fs.exists("alice")
    assert fs.cat(fs.find("alice")) == {"alice/a": b"x", "alice/b": b"y"}


def test_exclusive_batch_names_the_conflict(fs):
    """A batch that must be new leaves nothing when a filename is taken."""
    fs.pipe_file("alice/b", b"old")
    items = [{"data": b"x", "filename": name} for name in ("a", "b")]
    with pytest.raises(ConflictError, match="filename one of 2 is taken"):
        writing.writing.store_batch(fs.store.scope, items, "alice", exclusive=True)
    assert fs.find("alice") == ["alice/b"]

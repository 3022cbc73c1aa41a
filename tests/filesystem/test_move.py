"""Copies, renames and deletions."""

from __future__ import annotations

import pytest

from chuk_artifacts import AccessDeniedError, ArtifactNotFoundError


@pytest.fixture(autouse=True)
def _files(fs):
    """Store some files."""
    fs.pipe({"alice/a": b"a", "alice/docs/1": b"1", "alice/docs/deep/2": b"2", "alice/other/3": b"3"})


@pytest.fixture
def no_bytes_pass(store, monkeypatch):
    """Let no bytes go to the storage."""

    def fail(*_args, **_options):
        raise AssertionError("bytes were written")

    monkeypatch.setattr(store._core.storage, "put", fail)


@pytest.mark.usefixtures("no_bytes_pass")
def test_copy_is_made_by_the_storage(fs, monkeypatch):
    """A copy is another artifact with the same content, made without the bytes passing through."""
    fs.cp_file("alice/a", "alice/b")
    first, second = fs.info("alice/a"), fs.info("alice/b")
    assert first["sha256"] == second["sha256"]
    assert first["artifact_id"] != second["artifact_id"]
    monkeypatch.undo()
    fs.pipe_file("alice/a", b"changed")
    assert fs.cat_file("alice/b") == b"a"


def test_copy_onto_a_file(fs, store):
    """A copy onto a file is its next revision, with the description of what was copied; onto itself it is nothing."""
    before = fs.info("alice/docs/1")
    store.update_metadata(fs.info("alice/a")["artifact_id"], mime="text/csv", summary="s", meta={"k": 1})
    fs.cp_file("alice/a", "alice/docs/1")
    after = fs.info("alice/docs/1")
    assert (after["artifact_id"], after["revision"], after["mime"]) == (before["artifact_id"], 2, "text/csv")
    assert fs.cat_file("alice/docs/1") == b"a"
    fs.cp_file("alice/docs/1", "artifact://alice/docs/1")
    assert fs.info("alice/docs/1")["revision"] == 2


@pytest.mark.usefixtures("no_bytes_pass")
def test_move_is_a_rename(fs):
    """A move changes the filename of the artifact, and nothing else."""
    before = fs.info("alice/a")
    fs.mv("alice/a", "alice/new/b")
    after = fs.info("alice/new/b")
    assert after["artifact_id"] == before["artifact_id"]
    assert after["sha256"] == before["sha256"]
    assert not fs.exists("alice/a")
    fs.mv("artifact://alice/docs", "alice/moved", recursive=True)
    assert fs.find("alice") == ["alice/moved/1", "alice/moved/deep/2", "alice/new/b", "alice/other/3"]
    fs.mv("alice/moved/1", "alice/other/")
    fs.mv("alice/moved/deep/*", "alice/other/")
    assert fs.find("alice") == ["alice/new/b", "alice/other/1", "alice/other/2", "alice/other/3"]
    fs.mv(["alice/other/1", "alice/other/2"], ["alice/x", "alice/y"])
    assert fs.find("alice") == ["alice/new/b", "alice/other/3", "alice/x", "alice/y"]


def test_move_onto_a_file(fs, store):
    """A move onto a file takes its place; onto itself it is nothing."""
    moved = fs.info("alice/a")["artifact_id"]
    fs.mv("alice/a", "alice/docs/1")
    assert fs.cat_file("alice/docs/1") == b"a"
    assert fs.info("alice/docs/1")["artifact_id"] == moved
    assert fs.info("alice/docs/1")["others"] == 0
    fs.mv("alice/docs/1", "artifact://alice/docs/1")
    assert fs.cat_file("alice/docs/1") == b"a"
    assert len(store.list_by_session("alice")) == 3


def test_move_of_what_is_no_file(fs):
    """A missing file can't be moved, and a folder only with what is in it."""
    with pytest.raises(ArtifactNotFoundError):
        fs.mv("alice/none", "alice/b")
    with pytest.raises(ArtifactNotFoundError):
        fs.cp_file("alice/none", "alice/b")
    with pytest.raises(IsADirectoryError):
        fs.mv("alice/docs", "alice/moved")
    with pytest.raises(IsADirectoryError):
        fs.cp_file("alice/a", "alice")
    assert len(fs.find("alice")) == 4


@pytest.mark.parametrize("target", ["bob/a", "bob", "bob/", "artifact://bob/docs"])
def test_nothing_leaves_its_session(fs, target):
    """A copy or a move to another session is refused, of one file and of folders, and changes nothing."""
    before = fs.find("alice", detail=True)
    for source, recursive in (("alice/a", False), ("alice/docs", True), ("alice/*", False)):
        with pytest.raises(AccessDeniedError):
            fs.cp(source, target, recursive=recursive)
        with pytest.raises(PermissionError):
            fs.mv(source, target, recursive=recursive)
    assert fs.find("alice", detail=True) == before
    assert fs.find("bob") == []


def test_rm(fs, store):
    """What is deleted is gone with its bytes."""
    fs.rm_file("alice/a")
    fs.rm(["alice/docs/1", "artifact://alice/other/3"])
    assert fs.find("alice") == ["alice/docs/deep/2"]
    fs.rm("alice/docs", recursive=True)
    assert fs.find("alice") == []
    assert list(store._core.storage.list_objects(store.get_session_prefix_pattern())) == []


@pytest.mark.parametrize(
    ("path", "how", "left"),
    [
        ("alice", {"recursive": True}, []),
        ("alice/docs", {"recursive": True}, ["alice/a", "alice/other/3"]),
        ("alice/docs", {"recursive": True, "maxdepth": 1}, ["alice/a", "alice/docs/deep/2", "alice/other/3"]),
        ("alice/*", {"recursive": True}, []),
        ("alice/docs/?", {}, ["alice/a", "alice/docs/deep/2", "alice/other/3"]),
        (["alice/docs", "alice/docs/1", "alice/a"], {"recursive": True}, ["alice/other/3"]),
    ],
)
def test_rm_of_many(fs, path, how, left):
    """Folders, patterns and lists are deleted, and the session stays."""
    fs.rm(path, **how)
    assert fs.find("alice") == left
    assert fs.isdir("alice")


@pytest.mark.parametrize("path", ["alice/docs", ["alice/a", "alice/docs"], "alice/*", ["alice/a", "alice/none"]])
def test_rm_deletes_all_or_nothing(fs, path):
    """When one thing can't be deleted nothing is."""
    with pytest.raises((IsADirectoryError, ArtifactNotFoundError)):
        fs.rm(path)
    assert len(fs.find("alice")) == 4

"""Folders that are made before a file is in them."""

from __future__ import annotations

import pickle

import pytest

from chuk_artifacts import AccessDeniedError, InvalidInputError
from chuk_artifacts.filesystem import ArtifactFileSystem

pytestmark = pytest.mark.same_everywhere


def test_new_folder(fs):
    """A folder that was made is there in every respect, and so are those above it."""
    fs.mkdir("alice/new/folder")
    for folder in ("alice", "alice/new", "alice/new/folder"):
        assert fs.exists(folder)
        assert fs.isdir(folder)
        assert not fs.isfile(folder)
        assert fs.info(folder) == {"name": folder, "size": 0, "type": "directory"}
    assert fs.ls("alice/new/folder") == []
    assert fs.ls("alice/new", detail=False) == ["alice/new/folder"]
    assert fs.ls("artifact://alice/", detail=False) == ["alice/new"]
    assert list(fs.walk("alice")) == [
        ("alice", ["new"], []),
        ("alice/new", ["folder"], []),
        ("alice/new/folder", [], []),
    ]
    assert fs.find("alice") == []
    assert fs.find("alice", withdirs=True) == ["alice", "alice/new", "alice/new/folder"]
    assert fs.find("alice", withdirs=True, maxdepth=1) == ["alice", "alice/new"]
    assert fs.glob("alice/*") == ["alice/new"]
    assert fs.du("alice") == 0
    with pytest.raises(IsADirectoryError):
        fs.cat_file("alice/new")


def test_among_files(fs):
    """A folder that was made is listed among files and other folders, in order and once."""
    fs.pipe({"alice/a/1": b"", "alice/b": b"", "alice/d": b""})
    for folder in ("a", "c", "d", "a/2"):
        fs.mkdir(f"alice/{folder}")
    assert fs.ls("alice", detail=False) == ["alice/a", "alice/b", "alice/c", "alice/d"]
    assert fs.ls("alice/a", detail=False) == ["alice/a/1", "alice/a/2"]


@pytest.mark.parametrize(
    "write",
    [
        lambda fs, path: fs.pipe_file(path, b"x"),
        lambda fs, path: fs.pipe_file(path, b"x", mode="create"),
        lambda fs, path: fs.touch(path),
        lambda fs, path: fs.cp_file("alice/other", path),
        lambda fs, path: fs.mv("alice/other", path),
        lambda fs, path: fs.write_text(path, "x"),
        lambda fs, path: ArtifactFileSystem(fs.store).pipe_file(path, b"x") or fs.ls(path.rpartition("/")[0]),
        lambda fs, path: ArtifactFileSystem(fs.store).pipe_file(path, b"x") or fs.find("alice"),
    ],
    ids=["pipe", "create", "touch", "copy", "move", "text", "seen in ls", "seen in find"],
)
def test_gone_with_its_last_file(fs, write):
    """A folder that was made is forgotten when a file is in it, and gone with that file."""
    fs.pipe_file("alice/other", b"x")
    fs.mkdir("alice/new/folder")
    write(fs, "alice/new/folder/a")
    assert fs.isfile("alice/new/folder/a")
    fs.rm("alice/new/folder/a")
    assert not fs.exists("alice/new/folder")


def test_written_file(fs):
    """A file that is written piece by piece is in the folder when it is closed."""
    fs.mkdir("alice/new")
    with fs.open("alice/new/a", "wb") as file:
        assert fs.ls("alice/new") == []
        file.write(b"x")
    fs.rm_file("alice/new/a")
    assert not fs.exists("alice/new")


def test_removed(fs):
    """An empty folder is removed, one with something in it is not, and removing what is not there is harmless."""
    fs.makedirs("alice/new/folder", exist_ok=True)
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("alice/new")
    fs.rmdir("alice/new/folder")
    assert not fs.exists("alice/new/folder")
    assert fs.exists("alice/new")
    fs.rmdir("alice/new")
    fs.rmdir("alice/new")
    assert not fs.exists("alice/new")


@pytest.mark.parametrize("pattern", ["alice/new", "alice/n*"])
def test_removed_with_its_files(fs, pattern):
    """A folder is removed with all that is in it, made or stored."""
    fs.pipe_file("alice/new/a", b"x")
    fs.mkdir("alice/new/folder/deep")
    fs.mkdir("alice/other")
    fs.rm(pattern, recursive=True)
    assert fs.ls("alice", detail=False) == ["alice/other"]


def test_copied_and_moved(fs):
    """An empty folder is copied and moved with the folder that it is in, and only then."""
    fs.pipe_file("alice/new/a", b"x")
    fs.mkdir("alice/new/folder")
    fs.cp("alice/new/folder", "alice/copy")
    assert not fs.exists("alice/copy")
    fs.cp("alice/new", "alice/copy", recursive=True)
    fs.mv("alice/new", "alice/moved", recursive=True)
    assert not fs.exists("alice/new")
    for folder in ("alice/copy", "alice/moved"):
        assert fs.ls(folder, detail=False) == [f"{folder}/a", f"{folder}/folder"]


def test_copied_to_disk_and_back(fs, tmp_path):
    """An empty folder travels to the local disk and back."""
    fs.mkdir("alice/new/folder")
    fs.get("alice/new", str(tmp_path / "new"), recursive=True)
    assert (tmp_path / "new/folder").is_dir()
    fs.put(str(tmp_path / "new"), "alice/back", recursive=True)
    assert fs.isdir("alice/back/folder")


def test_of_one_filesystem(fs, tmp_path):
    """What a filesystem has made no other one sees, and nothing is stored."""
    fs.mkdir("alice/new")
    assert not ArtifactFileSystem(fs.store).exists("alice/new")
    assert not fs.store.validate_session("alice")
    another = ArtifactFileSystem(storage_provider="filesystem", fs_root=str(tmp_path / "another"))
    another.mkdir("alice/new")
    assert not pickle.loads(pickle.dumps(another)).exists("alice/new")


@pytest.mark.parametrize("path", ["alice/../bob", "alice/a\0b", "alice/a\\..\\b", "alice/" + "x" * 5000, "../x"])
def test_bad_names(fs, path):
    """A folder that no file could be in is refused."""
    with pytest.raises(InvalidInputError):
        fs.mkdir(path)
    assert not fs.exists(path)


def test_of_another_session(fs):
    """A bound filesystem makes no folder in another session."""
    bound = ArtifactFileSystem(fs.store, session_id="alice")
    with pytest.raises(AccessDeniedError):
        bound.mkdir("bob/new")
    bound.mkdir("alice/new")
    assert bound.ls("", detail=False) == ["alice"]

"""Paths that look like patterns: a file that exists is meant itself, and no other one is touched."""

from __future__ import annotations

import os

import fsspec
import pytest
from fsspec.generic import GenericFileSystem, _generic_fs, rsync
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.dirfs import DirFileSystem

from chuk_artifacts import ArtifactNotFoundError

LOOKALIKES = {
    "q?.csv": "qz.csv",
    "a[1].csv": "a1.csv",
    "all*": "allowed",
    "**": "anything",
    "[!x]": "y",
    "deep/[ab]?*": "deep/abc",
}
"""Names that look like patterns, each with one that the pattern matches."""


@pytest.fixture
def options():
    """Return the arguments of a store in memory: a backend does not know of paths."""
    return {}


@pytest.fixture(params=LOOKALIKES)
def path(fs, request):
    """Store a file with such a name beside others, return its path, and check that the others stay as they are."""
    others = [f"alice/{LOOKALIKES[request.param]}", "alice/bystander"]
    fs.pipe({f"alice/{request.param}": b"meant", **dict.fromkeys(others, b"other")})
    yield f"alice/{request.param}"
    for other in others:
        assert fs.cat_file(other) == b"other"
        assert fs.info(other)["revision"] == 1


REMOVALS = {
    "rm_file": lambda fs, path: fs.rm_file(path),
    "rm": lambda fs, path: fs.rm(path),
    "rm of a URL": lambda fs, path: fs.rm(f"artifact://{path}"),
    "rm of a list": lambda fs, path: fs.rm([path]),
    "rm, recursive": lambda fs, path: fs.rm(path, recursive=True),
    "rm of a list, recursive": lambda fs, path: fs.rm([path], recursive=True),
    "rm with a depth": lambda fs, path: fs.rm(path, recursive=True, maxdepth=1),
    "rm of what is found": lambda fs, path: fs.rm(fs.find(path)),
    "rm of what is expanded": lambda fs, path: fs.rm(fs.expand_path([path, path])),
    "delete": lambda fs, path: fs.delete(path),
    "mapping": lambda fs, path: fs.get_mapper("alice").__delitem__(path.removeprefix("alice/")),
    "keys of a mapping": lambda fs, path: fs.get_mapper("alice").delitems([path.removeprefix("alice/")]),
    "below a folder": lambda fs, path: DirFileSystem("alice", fs).rm(path.removeprefix("alice/")),
    "one below a folder": lambda fs, path: DirFileSystem("alice", fs).rm_file(path.removeprefix("alice/")),
    "asynchronous": lambda fs, path: AsyncFileSystemWrapper(fs, asynchronous=False).rm(path),
    "one, asynchronous": lambda fs, path: AsyncFileSystemWrapper(fs, asynchronous=False).rm_file(path),
}


@pytest.mark.parametrize("way", REMOVALS)
def test_removal_is_literal(fs, path, way):
    """However one file is deleted, it is that file."""
    REMOVALS[way](fs, path)
    assert not fs.exists(path)
    assert len(fs.find("alice")) == 2


RENAMES = {
    "mv_file": lambda fs, path: fs.mv_file(path, "alice/new"),
    "mv": lambda fs, path: fs.mv(path, "alice/new"),
    "mv of a URL": lambda fs, path: fs.mv(f"artifact://{path}", "artifact://alice/new"),
    "mv, recursive": lambda fs, path: fs.mv(path, "alice/new", recursive=True),
    "mv with a depth": lambda fs, path: fs.mv(path, "alice/new", recursive=True, maxdepth=1),
    "mv of lists": lambda fs, path: fs.mv([path], ["alice/new"]),
    "mv to a list": lambda fs, path: fs.mv(path, ["alice/new"]),
    "rename": lambda fs, path: fs.rename(path, "alice/new"),
    "move": lambda fs, path: fs.move(path, "alice/new"),
    "cp_file and rm_file": lambda fs, path: (fs.cp_file(path, "alice/new"), fs.rm_file(path)),
    "cp and rm": lambda fs, path: (fs.cp(path, "alice/new"), fs.rm(path)),
    "copy and delete": lambda fs, path: (fs.copy(path, "alice/new", recursive=True), fs.delete(path)),
    "cp of lists": lambda fs, path: (fs.cp([path], ["alice/new"]), fs.rm([path])),
    "cp of tuples": lambda fs, path: (fs.cp((path,), ("alice/new",)), fs.rm((path,))),
    "below a folder": lambda fs, path: DirFileSystem("alice", fs).mv(path.removeprefix("alice/"), "new"),
}


@pytest.mark.parametrize("way", RENAMES)
def test_rename_is_literal(fs, path, way):
    """However one file is renamed or copied, it is that file, and it comes to be where it was sent."""
    RENAMES[way](fs, path)
    assert not fs.exists(path)
    assert fs.cat_file("alice/new") == b"meant"
    assert len(fs.find("alice")) == 3


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize("target", ["alice/folder/", "alice/folder"])
def test_literal_path_goes_into_a_folder(fs, path, target, move):
    """A file whose name looks like a pattern goes into a folder under its name, as any other."""
    fs.pipe_file("alice/folder/x", b"x")
    (fs.mv if move else fs.cp)(path, target)
    assert fs.cat_file(f"alice/folder/{path.rpartition('/')[2]}") == b"meant"
    assert fs.exists(path) == (not move)
    fs.rm("alice/folder", recursive=True)


READS = {
    "cat_file": lambda fs, path: fs.cat_file(path),
    "read_bytes": lambda fs, path: fs.read_bytes(path),
    "read_text": lambda fs, path: fs.read_text(path).encode(),
    "cat": lambda fs, path: fs.cat(path),
    "cat of a list": lambda fs, path: fs.cat([path])[path],
    "cat_ranges": lambda fs, path: fs.cat_ranges([path], 0, None)[0],
    "head": lambda fs, path: fs.head(path),
    "tail": lambda fs, path: fs.tail(path),
    "read_block": lambda fs, path: fs.read_block(path, 0, None),
    "open": lambda fs, path: fs.open(path).read(),
    "URL": lambda fs, path: fsspec.open(f"artifact://{path}", store=fs.store).open().read(),
    "mapping": lambda fs, path: fs.get_mapper("alice")[path.removeprefix("alice/")],
    "keys of a mapping": lambda fs, path: fs.get_mapper("alice").getitems([name := path.removeprefix("alice/")])[name],
}


@pytest.mark.parametrize("way", READS)
def test_reading_is_literal(fs, path, way):
    """However one file is read, it is that file."""
    assert READS[way](fs, path) == b"meant"


def test_questions_are_literal(fs, path, clock):
    """What is asked about one file is answered of that file."""
    other = f"alice/{LOOKALIKES[path.removeprefix('alice/')]}"
    clock.advance(60)
    fs.pipe_file(path, b"longer than before")
    assert fs.info(path)["name"] == fs.stat(path)["name"] == path
    assert fs.size(path) == fs.sizes([path])[0] == fs.du(path) == fs.disk_usage(path) == 18
    assert fs.du(path, total=False) == {path: 18}
    assert fs.find(path) == [path]
    assert fs.expand_path(path) == fs.expand_path([path]) == fs.expand_path(path, recursive=True) == [path]
    for ask in (fs.checksum, fs.ukey, fs.modified, fs.sign):
        assert ask(path) != ask(other)
    fs.rm_file(path)
    assert not fs.exists(path)
    assert not fs.lexists(path)
    assert not fs.isfile(path)
    for ask in (fs.info, fs.created, fs.modified, fs.checksum, fs.ukey, fs.sign, fs.cat_file, fs.open, fs.rm_file):
        with pytest.raises(ArtifactNotFoundError):
            ask(path)
    with pytest.raises(ArtifactNotFoundError):
        fs.mv_file(path, "alice/new")
    with pytest.raises(ArtifactNotFoundError):
        fs.cp_file(path, "alice/new")


def test_writing_is_literal(fs, path, tmp_path):
    """However one file is written, it is that file."""
    (tmp_path / "local").write_bytes(b"local")
    writes = {
        b"piped": lambda: fs.pipe_file(path, b"piped"),
        b"pipe": lambda: fs.pipe({path: b"pipe"}),
        b"local": lambda: fs.put_file(tmp_path / "local", path),
        b"": lambda: fs.touch(path),
    }
    for content, write in writes.items():
        write()
        assert fs.cat_file(path) == content
    with fs.open(path, "wb") as file:
        file.write(b"opened")
    fs.touch(path, truncate=False)
    assert fs.cat_file(path) == b"opened"
    for target in (path, [path]):
        fs.put(str(tmp_path / "local") if target is path else [str(tmp_path / "local")], target)
        assert fs.cat_file(path) == b"local"
    fs.cp("alice/bystander", path)
    assert fs.cat_file(path) == b"other"
    assert len(fs.find("alice")) == 3


@pytest.mark.parametrize("as_list", [False, True])
def test_get_is_literal(fs, path, tmp_path, as_list):
    """A file whose name looks like a pattern is copied to the local disk under the name that was given, or its own."""
    fs.get([path] if as_list else path, [str(tmp_path / "x")] if as_list else str(tmp_path / "x"))
    fs.get_file(path, tmp_path / "y")
    (tmp_path / "in").mkdir()
    fs.get([path] if as_list else path, str(tmp_path / "in"))
    assert [os.fspath(file.relative_to(tmp_path)) for file in sorted(tmp_path.rglob("*")) if file.is_file()] == [
        f"in/{path.rpartition('/')[2]}",
        "x",
        "y",
    ]
    assert {file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == {b"meant"}


@pytest.mark.parametrize("way", ["one", "list", "into a folder", "recursive"])
def test_put_is_literal(fs, tmp_path, way):
    """A local file whose name looks like a pattern is the one that is stored."""
    (tmp_path / "a[1].csv").write_bytes(b"meant")
    (tmp_path / "a1.csv").write_bytes(b"other")
    local = str(tmp_path / "a[1].csv")
    if way == "list":
        fs.put([local], "alice/in/")
    else:
        fs.put(local, "alice/in/" if way == "into a folder" else "alice/in", recursive=way == "recursive")
    (found,) = fs.find("alice")
    assert found == ("alice/in/a[1].csv" if way in {"list", "into a folder"} else "alice/in")
    assert fs.cat_file(found) == b"meant"


def test_folder_that_looks_like_a_pattern(fs, tmp_path):
    """A folder that exists is meant itself as well: what is below a folder that its name matches stays."""
    fs.pipe({"alice/d[1]/x": b"meant", "alice/d1/x": b"other"})
    assert fs.cat("alice/d[1]/x") == b"meant"
    fs.get("alice/d[1]", str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got" / "x").read_bytes() == b"meant"
    fs.cp("alice/d[1]", "alice/copy", recursive=True)
    fs.mv("alice/d[1]", "alice/moved[1]", recursive=True)
    assert fs.cat(fs.find("alice")) == {"alice/copy/x": b"meant", "alice/d1/x": b"other", "alice/moved[1]/x": b"meant"}
    fs.pipe_file("alice/moved1/x", b"other")
    with pytest.raises(IsADirectoryError):
        fs.rm("alice/moved[1]")
    fs.rm("alice/moved[1]", recursive=True)
    assert fs.find("alice") == ["alice/copy/x", "alice/d1/x", "alice/moved1/x"]


def test_pattern_is_one_where_nothing_has_its_name(fs):
    """A pattern that is no file still matches, beside literal paths in the same list too."""
    fs.pipe({"alice/a1": b"1", "alice/a2": b"2", "alice/b[1]": b"3", "alice/b1": b"4", "alice/c": b"5"})
    assert fs.cat("alice/a?") == {"alice/a1": b"1", "alice/a2": b"2"}
    assert fs.expand_path(["alice/a?", "alice/b[1]", "alice/z*"]) == ["alice/a1", "alice/a2", "alice/b[1]"]
    assert fs.glob("alice/b[1]") == ["alice/b1"]
    fs.rm(["alice/a?", "alice/b[1]"])
    assert fs.find("alice") == ["alice/b1", "alice/c"]
    with pytest.raises(ArtifactNotFoundError):
        fs.rm("alice/z*")
    fs.mv("alice/?", "alice/new/")
    assert fs.find("alice") == ["alice/b1", "alice/new/c"]


def test_rsync_deletes_what_is_missing_and_nothing_else(fs, tmp_path):
    """A folder that is synchronised loses what its source has not, by name, and keeps what a pattern would match."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a1.csv", "qz.csv"):
        (source / name).write_bytes(b"kept")
    fs.pipe({f"alice/sync/{name}": b"kept" for name in ("a1.csv", "a[1].csv", "qz.csv", "q?.csv", "*")})
    both = GenericFileSystem(default_method="generic")
    _generic_fs.update({"artifact": fs, "file": fsspec.filesystem("file")})
    try:
        rsync(f"file://{source}", "artifact://alice/sync", delete_missing=True, fs=both)
    finally:
        _generic_fs.clear()
    assert fs.cat(fs.find("alice")) == {"alice/sync/a1.csv": b"kept", "alice/sync/qz.csv": b"kept"}


def test_rsync_between_folders_of_one_filesystem(fs):
    """Folders of one filesystem are synchronised name by name."""
    fs.pipe({"alice/from/a[1]": b"meant", "alice/from/a1": b"longer", "alice/from/?": b"", "alice/to/b[1]": b"x"})
    fs.pipe_file("alice/to/b1", b"x")
    both = GenericFileSystem(default_method="generic")
    _generic_fs["artifact"] = fs
    try:
        rsync("artifact://alice/from", "artifact://alice/to", delete_missing=True, fs=both)
    finally:
        _generic_fs.clear()
    assert fs.cat(fs.find("alice/to")) == {"alice/to/a[1]": b"meant", "alice/to/a1": b"longer", "alice/to/?": b""}
    assert len(fs.find("alice/from")) == 3

"""Copies, renames and deletions."""

from __future__ import annotations

import pytest

from chuk_artifacts import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ArtifactStore,
    InvalidInputError,
    ProviderError,
    QuotaExceededError,
)
from chuk_artifacts.filesystem import ArtifactFileSystem
from chuk_artifacts.operations import changing


@pytest.fixture(autouse=True)
def _files(fs):
    """Store some files."""
    fs.pipe({"alice/a": b"a", "alice/docs/1": b"1", "alice/docs/deep/2": b"2", "alice/other/3": b"3"})


@pytest.fixture
def no_bytes_pass(store, monkeypatch):
    """Let no bytes go to the storage."""

    def fail(*_args, **_options):
        raise AssertionError("bytes were written")

    monkeypatch.setattr(store.scope.core.storage, "put", fail)


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
    assert list(store.scope.core.storage.list_objects(store.get_session_prefix_pattern())) == []


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


FILES = {"alice/a", "alice/docs/1", "alice/docs/deep/2", "alice/other/3"}


def contents(fs, folder="alice"):
    """Return the contents of the files of a folder by their names in it."""
    return {path.removeprefix(f"{folder}/"): fs.cat_file(path).decode() for path in fs.find(folder)}


@pytest.mark.parametrize(
    ("source", "target", "how"),
    [
        ("alice/docs", "alice/docs", {"recursive": True}),
        ("artifact://alice/docs", "alice/docs/", {"recursive": True}),
        ("alice/docs/", "artifact:///alice/docs", {"recursive": True}),
        ("alice/docs/", "alice/docs", {"recursive": True, "maxdepth": 1}),
        ("alice", "alice", {"recursive": True}),
        ("alice/a", "alice/a", {}),
        ("alice/a", "alice/", {}),
        ("alice/a", "alice", {"recursive": True}),
        ("alice/*", "alice", {}),
        ("alice/*", "alice/", {"recursive": True}),
        ("alice/docs/*", "alice/docs", {}),
        ("alice/docs/*", "alice/docs", {"recursive": True}),
        ("alice/docs/**", "alice/docs", {"recursive": True}),
        ("alice/docs/deep", "alice/docs", {"recursive": True}),
        (["alice/docs/1", "alice/a"], ["alice/docs/1", "artifact://alice/a"], {}),
        (["alice/docs"], ["alice/docs"], {"recursive": True}),
        (["alice/docs/1"], "alice/docs", {}),
    ],
)
def test_move_onto_itself_changes_nothing(fs, source, target, how):
    """What is moved to where it is stays as it is, records and all."""
    before = fs.find("alice", detail=True)
    fs.mv(source, target, **how)
    assert fs.find("alice", detail=True) == before


@pytest.mark.parametrize(
    ("source", "target", "how"),
    [
        ("alice/docs", "alice/docs/new", {"recursive": True}),
        ("alice/docs", "alice/docs/deep", {"recursive": True}),
        ("alice/docs", "alice/docs/deep/new/", {"recursive": True}),
        ("alice/docs/", "artifact://alice/docs/deep", {"recursive": True}),
        ("alice/docs", "alice/docs/deep/2", {"recursive": True}),
        ("alice/docs", "alice/docs/new", {"recursive": True, "maxdepth": 2}),
        ("alice", "alice/all", {"recursive": True}),
        ("alice/*", "alice/docs", {"recursive": True}),
        ("alice/docs/*", "alice/docs/deep", {"recursive": True}),
        (["alice/a", "alice/docs"], "alice/docs", {"recursive": True}),
        (["alice/a", "alice/docs"], ["alice/b", "alice/docs/new"], {"recursive": True}),
    ],
)
def test_move_into_itself_is_refused(fs, source, target, how):
    """A folder can't move into itself, however it is named, and nothing moves."""
    before = fs.find("alice", detail=True)
    with pytest.raises(InvalidInputError, match="into itself"):
        fs.mv(source, target, **how)
    assert fs.find("alice", detail=True) == before


@pytest.mark.parametrize("transfer", ["mv", "cp"])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (["alice/a", "alice/docs/1"], ["alice/x", "alice/x"]),
        (["alice/a", "alice/docs/1"], ["alice/a", "artifact://alice/a"]),
        (["alice/x/1", "alice/docs/1"], "alice/new"),
        ("alice/*/1", ["alice/new", "alice/new"]),
        (["alice/docs", "alice/x"], "alice/new"),
        (["alice/docs", "alice/x"], ["alice/new", "alice/new"]),
    ],
)
def test_two_files_never_become_one(fs, source, target, transfer):
    """Files that would come to be at one path are refused, before one of them is."""
    fs.pipe_file("alice/x/1", b"x")
    before = fs.find("alice", detail=True)
    with pytest.raises(InvalidInputError, match="both become"):
        getattr(fs, transfer)(source, target, recursive=True)
    assert fs.find("alice", detail=True) == before


def test_two_local_files_never_become_one(fs, tmp_path):
    """Nor do those that come from the local disk, or go there."""
    for folder in ("1", "2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text(folder)
    with pytest.raises(InvalidInputError, match="both become"):
        fs.put([str(tmp_path / "1" / "x"), str(tmp_path / "2" / "x")], "alice/new")
    fs.pipe({"alice/1/x": b"", "alice/2/x": b""})
    with pytest.raises(InvalidInputError, match="both become"):
        fs.get(["alice/1/x", "alice/2/x"], str(tmp_path / "new"))
    assert fs.find("alice/new") == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("transfer", ["mv", "cp", "get", "put"])
def test_as_many_targets_as_sources(fs, transfer):
    """Lists of different lengths are refused, and nothing is left out silently."""
    with pytest.raises(InvalidInputError, match="2 paths can't become 1"):
        getattr(fs, transfer)(["alice/a", "alice/docs/1"], ["alice/x"])
    assert set(fs.find("alice")) == FILES


def test_one_file_does_not_move_to_two_places(fs):
    """A file can be copied to two places, and can't move to both."""
    with pytest.raises(InvalidInputError, match="can't move to both"):
        fs.mv(["alice/a", "alice/a"], ["alice/x", "alice/y"])
    assert set(fs.find("alice")) == FILES
    fs.cp(["alice/a", "alice/a"], ["alice/x", "alice/y"])
    assert fs.cat(["alice/x", "alice/y"]) == {"alice/x": b"a", "alice/y": b"a"}
    fs.mv(["alice/a", "alice/a"], ["alice/z", "alice/z"])
    assert fs.cat_file("alice/z") == b"a"


OVERLAPS = {
    "files change places": (["a", "docs/1"], ["docs/1", "a"], {"a": "1", "docs/1": "a"}),
    "files change places in a circle": (
        ["a", "docs/1", "other/3"],
        ["docs/1", "other/3", "a"],
        {"a": "3", "docs/1": "a", "other/3": "1"},
    ),
    "each moves onto the next": (
        ["a", "docs/1", "other/3"],
        ["docs/1", "other/3", "z"],
        {"docs/1": "a", "other/3": "1", "z": "3"},
    ),
    "each moves onto the one before": (
        ["a", "docs/1", "other/3"],
        ["z", "a", "docs/1"],
        {"z": "a", "a": "1", "docs/1": "3"},
    ),
    "a circle and what moves onto another file": (
        ["a", "docs/1", "docs/deep/2"],
        ["docs/1", "a", "other/3"],
        {"a": "1", "docs/1": "a", "other/3": "2"},
    ),
}


@pytest.mark.parametrize("way", OVERLAPS)
def test_overlapping_moves_lose_nothing(fs, store, way):
    """Files that move to where others move away are all there afterwards; only what is not moved is replaced."""
    sources, targets, expected = OVERLAPS[way]
    fs.mv([f"alice/{name}" for name in sources], [f"alice/{name}" for name in targets])
    after = contents(fs)
    assert {name: after[name] for name in expected} == expected
    assert len(after) == len(store.list_by_session("alice")) == 4 - ("replaced" in way or "another" in way)
    assert {info["others"] for info in fs.find("alice", detail=True).values()} == {0}


@pytest.mark.parametrize("way", OVERLAPS)
def test_overlapping_copies_are_of_what_was_there(fs, way):
    """Each copy holds what its source held before the first copy, also where that was overwritten by then."""
    sources, targets, expected = OVERLAPS[way]
    fs.cp([f"alice/{name}" for name in sources], [f"alice/{name}" for name in targets])
    after = contents(fs)
    moved = {target: expected[target] for target in targets}
    assert {name: after[name] for name in moved} == moved
    assert len(after) == 4 + ("z" in targets)


@pytest.fixture
def nested(fs):
    """Return the path of a folder that holds one of its own name, twice."""
    fs.rm("alice", recursive=True)
    fs.pipe({"alice/a/1": b"1", "alice/a/a/1": b"2", "alice/a/a/a/1": b"3", "alice/a/a/x": b"4"})
    return "alice/a"


def test_folder_moves_up_onto_files_that_move_too(fs, nested):
    """A folder takes the place of the one it is in, whose files are replaced unless they move themselves."""
    fs.mv(f"{nested}/a/", nested, recursive=True)
    assert contents(fs) == {"a/1": "2", "a/a/1": "3", "a/x": "4"}


def test_copy_into_itself_ends(fs, nested):
    """A folder that is copied into itself holds a copy of what was there, and no copy of the copy."""
    fs.cp("alice/a", "alice/a/a", recursive=True)
    assert contents(fs, "alice/a") == {
        "1": "1",
        "a/1": "2",
        "a/a/1": "1",
        "a/x": "4",
        "a/a/a/1": "2",
        "a/a/a/a/1": "3",
        "a/a/a/x": "4",
    }


def test_copy_of_a_folder_onto_itself(fs):
    """A folder copied to where it is, with a slash for what is in it, stays as it is."""
    before = fs.find("alice", detail=True)
    fs.cp("alice/docs/", "alice/docs", recursive=True)
    fs.cp("alice/docs/*", "alice/docs", recursive=True)
    assert fs.find("alice", detail=True) == before


def test_move_of_a_list_with_a_folder(fs):
    """A list that names a folder moves with what is in it, or not at all."""
    for target in ("alice/new", ["alice/b", "alice/new"]):
        with pytest.raises(IsADirectoryError):
            fs.mv(["alice/a", "alice/docs"], target)
        assert set(fs.find("alice")) == FILES
    fs.mv(["alice/a", "alice/docs"], ["alice/b", "alice/new"], recursive=True)
    assert fs.find("alice") == ["alice/b", "alice/new/1", "alice/new/deep/2", "alice/other/3"]


@pytest.mark.parametrize("transfer", ["mv", "cp"])
def test_nothing_happens_where_a_file_is_missing(fs, transfer):
    """When one of several files is not there, none is moved or copied."""
    before = fs.find("alice", detail=True)
    with pytest.raises(ArtifactNotFoundError):
        getattr(fs, transfer)(["alice/a", "alice/none"], ["alice/x", "alice/y"])
    assert fs.find("alice", detail=True) == before
    fs.cp(["alice/a", "alice/none"], ["alice/x", "alice/y"], on_error="ignore")
    assert fs.cat_file("alice/x") == b"a"


@pytest.mark.parametrize("broken", range(2))
def test_move_that_stops_halfway_loses_nothing(fs, store, monkeypatch, broken):
    """When the catalog fails in the middle of a move, every file is there under its old name or its new one."""
    calls = iter(range(broken, -9, -1))

    def fail_at_last(verb):
        real = getattr(store.scope.core.catalog, verb)

        def fail(*args, **options):
            if next(calls) <= 0:
                raise ProviderError("down")
            return real(*args, **options)

        monkeypatch.setattr(store.scope.core.catalog, verb, fail)

    for verb in ("replace", "replace_each", "remove"):
        fail_at_last(verb)
    sources = ["alice/a", "alice/docs/1", "alice/docs/deep/2"]
    with pytest.raises(ProviderError):
        fs.mv(sources, ["alice/docs/1", "alice/a", "alice/other/3"])
    monkeypatch.undo()
    kept = sorted(store.retrieve(artifact.artifact_id) for artifact in store.list_by_session("alice"))
    assert kept == [b"1", b"2", b"3", b"a"]


def test_no_file_moves_onto_one_that_is_yet_to_move(fs, store, monkeypatch):
    """Of files that each move onto the next the last moves first: where it stops halfway, no path stands for two."""
    renamed = []
    monkeypatch.setattr(changing, "rename_all", lambda _, names: renamed.extend(names))
    fs.mv(["alice/a", "alice/docs/1", "alice/other/3"], ["alice/docs/1", "alice/other/3", "alice/z"])
    assert [(record.filename, name) for record, name in renamed] == [
        ("other/3", "z"),
        ("docs/1", "other/3"),
        ("a", "docs/1"),
    ]


def test_folder_of_one_file_keeps_its_shape(fs):
    """A folder with one file, moved or copied to a depth, is still a folder with one file."""
    fs.cp("alice/other", "alice/copy", recursive=True, maxdepth=1)
    fs.mv("alice/other", "alice/moved", recursive=True, maxdepth=1)
    assert contents(fs, "alice/copy") == contents(fs, "alice/moved") == {"3": "3"}


def test_names_with_empty_segments_keep_them(fs):
    """A name that holds two slashes in a row keeps both when its folder moves."""
    fs.pipe({"alice/s/x": b"1", "alice/s//x": b"2"})
    fs.mv("alice/s", "alice/t", recursive=True)
    assert contents(fs, "alice/t") == {"/x": "2", "x": "1"}


def test_file_and_folder_of_one_name_move_together(fs):
    """A file moves below its own name, unless it is a folder as well, which moves only with all that is in it."""
    fs.mv("alice/a", "alice/a/b")
    assert fs.cat_file("alice/a/b") == b"a"
    fs.pipe_file("alice/a", b"file")
    with pytest.raises(InvalidInputError, match="into itself"):
        fs.mv("alice/a", "alice/a/c", recursive=True)
    fs.mv("alice/a", "alice/z", recursive=True)
    assert (fs.cat_file("alice/z"), fs.cat_file("alice/z/b")) == (b"file", b"a")


def test_many_are_renamed_at_once(fs, monkeypatch):
    """A folder of files is renamed by one call of the catalog, each file to its new name."""
    for number in range(20):
        fs.pipe_file(f"bob/from/{number}", b"%d" % number)
    catalog = fs.store.scope.core.catalog
    calls, replace_each = [], catalog.replace_each

    def noted(changes):
        calls.append(len(changes))
        return replace_each(changes)

    monkeypatch.setattr(catalog, "replace_each", noted)
    fs.mv("bob/from", "bob/to", recursive=True)
    assert calls == [20]
    assert {path: fs.cat_file(path) for path in fs.find("bob")} == {
        f"bob/to/{number}": b"%d" % number for number in range(20)
    }


def test_rename_beside_another_change(fs, monkeypatch):
    """A file that is changed while it is renamed keeps both changes."""
    fs.pipe_file("bob/a", b"a")
    (artifact,) = fs.store.list_by_session("bob")
    catalog = fs.store.scope.core.catalog
    replace_each = catalog.replace_each

    def late(changes):
        monkeypatch.setattr(catalog, "replace_each", replace_each)
        fs.store.update_metadata(artifact.artifact_id, summary="meanwhile")
        return replace_each(changes)

    monkeypatch.setattr(catalog, "replace_each", late)
    fs.mv("bob/a", "bob/b")
    renamed = fs.store.metadata(artifact.artifact_id)
    assert (renamed.filename, renamed.summary, renamed.revision) == ("b", "meanwhile", 3)


def test_what_lands_on_the_other_kind_replaces_nothing(fs, tmp_path):
    """A folder that lands on a file, and a file that lands on a folder, stand beside it."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "x").write_bytes(b"x")
    fs.put(str(tmp_path / "local"), "alice/a", recursive=True)
    fs.cp("alice/other", "alice/docs/1", recursive=True)
    fs.mv(["alice/other/3"], ["alice/docs"])
    assert contents(fs) == {"a": "a", "a/x": "x", "docs": "3", "docs/1": "1", "docs/1/3": "3", "docs/deep/2": "2"}


def test_copies_keep_to_the_limits(tmp_path):
    """Copying a folder keeps to the limits of the store, and what is refused leaves nothing."""
    place = {"storage_provider": "filesystem", "fs_root": str(tmp_path / "limited")}
    with ArtifactStore(**place) as store:
        fs = ArtifactFileSystem(store)
        fs.pipe({"alice/docs/a": b"x" * 10, "alice/docs/b": b"x" * 30})
    for limit in ("max_artifact_bytes", "max_session_bytes"):
        with ArtifactStore(**place, **{limit: 29 if limit == "max_artifact_bytes" else 79}) as store:
            fs = ArtifactFileSystem(store)
            with pytest.raises(QuotaExceededError):
                fs.cp("alice/docs/", "alice/new/", recursive=True)
            assert fs.find("alice") == ["alice/docs/a", "alice/docs/b"]
            grid = f"grid/{store.sandbox_id}/"
            assert sum(item.bytes for item in store.scope.core.storage.list_objects(grid)) == 40


def test_copies_take_the_place_of_expired_files():
    """A folder is copied in a full session when expired files can make room for it."""
    now = [1_800_000_000.0]
    with ArtifactStore(max_session_bytes=30, clock=lambda: now[0]) as store:
        fs = ArtifactFileSystem(store)
        store.store(b"x" * 20, session_id="alice", ttl=60)
        fs.pipe({"alice/docs/a": b"a" * 4, "alice/docs/b": b"b" * 4})
        now[0] += 61
        fs.cp("alice/docs/", "alice/new/", recursive=True)
        assert store.usage("alice").bytes == 16

"""What is in a folder, and what it costs to know."""

from __future__ import annotations

import pytest

from chuk_artifacts.operations import listing


def listed(info):
    """Return the part of an info that a listing contains."""
    return {name: value for name, value in info.items() if name != "versions"}


TREE = [
    "a.txt",
    "docs/a.txt",
    "docs/b/1.txt",
    "docs/b/2.txt",
    "docs/b0",
    "docs/c.txt",
    "docs/deep/er/x",
    "docs.txt",
    "z",
]


@pytest.fixture
def tree(fs):
    """Fill a session, and one beside it."""
    fs.pipe({f"alice/{name}": name.encode() for name in TREE})
    fs.pipe({"alice2/docs/x": b"", "bob/x": b""})


def names(infos):
    """Return names and types."""
    return [(info["name"], info["type"]) for info in infos]


@pytest.mark.usefixtures("tree")
def test_ls(fs):
    """A listing holds what is directly in the folder, each folder once, in the order of names."""
    assert names(fs.ls("artifact://alice/docs/")) == [
        ("alice/docs/a.txt", "file"),
        ("alice/docs/b", "directory"),
        ("alice/docs/b0", "file"),
        ("alice/docs/c.txt", "file"),
        ("alice/docs/deep", "directory"),
    ]
    assert fs.ls("alice", detail=False) == ["alice/a.txt", "alice/docs.txt", "alice/docs", "alice/z"]
    assert fs.ls("alice/docs/a.txt") == [listed(fs.info("alice/docs/a.txt"))]
    assert [listed(fs.info(info["name"])) for info in fs.ls("alice/docs")] == fs.ls("alice/docs")
    assert sorted(fs.listdir("alice", detail=False)) == sorted(fs.glob("alice/*"))


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("maxdepth", [None, 1, 2, 3])
@pytest.mark.parametrize("withdirs", [True, False])
@pytest.mark.parametrize("folder", ["alice", "alice/docs", "alice/docs/b"])
def test_find(fs, folder, withdirs, maxdepth):
    """Find returns what a walk through the folders returns."""
    expected = {folder: fs.info(folder)} if withdirs else {}
    for _, dirs, files in fs.walk(folder, maxdepth=maxdepth, detail=True):
        expected.update({info["name"]: info for info in files.values()})
        if withdirs:
            expected.update({info["name"]: info for info in dirs.values()})
    found = fs.find(folder, maxdepth=maxdepth, withdirs=withdirs, detail=True)
    assert found == expected
    assert list(found) == sorted(found) == fs.find(folder, maxdepth=maxdepth, withdirs=withdirs)


@pytest.mark.usefixtures("tree")
def test_find_of_files_and_nothing(fs):
    """Find of a file is the file, of nothing it is nothing."""
    assert fs.find("alice/docs/a.txt") == ["alice/docs/a.txt"]
    assert fs.find("alice/docs/a.txt", detail=True) == {"alice/docs/a.txt": listed(fs.info("alice/docs/a.txt"))}
    assert fs.find("alice/missing", withdirs=True) == fs.find("nobody") == []


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("alice/*.txt", ["alice/a.txt", "alice/docs.txt"]),
        ("alice/*/*.txt", ["alice/docs/a.txt", "alice/docs/c.txt"]),
        ("alice/docs/**/*.txt", ["alice/docs/a.txt", "alice/docs/b/1.txt", "alice/docs/b/2.txt", "alice/docs/c.txt"]),
        ("alice/docs/?0", ["alice/docs/b0"]),
        ("alice/docs/b/", ["alice/docs/b"]),
        ("alice/docs/*/", ["alice/docs/b", "alice/docs/deep"]),
        ("alice/none*", []),
    ],
)
def test_glob(fs, pattern, expected):
    """A pattern matches files and folders of the session."""
    assert fs.glob(f"artifact://{pattern}") == expected
    assert list(fs.glob(pattern, detail=True)) == expected


@pytest.mark.usefixtures("tree")
def test_du(fs):
    """The length of a folder is that of the files below it."""
    assert fs.du("alice") == sum(len(name) for name in TREE)
    assert fs.du("alice/docs/b", total=False) == {"alice/docs/b/1.txt": 12, "alice/docs/b/2.txt": 12}
    assert fs.du("alice/docs", maxdepth=1) == len("docs/a.txt") + len("docs/b0") + len("docs/c.txt")


def test_empty_segments(fs):
    """A filename with an empty segment is found by every way down to it."""
    fs.pipe_file("alice/a//b/c", b"x")
    fs.pipe_file("alice/a//d", b"x")
    assert fs.find("alice") == ["alice/a//b/c", "alice/a//d"]
    assert fs.ls("alice", detail=False) == ["alice/a"]
    assert names(fs.ls("alice/a")) == [("alice/a//b", "directory"), ("alice/a//d", "file")]
    assert fs.ls("alice/a//b", detail=False) == ["alice/a//b/c"]
    fs.rm("alice/a", recursive=True)
    assert not fs.exists("alice/a")


@pytest.fixture
def told(store, monkeypatch):
    """Count the records that the catalog returns, and its calls."""
    count = {"records": 0, "questions": 0}

    def counted(ask):
        def answer(*args, **options):
            records = ask(*args, **options)
            count["records"] += len(records)
            count["questions"] += 1
            return records

        return answer

    for verb in ("page", "named", "get"):
        monkeypatch.setattr(store.scope.core.catalog, verb, counted(getattr(store.scope.core.catalog, verb)))
    return count


def test_ls_costs_what_it_tells(fs, store, told, monkeypatch):
    """A folder's listing reads its own entries, however many there are beside it, and in the folders below it."""
    monkeypatch.setattr(listing, "_FIRST_PAGE", 16)
    for folder in ("a", "m/sub1", "m/sub2", "m/sub2/deep", "z"):
        store.store_batch([{"data": b"", "filename": f"{folder}/{number}"} for number in range(200)], "alice")
    store.store_batch([{"data": b"", "filename": f"m/{number:03}"} for number in range(50)], "alice")
    listed = fs.ls("alice/m")
    assert len(listed) == 52
    assert told["records"] <= 52 + 2 * 16
    told.update(records=0)
    assert [info["name"] for info in fs.ls("alice")] == ["alice/a", "alice/m", "alice/z"]
    assert told["records"] <= 3 * 16


def test_a_long_folder_is_read_in_growing_pages(fs, store, told):
    """A short folder is one page; pages of a long one grow, but never beyond an eighth of what was read before."""
    store.store_batch([{"data": b"", "filename": f"m/{number:04}"} for number in range(4000)], "alice")
    store.store_batch([{"data": b"", "filename": f"n/{number:04}"} for number in range(120)], "alice")
    told.update(records=0, questions=0)
    assert len(fs.ls("alice/m")) == 4000
    assert told["questions"] <= 20
    told.update(records=0, questions=0)
    assert len(fs.ls("alice/n")) == 120
    assert told == {"records": 120, "questions": 1}


def test_many_folders_cost_one_page_each(fs, store, told):
    """A folder of folders is listed by a short page for each of them."""
    for number in range(10):
        store.store_batch([{"data": b"", "filename": f"{number:02}/{inner:03}"} for inner in range(100)], "alice")
    assert len(fs.ls("alice")) == 10
    assert told["questions"] <= 11
    assert told["records"] <= 128 + 10 * 16


def test_pages_of_any_length(fs, store, monkeypatch):
    """A listing is the same whatever pages it is read in."""
    for name in [*TREE, "docs/a.txt", "docs/a.txt"]:
        store.store(b"", filename=name, session_id="alice")
    expected = {folder: fs.ls(folder) for folder in ("alice", "alice/docs", "alice/docs/deep")}
    for size in range(1, 13):
        monkeypatch.setattr(listing, "_FIRST_PAGE", size)
        monkeypatch.setattr(listing, "_PAGE_BEHIND_A_FOLDER", max(1, size // 2))
        assert {folder: fs.ls(folder) for folder in expected} == expected


def test_looking_up_a_file_costs_one_question(fs, store, told):
    """A file is found, and read, by one question to the catalog that is answered by itself, whatever is beside it."""
    store.store_batch([{"data": b"x", "filename": f"a{number}"} for number in range(100)], "alice")
    assert fs.cat_file("alice/a1") == b"x"
    assert fs.info("alice/a2")["size"] == 1
    assert told == {"records": 2, "questions": 2}
    told.update(records=0, questions=0)
    assert fs.cat_ranges(["alice/a3", "alice/a4"] * 10, 0, 1) == [b"x"] * 20
    assert told == {"records": 2, "questions": 2}


def test_writing_a_file_costs_one_question(fs, store, told):
    """A new file is written by one question to the catalog and one change of it, whatever is beside it."""
    store.store_batch([{"data": b"", "filename": f"a{number}"} for number in range(100)], "alice")
    fs.pipe_file("alice/a", b"x")
    assert told == {"records": 0, "questions": 1}

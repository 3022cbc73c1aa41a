"""What every store lists: order, prefixes, folders, limits, pages."""

from __future__ import annotations

import pytest

from chuk_artifacts import InvalidInputError

SESSION = "user_alice"

LISTS = {
    "list_by_session": lambda store, session_id, limit: store.list_by_session(session_id, limit),
    "list_files": lambda store, session_id, limit: store.list_files(session_id, limit=limit),
    "get_directory_contents": lambda store, session_id, limit: store.get_directory_contents(session_id, limit=limit),
    "iter_session": lambda store, session_id, limit: list(store.iter_session(session_id))[:limit],
}

BAD_SESSIONS = ["", ".", "..", "a/b", "a\\b", "a\n", "x" * 256, "\ud800", 5]


def fill(store, names, **arguments):
    """Store one file for each name."""
    items = [{"data": b"abc", "filename": name, **arguments} for name in names]
    return store.store_batch(items, session_id=SESSION)


def names(records):
    """Return the filenames of a listing."""
    return [one.filename for one in records]


@pytest.mark.parametrize("method", LISTS)
def test_order(store, method):
    """A listing is ordered by filename, in the order of code points, then by id; nameless files come first."""
    fill(store, ["b", None, "a/b", "a", "ä", "a", "z\U0001f600", "Z", "\uffff", "a.", "a!", None, "B/a"])
    records = LISTS[method](store, SESSION, None)
    assert len(records) == 13
    places = [(one.filename or "", one.artifact_id) for one in records]
    assert places == sorted(places)


@pytest.mark.parametrize("method", LISTS)
def test_listing_has_all_metadata(store, method):
    """A listing returns the metadata of each file of the session, and of no other session."""
    ids = fill(store, ["a", "b"], meta={"a": 1})
    store.store(b"abc", filename="a", session_id="user_bob")
    store.store(b"abc", filename="a", session_id=SESSION + "2")
    records = LISTS[method](store, SESSION, None)
    assert records == [store.metadata(one) for one in ids]


@pytest.mark.parametrize("method", LISTS)
def test_listing_of_nothing(store, clock, method):
    """An unknown session, an empty one and an expired one have no files."""
    assert LISTS[method](store, "user_unknown", None) == []
    assert not store.validate_session("user_unknown")
    assert LISTS[method](store, store.create_session(), None) == []
    fill(store, ["a"])
    clock.advance(25 * 3600)
    assert LISTS[method](store, SESSION, None) == []


@pytest.mark.parametrize("method", [method for method in LISTS if method != "iter_session"])
@pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (3, 3), (5, 5), (6, 5), (10**6, 5), (None, 5)])
def test_limit(store, method, limit, count):
    """A limit cuts the listing; None does not."""
    fill(store, "edcba")
    assert names(LISTS[method](store, SESSION, limit)) == list("abcde"[:count])


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", [method for method in LISTS if method != "iter_session"])
@pytest.mark.parametrize("limit", [-1, "1", 1.0, True, float("inf")])
def test_bad_limit(store, method, limit):
    """A limit that is not an int from 0 on is refused."""
    with pytest.raises(InvalidInputError, match="limit"):
        LISTS[method](store, SESSION, limit)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("method", LISTS)
def test_bad_session(store, method, subtests):
    """A malformed session id is refused; it is not an empty session."""
    for session_id in BAD_SESSIONS:
        with subtests.test(repr(session_id)[:20]), pytest.raises(InvalidInputError, match="session_id"):
            LISTS[method](store, session_id, None)


def test_expired_files_do_not_count(store, clock):
    """Expired files are not listed, and do not count towards a limit or a page."""
    fill(store, ["a", "b", "c", "e"], ttl=60)
    fill(store, ["d", "f", "g"])
    clock.advance(61)
    assert names(store.list_by_session(SESSION, 2)) == ["d", "f"]
    assert names(store.list_by_session(SESSION)) == ["d", "f", "g"]
    assert names(store.iter_session(SESSION, page_size=1)) == ["d", "f", "g"]


PREFIXES = ["docs/a", "docs/b/c", "docs", "docsify/x", "Docs/a", "doc", "docs.txt", "docs\\a", "a/docs/b", None]


@pytest.mark.parametrize("prefix", ["", "d", "docs", "docs/", "docs/b", "docs/b/c", "docs/b/c/", "Docs", "x", "a/"])
def test_prefix(store, prefix):
    """A prefix matches the beginning of filenames, character by character."""
    fill(store, PREFIXES)
    expected = sorted(name or "" for name in PREFIXES if (name or "").startswith(prefix))
    assert [name or "" for name in names(store.list_files(SESSION, prefix))] == expected
    assert [name or "" for name in names(store.iter_session(SESSION, prefix=prefix, page_size=2))] == expected


@pytest.mark.parametrize("prefix", ["100%", "100_", "a*", "a?", "[a]", "a'", 'a"', "a\\", "ä", "a\u0308", "\U0010ffff"])
def test_prefix_is_not_a_pattern(store, prefix):
    """No character of a prefix is special."""
    starts = ["100", "100%", "100_", "a", "a*", "a?", "[a]", "a'", 'a"', "a\\", "b", "ä", "a\u0308", "\U0010ffff"]
    names_of_all = [*(f"{start}x" for start in starts), "\U0010ffff", "ab"]
    fill(store, names_of_all)
    expected = sorted(name for name in names_of_all if name.startswith(prefix))
    assert names(store.list_files(SESSION, prefix)) == expected


@pytest.mark.parametrize("folder", ["docs", "docs/"])
def test_directory(store, folder):
    """A folder, with or without its last slash, contains all files below it, but not those with a similar prefix."""
    fill(store, PREFIXES)
    assert names(store.get_directory_contents(SESSION, folder)) == ["docs/a", "docs/b/c"]
    assert names(store.get_directory_contents(SESSION, folder, 1)) == ["docs/a"]
    assert names(store.get_directory_contents(SESSION, folder, limit=0)) == []


def test_unknown_directory(store):
    """An unknown folder is empty, a file is not a folder, and the empty prefix is the whole session."""
    fill(store, PREFIXES)
    for folder in ("missing", "doc", "docs/a", "docs/b/c", "ocs"):
        assert store.get_directory_contents(SESSION, folder) == []
    assert len(store.get_directory_contents(SESSION, "")) == len(PREFIXES)
    assert names(store.get_directory_contents(SESSION, "docs/b")) == ["docs/b/c"]


LEVELS = {
    "": (["Docs", "a", "docs", "docsify"], [None, "doc", "docs", "docs.txt", "docs\\a"]),
    "docs": (["b"], ["docs/a"]),
    "docs/": (["b"], ["docs/a"]),
    "docs/b": ([], ["docs/b/c"]),
    "docsify": ([], ["docsify/x"]),
    "a": (["docs"], []),
    "doc": ([], []),
    "docs/a": ([], []),
    "/docs": ([], []),
    "missing": ([], []),
}


@pytest.mark.parametrize("folder", LEVELS)
def test_one_level(store, folder):
    """A level is the names of the folders, and the files, directly in a folder, each once and in order."""
    fill(store, PREFIXES)
    store.store(b"abc", filename="docs/other/session", session_id="user_bob")
    folders, files = store.list_directory(SESSION, folder)
    assert (folders, names(files)) == LEVELS[folder]
    bound_folders, bound_files = store.session(SESSION).list_directory(directory=folder)
    assert (bound_folders, bound_files) == (folders, files)


def test_one_level_of_odd_names(store):
    """A segment of a path has at least one character; files of one name, and one like a folder, are all returned."""
    fill(store, ["a//b", "a", "a", "a!", "a/c", "a0", "b/\U0001f600/x", "b/\uffff/x"])
    folders, files = store.list_directory(SESSION)
    assert (folders, names(files)) == (["a", "b"], ["a", "a", "a!", "a0"])
    assert [names(store.list_directory(SESSION, one)[1]) for one in ("a", "a/")] == [["a//b", "a/c"]] * 2
    assert store.list_directory(SESSION, "b") == (["\uffff", "\U0001f600"], [])


def test_one_level_of_many(store, clock):
    """A level with more folders and files than a page, most in one folder, is complete; expired files do not count."""
    below = [f"big/{number:04}" for number in range(600)]
    fill(store, [*below, *(f"f{number:03}" for number in range(300)), *(f"d{number:02}/x" for number in range(40))])
    fill(store, ["gone/x", "gone"], ttl=60)
    clock.advance(61)
    folders, files = store.list_directory(SESSION)
    assert folders == ["big", *(f"d{number:02}" for number in range(40))]
    assert names(files) == [f"f{number:03}" for number in range(300)]
    assert names(store.list_directory(SESSION, "big")[1]) == below


def test_one_level_of_nothing(store):
    """An unknown session has neither folders nor files."""
    assert store.list_directory("user_unknown") == ([], [])


@pytest.mark.same_everywhere
@pytest.mark.parametrize("directory", [5, None, b"a", "\ud800"])
def test_bad_directory(store, directory):
    """A folder that is no text is refused, and so is a malformed session."""
    with pytest.raises(InvalidInputError, match="directory"):
        store.list_directory(SESSION, directory)
    for session_id in BAD_SESSIONS:
        with pytest.raises(InvalidInputError, match="session_id"):
            store.list_directory(session_id)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("prefix", [5, None, b"a", "\ud800"])
def test_bad_prefix(store, prefix):
    """A prefix that is not a str is refused."""
    with pytest.raises(InvalidInputError, match="prefix"):
        store.list_files(SESSION, prefix)
    with pytest.raises(InvalidInputError, match="prefix"):
        store.get_directory_contents(SESSION, prefix)
    with pytest.raises(InvalidInputError, match="prefix"):
        list(store.iter_session(SESSION, prefix=prefix))


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 8, 1000])
def test_pages(store, page_size):
    """Pages of any size together return the whole listing, each file once, also files of one name."""
    fill(store, ["a", "a", "a", "b", None, None, "c"])
    assert list(store.iter_session(SESSION, page_size=page_size)) == store.list_by_session(SESSION)


def test_more_than_a_page(store):
    """No listing stops after its first page."""
    expected = [f"{number:04}" for number in range(1001)]
    fill(store, expected)
    assert names(store.list_by_session(SESSION)) == expected
    assert names(store.list_files(SESSION, "0", limit=1000)) == expected[:1000]
    assert names(store.list_by_session(SESSION, 1001)) == expected
    assert names(store.iter_session(SESSION)) == expected


def test_iteration_while_it_changes(store):
    """Files deleted, stored or renamed meanwhile cause no other file to be skipped or returned twice."""
    ids = dict(zip("abcdefgh", fill(store, "abcdefgh"), strict=True))
    listed = []
    for record in store.iter_session(SESSION, page_size=2):
        listed.append(record.filename)
        if record.filename == "b":
            store.delete_batch([ids["a"], ids["b"], ids["c"]])
            fill(store, ["Z", "dd"])
            store.move_file(ids["h"], new_filename="A")
    untouched = {"a", "b", "d", "e", "f", "g"}
    assert [name for name in listed if name in untouched] == sorted(untouched)
    assert len(listed) == len(set(listed))


@pytest.mark.same_everywhere
@pytest.mark.parametrize("page_size", [0, -1, "1", 1.0, True, None])
def test_bad_page_size(store, page_size):
    """A page size that is not an int from 1 on is refused."""
    with pytest.raises(InvalidInputError, match="page_size"):
        list(store.iter_session(SESSION, page_size=page_size))


def test_deleted_files_are_not_listed(store):
    """Deleted files leave the listing at once, and the others stay."""
    ids = fill(store, "abc")
    store.delete(ids[1])
    assert names(store.list_by_session(SESSION)) == ["a", "c"]


# By filename


def test_lookup(store):
    """A look-up returns the newest artifact of a filename in a session, or None."""
    first, _ = fill(store, ["docs/a", "docs/b"])
    store.store(b"abc", filename="docs/a", session_id="user_bob")
    assert store.lookup("docs/a", SESSION) == store.metadata(first)
    second = store.store(b"abc", filename="docs/a", session_id=SESSION)
    assert store.lookup("docs/a", SESSION).artifact_id in {first, second}
    store.delete(second)
    assert store.lookup("docs/a", SESSION) == store.metadata(first)
    for missing in ("docs", "docs/a/b", "DOCS/A", "a"):
        assert store.lookup(missing, SESSION) is None
    assert store.lookup("docs/a", "user_unknown") is None


def test_lookup_of_the_newest(store, clock):
    """Of several artifacts with one filename the last stored is found, even if another was changed later."""
    first, second = (fill(store, ["a"])[0], clock.advance(1), fill(store, ["a"])[0])[::2]
    clock.advance(1)
    store.update_file(first, data=b"changed")
    assert store.lookup("a", SESSION).artifact_id == second


def test_lookup_of_what_is_over(store, clock):
    """What has expired or is still pending is not found."""
    fill(store, ["a"], ttl=60)
    store.presign_upload(SESSION, "b")
    assert store.lookup("b", SESSION) is None
    clock.advance(60)
    assert store.lookup("a", SESSION) is None


@pytest.mark.same_everywhere
def test_bad_lookup(store):
    """A look-up needs a filename and a session that can be."""
    for filename, session_id in (("../a", SESSION), ("", SESSION), (5, SESSION), ("a", "a/b"), ("a", None)):
        with pytest.raises(InvalidInputError):
            store.lookup(filename, session_id)
    bound = store.session(SESSION)
    assert bound.lookup("a") is None

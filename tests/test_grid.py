"""The grid layout: keys are built, parsed and validated, and anything else is refused."""

from __future__ import annotations

import itertools

import pytest

from chuk_artifacts import GridError, InvalidInputError, grid

GOOD_IDS = [
    "user_42",
    "a@b.org",
    "üser 1",
    "…",
    "a",
    ".hidden",
    "...",
    "~",
    "a~2",
    "grid",
    "-",
    "%2F",
    "C:",
    "x" * 255,
    "ü" * 127 + "x",
    "\U0001f600" * 63,
]
BAD_IDS = [
    "",
    ".",
    "..",
    "/",
    "a/b",
    "/a",
    "a/",
    "../a",
    "a\\b",
    "\\",
    "a\0",
    "\n",
    "a\tb",
    "\x1f",
    "\x7f",
    "\x80",
    "\x9f",
    "x" * 256,
    "ü" * 128,
    "\ud800",
    5,
    None,
    b"a",
]
GOOD_ARTIFACTS = ["0" * 32, "0123456789abcdef0123456789abcdef", "file_1", "x" * 200]


@pytest.mark.parametrize(("sandbox_id", "session_id"), [*itertools.product(GOOD_IDS[::3], GOOD_IDS)])
def test_key_and_parts(sandbox_id, session_id):
    """Parsing a key returns the parts it was built from, for all valid ids and revisions."""
    for artifact_id, revision in itertools.product(GOOD_ARTIFACTS, (1, 2, 10**17)):
        key = grid.artifact_key(sandbox_id, session_id, artifact_id, revision)
        parts = grid.parse(key)
        assert parts == {
            "sandbox_id": sandbox_id,
            "session_id": session_id,
            "artifact_id": artifact_id,
            "revision": revision,
        }
        assert key.startswith(grid.canonical_prefix(sandbox_id, session_id))
        assert grid.canonical_prefix(sandbox_id, session_id).startswith(grid.sandbox_prefix(sandbox_id))
        assert grid.is_valid_grid_key(key)
        assert grid.validate_grid_key(key) == parts


def test_layout():
    """Keys have the documented layout; the first revision has no number."""
    assert grid.canonical_prefix("box", "alice") == "grid/box/alice/"
    assert grid.sandbox_prefix("box") == "grid/box/"
    assert grid.artifact_key("box", "alice", "file") == "grid/box/alice/file"
    assert grid.artifact_key("box", "alice", "file", 2) == "grid/box/alice/file~2"


@pytest.mark.parametrize("bad", BAD_IDS, ids=repr)
def test_bad_ids(bad):
    """An id that is not a str, or could escape its level, is refused; the message names it."""
    with pytest.raises(GridError, match="sandbox_id"):
        grid.canonical_prefix(bad, "alice")
    with pytest.raises(GridError, match="session_id"):
        grid.canonical_prefix("box", bad)
    with pytest.raises(GridError, match="artifact_id"):
        grid.artifact_key("box", "alice", bad)
    with pytest.raises(GridError, match="sandbox_id"):
        grid.sandbox_prefix(bad)


def test_artifact_id_contains_no_revision():
    """An artifact id can't contain the separator of the revision."""
    with pytest.raises(GridError, match="~"):
        grid.artifact_key("box", "alice", "file~2")


@pytest.mark.parametrize("revision", [0, -1])
def test_bad_revision(revision):
    """Revisions start at 1."""
    with pytest.raises(GridError, match="revision"):
        grid.artifact_key("box", "alice", "file", revision)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "grid",
        "grid/box/alice",
        "grid/box/alice/",
        "grid/box/alice/file/",
        "grid/box/alice/a/b",
        "/grid/box/alice/file",
        "Grid/box/alice/file",
        "grid//alice/file",
        "grid/box//file",
        "grid/box/../file",
        "grid/../alice/file",
        "grid/box/alice/..",
        "grid/box/alice/.",
        "grid/box/alice/a\\b",
        "grid/box/alice/file\n",
        "grid/box/al\0ice/file",
        "grid/box/alice/~2",
        "grid/box/alice/file~",
        "grid/box/alice/file~0",
        "grid/box/alice/file~01",
        "grid/box/alice/file~1.5",
        "grid/box/alice/file~-1",
        "grid/box/alice/file~2~3",
        "grid/box/alice/file~" + "9" * 19,
        "grid/box/alice/file~٣",
        f"grid/{'x' * 256}/alice/file",
        "grid/\ud800/alice/file",
        None,
        5,
        b"grid/box/alice/file",
        ["grid", "box", "alice", "file"],
    ],
    ids=repr,
)
def test_invalid_key(key):
    """Parsing an invalid key returns None; validating it says why."""
    assert grid.parse(key) is None
    assert not grid.is_valid_grid_key(key)
    with pytest.raises(GridError):
        grid.validate_grid_key(key)


def test_grid_error_is_invalid_input():
    """A GridError is an InvalidInputError, and so a ValueError."""
    assert issubclass(GridError, InvalidInputError)
    assert issubclass(GridError, ValueError)


def test_artifact_ids():
    """Ids are 32 hexadecimal digits and unique; ids of one session, and only those, share a prefix."""
    made = [grid.new_artifact("box", "alice") for _ in range(1000)]
    ids = [artifact_id for artifact_id, _ in made]
    assert all(key == grid.artifact_key("box", "alice", artifact_id) for artifact_id, key in made)
    assert len(set(ids)) == 1000
    assert all(grid.is_artifact_id(one) for one in ids)
    assert {one[:8] for one in ids} == {grid.slot_tag("box", "alice")}
    assert len({grid.slot_tag(sandbox, "alice") for sandbox in ("box", "bo", "x")}) == 3
    assert grid.slot_tag("box", "bob") != grid.slot_tag("box", "alice")


@pytest.mark.parametrize(
    "artifact_id", ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32, "0" * 31 + "\n", "0" * 32 + "\n", "٣" * 32, None, 5]
)
def test_invalid_artifact_id(artifact_id):
    """A value in any other form is not an artifact id."""
    assert not grid.is_artifact_id(artifact_id)


def test_session_ids():
    """New session ids are valid and unique."""
    ids = {grid.new_session_id() for _ in range(100)}
    assert len(ids) == 100
    assert {grid.check_session_id(one) for one in ids} == ids

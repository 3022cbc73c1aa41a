"""universal_pathlib has artifacts as paths."""

from __future__ import annotations

import pickle

import pytest

upath = pytest.importorskip("upath")
registry = pytest.importorskip("upath.registry")


@pytest.fixture
def session(options):
    """Return the path of a session."""
    from chuk_artifacts.path import ArtifactPath  # noqa: PLC0415 - it needs the package

    registry.register_implementation("artifact", ArtifactPath, clobber=True)
    path = upath.UPath("artifact://alice", **options)
    assert isinstance(path, ArtifactPath)
    return path


def test_path(session):
    """A path is written, read, listed, renamed and removed as one of the disk is."""
    path = session / "docs" / "a.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hello")
    assert path.read_text() == "hello"
    assert (path.name, path.suffix, path.parent.name) == ("a.txt", ".txt", "docs")
    assert str(path) == "artifact://alice/docs/a.txt"
    assert path.stat().st_size == 5
    assert path.exists()
    assert path.is_file()
    assert path.parent.is_dir()
    assert list(session.iterdir()) == [session / "docs"]
    assert list(session.glob("**/*.txt")) == [path]
    moved = path.rename(path.with_name("b.txt"))
    assert moved.read_bytes() == b"hello"
    assert not path.exists()
    with moved.open("a") as file:
        file.write("!")
    assert pickle.loads(pickle.dumps(moved)).read_text() == "hello!"
    moved.unlink()
    assert not moved.exists()
    with pytest.raises(FileNotFoundError):
        moved.read_text()


@pytest.mark.parametrize("name", ["q?.csv", "a[1].csv", "*"])
def test_names_that_look_like_patterns(session, name):
    """A path is deleted and renamed itself, and nothing that its name would match as a pattern."""
    others = [session / other for other in ("qz.csv", "a1.csv")]
    for path in (session / name, session / "docs[1]" / name, *others):
        path.write_text(path.name)
    (session / name).unlink()
    moved = (session / "docs[1]" / name).rename(session / f"b{name}")
    assert moved.read_text() == name
    moved.unlink()
    assert [path.read_text() for path in others] == ["qz.csv", "a1.csv"]
    assert sorted(session.iterdir()) == sorted(others)
    for number in ("docs[1]", "docs1"):
        (session / number / "x").write_text("x")
    (session / "docs[1]").rmdir(recursive=True)
    assert (session / "docs1" / "x").exists()

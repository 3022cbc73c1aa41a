"""Files that are open to read and to write at once, and files that are cut."""

from __future__ import annotations

import io
import random

import pytest

from chuk_artifacts import ArtifactNotFoundError, ConflictError, InvalidInputError

pytestmark = pytest.mark.same_everywhere

PATH = "alice/docs/a"
BEFORE = bytes(range(100))


def change(file, seed):
    """Change a file by calls chosen by chance, and return what they returned."""
    choice = random.Random(seed)
    answers = []
    for _ in range(30):
        size = choice.randrange(150)
        call = choice.choice(["read", "readline", "readinto", "write", "truncate", "cut", "seek", "tell"])
        try:
            match call:
                case "readinto":
                    buffer = bytearray(size)
                    answers.append((file.readinto(buffer), bytes(buffer)))
                case "write":
                    answers.append(file.write(bytes([size]) * choice.randrange(1, 20)))
                case "truncate":
                    answers.append(file.truncate(size))
                case "cut":
                    answers.append(file.truncate())
                case "tell":
                    answers.append(file.tell())
                case _:
                    answers.append(getattr(file, call)(size))
        except io.UnsupportedOperation:
            answers.append("unsupported")
    return answers


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("mode", ["wb", "r+b", "w+b", "x+b", "a+b", "rb+"])
def test_as_a_file_on_disk(fs, tmp_path, mode, seed):
    """A file in any mode answers as one on disk does, and holds the same bytes in the end."""
    if "x" not in mode:
        fs.pipe_file(PATH, BEFORE)
        (tmp_path / "a").write_bytes(BEFORE)
    with fs.open(PATH, mode) as file, (tmp_path / "a").open(mode, buffering=0) as local:
        assert (file.readable(), file.writable(), file.seekable()) == (local.readable(), True, True)
        assert change(file, seed) == change(local, seed)
    assert fs.cat_file(PATH) == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("mode", ["w+b", "x+b", "a+b"])
def test_new_file(fs, mode):
    """A new file is written, read and stored."""
    with fs.open(PATH, mode) as file:
        file.write(b"one\ntwo\n")
        file.seek(0)
        assert list(file) == [b"one\n", b"two\n"]
    assert fs.cat_file(PATH) == b"one\ntwo\n"


@pytest.mark.parametrize("mode", ["r+b", "a+b"])
def test_unchanged(fs, mode):
    """A file that was opened to change, and was not, keeps its revision."""
    fs.pipe_file(PATH, BEFORE)
    with fs.open(PATH, mode) as file:
        assert file.tell() == (len(BEFORE) if mode == "a+b" else 0)
        file.seek(0)
        assert file.read() == BEFORE
    assert fs.info(PATH)["revision"] == 1


def test_metadata_stays(fs, store):
    """A file that is changed in place keeps its type, and takes what is given."""
    artifact_id = store.store(b"{}", mime="application/json", filename="docs/a", session_id="alice", summary="old")
    with fs.open(PATH, "r+b", summary="new") as file:
        file.write(b"[")
    artifact = store.metadata(artifact_id)
    assert (artifact.mime, artifact.summary, artifact.revision) == ("application/json", "new", 2)


@pytest.mark.parametrize("mode", ["r+b", "a+b"])
def test_changed_meanwhile(fs, mode):
    """What another writer has stored since the file was opened is not overwritten."""
    fs.pipe_file(PATH, BEFORE)
    file = fs.open(PATH, mode)
    file.write(b"mine")
    fs.pipe_file(PATH, b"theirs")
    with pytest.raises(ConflictError, match="revision 2, not 1"):
        file.close()
    assert fs.cat_file(PATH) == b"theirs"


def test_deleted_meanwhile(fs):
    """A file that was deleted since it was opened stays deleted."""
    fs.pipe_file(PATH, BEFORE)
    file = fs.open(PATH, "r+b")
    file.write(b"mine")
    fs.rm_file(PATH)
    with pytest.raises(ArtifactNotFoundError):
        file.close()
    assert not fs.exists(PATH)


def test_missing(fs):
    """A file must be there to be changed."""
    with pytest.raises(ArtifactNotFoundError):
        fs.open(PATH, "r+b")
    fs.pipe_file(PATH, BEFORE)
    with pytest.raises(IsADirectoryError):
        fs.open("alice/docs", "r+b")
    with pytest.raises(FileExistsError):
        fs.open(PATH, "x+b")


@pytest.mark.parametrize("mode", ["r+b", "r+", "w+b", "a+b"])
def test_failed_block(fs, mode):
    """A block that raises leaves the file as it was."""
    fs.pipe_file(PATH, BEFORE)
    with pytest.raises(KeyError), fs.open(PATH, mode) as file:
        file.write("half" if mode == "r+" else b"half")
        raise KeyError
    assert fs.cat_file(PATH) == BEFORE


def test_transaction(fs):
    """In a transaction a changed file appears with its end."""
    fs.pipe_file(PATH, BEFORE)
    with fs.transaction:
        with fs.open(PATH, "r+b") as file:
            file.write(b"new")
        assert fs.cat_file(PATH) == BEFORE
    assert fs.cat_file(PATH) == b"new" + BEFORE[3:]


def test_failed_transaction(fs):
    """A transaction that fails leaves the file as it was."""
    fs.pipe_file(PATH, BEFORE)
    with pytest.raises(KeyError), fs.transaction:
        with fs.open(PATH, "r+b") as file:
            file.write(b"new")
        raise KeyError
    assert fs.cat_file(PATH) == BEFORE


def test_text(fs):
    """Text is read and changed in place."""
    fs.write_text(PATH, "one\ntwo\n")
    with fs.open(PATH, "r+") as file:
        assert file.readline() == "one\n"
        file.seek(0)
        file.write("ONE")
    assert fs.read_text(PATH) == "ONE\ntwo\n"
    with fs.open(PATH, "w+t") as file:
        file.write("three")
        file.seek(0)
        assert file.read() == "three"


def test_cut_while_appending(fs):
    """What is appended can be cut, but not what was there before."""
    fs.pipe_file(PATH, b"before")
    with fs.open(PATH, "ab") as file:
        file.write(b"behind")
        assert file.truncate(8) == 8
        with pytest.raises(io.UnsupportedOperation):
            file.truncate(5)
    assert fs.cat_file(PATH) == b"beforebe"


@pytest.mark.parametrize("mode", ["wb", "ab", "xb"])
def test_not_readable(fs, mode):
    """A file that is open to write only can't be read."""
    with fs.open(PATH, mode) as file:
        for read in (file.read, file.readline, file.read1, lambda: file.readinto(bytearray(1))):
            with pytest.raises(io.UnsupportedOperation):
                read()


@pytest.mark.parametrize("size", [-1, 1.5, "1", True])
def test_bad_length(fs, size):
    """A length that no file can have is refused, and changes nothing."""
    fs.pipe_file(PATH, BEFORE)
    with fs.open(PATH, "r+b") as file, pytest.raises(InvalidInputError):
        file.truncate(size)
    assert fs.info(PATH)["revision"] == 1


def test_long_gap(fs):
    """A gap that is longer than what is held in memory goes to the disk."""
    size = 40 * 1024 * 1024
    with fs.open(PATH, "w+b") as file:
        file.seek(size)
        file.write(b"end")
        file.truncate(size + 10)
    assert fs.info(PATH)["size"] == size + 10
    assert fs.cat_file(PATH, -10) == b"end" + bytes(7)


@pytest.mark.parametrize("mode", ["", "b", "rw", "r++", "rbt", "rU", "+b", "wab", "bb", None, b"rb"])
def test_bad_mode(fs, mode):
    """A mode that does not exist is refused."""
    fs.pipe_file(PATH, BEFORE)
    with pytest.raises(InvalidInputError, match="mode must be"):
        fs.open(PATH, mode)


def test_compressed(fs):
    """A compressed file can't be changed in place."""
    fs.pipe_file("alice/a.gz", b"x")
    with pytest.raises(InvalidInputError, match="compression gzip"):
        fs.open("alice/a.gz", "r+b", compression="infer")

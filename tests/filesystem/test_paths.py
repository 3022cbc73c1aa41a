"""How paths become sessions and filenames, and what is found there."""

from __future__ import annotations

from datetime import datetime

import fsspec
import pytest
from fsspec.core import url_to_fs

from chuk_artifacts import AccessDeniedError, ArtifactNotFoundError, ArtifactStore, InvalidInputError, ProviderError
from chuk_artifacts.filesystem import ArtifactFileSystem


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("artifact://alice/a.txt", "alice/a.txt"),
        ("artifact://alice/docs/a b%20.txt", "alice/docs/a b%20.txt"),
        ("artifact:///alice/docs/", "alice/docs"),
        ("alice/docs", "alice/docs"),
        ("artifact://", ""),
        ("/", ""),
        ("artifact://a@b.org/x", "a@b.org/x"),
        ("artifact://a%40b.org/x", "a@b.org/x"),
        ("artifact://üser 1/ü", "%C3%BCser%201/ü"),
        ("artifact://%C3%BCser%201/ü", "%C3%BCser%201/ü"),
        ("artifact://50%25/x", "50%25/x"),
        ("artifact://a*b?[c]/x", "a%2Ab%3F%5Bc%5D/x"),
        ("artifact://a%3A%3Ab/x", "a%3A%3Ab/x"),
        ("artifact://%FF/x", "%FF/x"),
    ],
)
def test_strip_protocol(url, path):
    """A URL has one path, in which the session is encoded in one way, and stripping it again changes nothing."""
    assert ArtifactFileSystem._strip_protocol(url) == path
    assert ArtifactFileSystem._strip_protocol(path) == path
    assert ArtifactFileSystem._strip_protocol([url, path]) == [path, path]


@pytest.mark.parametrize("session_id", ["a@b.org", "üser 1", "50%", "a%41", "a*b?[c]", "a::b", "#1", "~", "a~2"])
def test_any_session_has_a_path(fs, store, session_id):
    """Whatever a session may be called, its files are listed under paths that lead to them."""
    artifact_id = store.store(b"x", filename="docs/a.txt", session_id=session_id)
    root = fs._strip_protocol("artifact://" + session_id.replace("%", "%25").replace("::", "%3A%3A"))
    (path,) = fs.find(root)
    assert fs.info(path)["artifact_id"] == artifact_id
    assert fs.ls(root, detail=False) == [f"{root}/docs"]
    assert fs.glob(f"{root}/*/*.txt") == [path]
    with fsspec.open(fs.unstrip_protocol(path), store=store) as file:
        assert file.read() == b"x"


def test_info_of_a_file(fs, store, clock):
    """The info of a file has its length, its times, and what the store knows of the artifact."""
    fs.pipe_file("alice/docs/a.txt", b"one")
    begin = clock.now
    clock.advance(60)
    fs.pipe_file("alice/docs/a.txt", b"second")
    (artifact,) = store.list_by_session("alice")
    info = fs.info("artifact://alice/docs/a.txt")
    assert info == {
        "name": "alice/docs/a.txt",
        "size": 6,
        "type": "file",
        "created": datetime.fromisoformat(artifact.stored_at),
        "modified": datetime.fromisoformat(artifact.updated_at),
        "mtime": pytest.approx(begin + 60),
        "artifact_id": artifact.artifact_id,
        "mime": "text/plain",
        "sha256": artifact.sha256,
        "revision": 2,
        "versions": [dict(version) for version in store.versions(artifact.artifact_id)],
        "others": 0,
    }
    assert fs.created("alice/docs/a.txt").timestamp() == pytest.approx(begin)
    assert fs.modified("alice/docs/a.txt").timestamp() == pytest.approx(begin + 60)
    assert fs.size("alice/docs/a.txt") == 6
    assert fs.checksum("alice/docs/a.txt") == int(artifact.sha256, 16)


def test_folders_are_implicit(fs):
    """A folder is there with the files in it, and gone with the last of them."""
    assert not fs.exists("alice/docs")
    assert not fs.exists("alice")
    fs.touch("alice/docs/a")
    fs.touch("alice/docsify")
    for folder in ("alice/docs", "alice", ""):
        assert fs.isdir(folder)
        assert not fs.isfile(folder)
        assert fs.info(folder) == {"name": folder, "size": 0, "type": "directory"}
    assert fs.isfile("alice/docs/a")
    assert not fs.isdir("alice/docs/a")
    assert not fs.exists("alice/doc")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("alice/docs")
    fs.rm("alice/docs/a")
    fs.rmdir("alice/docs")
    assert not fs.exists("alice/docs")
    assert fs.isdir("alice")


def test_a_file_and_a_folder_of_one_name(fs):
    """A file hides no folder of its name, nor the other way round."""
    fs.pipe({"alice/a": b"file", "alice/a/b": b"below"})
    assert fs.isfile("alice/a")
    assert [(info["name"], info["type"]) for info in fs.ls("alice")] == [
        ("alice/a", "file"),
        ("alice/a", "directory"),
    ]
    assert fs.ls("alice/a", detail=False) == ["alice/a/b"]
    assert fs.cat_file("alice/a") == b"file"
    fs.rm("alice/a", recursive=True)
    assert fs.find("alice") == []


def test_nameless_artifact_appears_under_its_id(fs, store):
    """An artifact without a filename has its id for a name, in its own session alone."""
    artifact_id = store.store(b"x", session_id="alice")
    path = f"alice/{artifact_id}"
    assert fs.ls("alice", detail=False) == fs.find("alice") == [path]
    assert fs.cat_file(path) == b"x"
    assert not fs.exists(f"bob/{artifact_id}")
    fs.pipe_file(path, b"second")
    assert store.retrieve(artifact_id) == b"second"
    fs.mv(path, "alice/named")
    assert store.metadata(artifact_id).filename == "named"
    assert not fs.exists(path)


def test_upload_that_registers_itself_appears(fs, store):
    """What is uploaded for a filename is at its path as soon as the bytes are there, and not before."""
    url, artifact_id = store.presign_upload_and_register(
        mime="text/plain", summary="", filename="a", session_id="alice"
    )
    assert not fs.exists("alice/a")
    assert url
    store.scope.core.storage.put(store.scope.core.catalog.get([artifact_id])[0].key, b"uploaded")
    assert fs.cat_file("alice/a") == b"uploaded"
    assert fs.info("alice/a")["artifact_id"] == artifact_id


def test_newest_of_several_is_the_path(fs, store, clock):
    """Of several artifacts with one filename the newest is the path; listings have it once, and rm removes all."""
    for content in (b"1", b"2", b"3"):
        clock.advance(1)
        newest = store.store(content, filename="a", session_id="alice")
    store.store(b"", filename="a0", session_id="alice")
    assert fs.cat_file("alice/a") == b"3"
    (info, _) = fs.ls("alice")
    assert info == fs.find("alice", detail=True)["alice/a"]
    assert fs.info("alice/a") == info | {"versions": [dict(version) for version in store.versions(newest)]}
    assert (info["artifact_id"], info["others"]) == (newest, 2)
    fs.pipe_file("alice/a", b"4")
    assert store.retrieve(newest) == b"4"
    fs.mv("alice/a", "alice/b")
    assert not fs.exists("alice/a")
    assert fs.cat_file("alice/b") == b"4"
    assert fs.info("alice/b")["others"] == 2
    fs.rm("alice/b")
    assert fs.find("alice") == ["alice/a0"]


@pytest.mark.parametrize("path", ["alice/x", "alice/../x", "../x", "alice/a\x00", "bob", "alice/\udcff", "%FF/x"])
def test_what_is_missing(fs, path):
    """What does not exist, or can't, is not found by any method."""
    fs.touch("alice/a")
    assert not fs.exists(path)
    assert not fs.isfile(path)
    assert not fs.isdir(path)
    assert fs.find(path) == []
    for ask in (fs.info, fs.ls, fs.cat_file, fs.open, fs.created, fs.ukey, fs.rm, fs.sign):
        with pytest.raises(ArtifactNotFoundError) as caught:
            ask(path)
        assert isinstance(caught.value, FileNotFoundError)


def test_a_folder_is_no_file(fs):
    """What wants a file says that it met a folder."""
    fs.touch("alice/docs/a")
    for folder in ("alice/docs", "alice", ""):
        for ask in (fs.cat_file, fs.open, fs.rm, fs.checksum, fs.modified):
            with pytest.raises(IsADirectoryError):
                ask(folder)
    for write in (lambda: fs.open("alice", "wb"), lambda: fs.pipe_file("alice", b"")):
        with pytest.raises(IsADirectoryError):
            write()


def test_filenames_of_no_file(fs):
    """What can't be a filename is refused before anything is written."""
    for path in ("alice/../x", "alice/a\x07", "../x"):
        with pytest.raises(InvalidInputError):
            fs.pipe_file(path, b"")
        with pytest.raises(InvalidInputError), fs.open(path, "wb") as file:
            file.write(b"x")


def test_expired_files_are_gone(fs, store, clock):
    """A file whose time is over is not there any more, and a new one may take its place."""
    store.store(b"old", filename="a", session_id="alice", ttl=60)
    clock.advance(61)
    assert not fs.exists("alice/a")
    assert fs.ls("alice") == []
    fs.pipe_file("alice/a", b"new", mode="create")
    assert fs.cat_file("alice/a") == b"new"


@pytest.mark.parametrize("bind", ["argument", "store"])
def test_bound_filesystem_reaches_one_session(fs, store, bind):
    """A filesystem of one session reaches no other, and says so."""
    fs.pipe_file("bob/secret", b"x")
    artifact_id = fs.info("bob/secret")["artifact_id"]
    if bind == "argument":
        alice = ArtifactFileSystem(store, session_id="alice")
    else:
        alice = ArtifactFileSystem(store.session("alice"))
    alice.pipe_file("alice/a", b"own")
    assert alice.ls("", detail=False) == ["alice"]
    assert alice.find("") == ["alice/a"]
    assert [path for path, _, _ in alice.walk("")] == ["", "alice"]
    assert not alice.exists(f"alice/{artifact_id}")
    for ask in (
        alice.exists,
        alice.isfile,
        alice.isdir,
        alice.info,
        alice.ls,
        alice.find,
        alice.cat_file,
        alice.rm,
    ):
        with pytest.raises(AccessDeniedError) as caught:
            ask("bob/secret")
        assert isinstance(caught.value, PermissionError)
    for write in (
        lambda: alice.pipe_file("bob/a", b""),
        lambda: alice.open("bob/a", "wb"),
        lambda: alice.mkdir("bob"),
        lambda: alice.cp_file("bob/secret", "alice/b"),
        lambda: alice.cp_file("alice/a", "bob/b"),
        lambda: alice.mv("bob/secret", "alice/b"),
        lambda: alice.rm("bob", recursive=True),
        lambda: alice.touch("bob/a"),
    ):
        with pytest.raises(AccessDeniedError):
            write()
    with pytest.raises(AccessDeniedError):
        ArtifactFileSystem(store.session("alice"), session_id="bob")
    assert fs.find("bob") == ["bob/secret"]


def test_sessions_are_not_listed(fs):
    """The root of a whole store is a folder that can't be listed, and is not shown as empty."""
    fs.touch("alice/a")
    for ask in (fs.ls, fs.find):
        with pytest.raises(AccessDeniedError, match="name one"):
            ask("")
    for pattern in ("*", "**/a", "artifact://ali*/a"):
        with pytest.raises(AccessDeniedError, match="pattern"):
            fs.glob(pattern)


def test_an_outage_is_no_missing_file(fs, store, monkeypatch):
    """When the store fails, nothing says that a file is not there."""
    fs.touch("alice/a")

    def fail(*_args, **_options):
        raise ProviderError("down")

    for verb in ("has_named", "named", "page", "get"):
        monkeypatch.setattr(store.scope.core.catalog, verb, fail)
    for ask in (fs.exists, fs.isfile, fs.isdir, fs.info, fs.ls, fs.find, fs.cat_file):
        with pytest.raises(ProviderError):
            ask("alice/a")


def test_arguments(options, store):
    """The arguments are a store's; those that fsspec adds are ignored, and unknown ones are refused."""
    fs, path = url_to_fs("artifact://alice/a", **options, use_listings_cache=False, asynchronous=False)
    assert isinstance(fs, ArtifactFileSystem)
    assert path == "alice/a"
    with pytest.raises(InvalidInputError, match="unknown storage options: colour, hf; known are storage_provider, "):
        fsspec.filesystem("artifact", hf={"token": "secret"}, colour="red")
    with pytest.raises(InvalidInputError, match="fs_root"):
        ArtifactFileSystem(store, fs_root="/x")
    with pytest.raises(InvalidInputError, match="known are"):
        ArtifactFileSystem(storage_provider="nothing")


def test_filesystems_of_one_setting_are_one(options):
    """Filesystems of the same arguments are equal and see the same files, in memory too; others are not, and do not."""
    first, second = (fsspec.filesystem("artifact", **options) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first._fs_token == second._fs_token
    first.pipe_file("alice/a", b"x")
    assert second.cat_file("alice/a") == b"x"
    other = fsspec.filesystem("artifact", **options, sandbox_id="other")
    assert first != other
    assert first._fs_token != other._fs_token
    assert not other.exists("alice/a")
    assert first != fsspec.filesystem("artifact", **options, session_id="alice")
    assert first != "alice"
    ArtifactFileSystem.clear_instance_cache()
    assert first != fsspec.filesystem("artifact", **options)


def test_environment_decides(monkeypatch, tmp_path):
    """Without arguments the environment decides, as it is when the filesystem is made."""
    memory = fsspec.filesystem("artifact")
    monkeypatch.setenv("ARTIFACT_PROVIDER", "filesystem")
    monkeypatch.setenv("ARTIFACT_FS_ROOT", str(tmp_path / "store"))
    with fsspec.open("artifact://alice/a.txt", "w") as file:
        file.write("x")
    assert not memory.exists("alice/a.txt")
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "store") as store:
        assert [artifact.filename for artifact in store.list_by_session("alice")] == ["a.txt"]


def test_repr(fs):
    """The repr names the store."""
    assert repr(fs).startswith("<ArtifactFileSystem of <ArtifactStore ")

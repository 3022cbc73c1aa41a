"""Signing keys and databases that another local user made, can change, or can exchange."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import child
import pytest
from click.testing import CliRunner
from faces import AsyncFace
from records import NOW, record

from chuk_artifacts import ArtifactStore, ProviderError, SessionError, aio, ownership
from chuk_artifacts.catalog import guard
from chuk_artifacts.catalog.sqlite import SqliteCatalog
from chuk_artifacts.cli import cli
from chuk_artifacts.ownership import read_secret, resolve_links

pytestmark = pytest.mark.skipif(os.name == "nt", reason="this system has neither owners nor FIFOs")

STRANGER = 4242
KEY = b"0123456789abcdef" * 4
SECONDS = 30
DATABASE = "catalog.sqlite3"
BESIDE = ["-journal", "-wal", "-shm", "-reserve"]


@pytest.fixture(autouse=True)
def _never_blocks():
    """Interrupt an open that waits for the other end of a FIFO."""

    def fail(*_):
        raise AssertionError("it blocks")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def root(tmp_path):
    """Return a folder of this user."""
    path = tmp_path / "root"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def outside(tmp_path):
    """Return a file whose content and mode must not change during the test."""
    path = tmp_path / "outside"
    path.write_bytes(KEY)
    yield path
    assert path.read_bytes() == KEY
    assert not path.with_name("nothing").exists()


def as_root():
    """Skip the test unless this process may change owners."""
    if os.geteuid() != 0:
        pytest.skip("only root may give a file to another user")


def foreign(path, outside):
    """Make a file of another user."""
    as_root()
    path.touch(0o600)
    os.chown(path, STRANGER, STRANGER)


def with_mode(mode):
    """Return a function that makes a file with a mode."""

    def put(path, outside):
        path.write_bytes(KEY if path.name == "signing.key" else b"")
        path.chmod(mode)

    return put


def sock(path, outside):
    """Make a socket."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:  # its path must be short
        one.bind(path.name)


def device(path, outside):
    """Make a device."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except OSError as error:
        pytest.skip(str(error))


PLANTED = {
    "foreign": (foreign, "belongs to user 4242, and this process runs as user 0"),
    "group": (with_mode(0o620), "can be written by its group: .*chmod go-w"),
    "others": (with_mode(0o602), "can be written by every user: .*chmod go-w"),
    "FIFO": (lambda path, _: os.mkfifo(path, 0o600), "is a FIFO"),
    "folder": (lambda path, _: path.mkdir(0o700), "is a folder"),
    "socket": (sock, "is a socket"),
    "device": (device, "is a device"),
    "link": (lambda path, outside: path.symlink_to(outside), "is a symbolic link, which is not followed"),
    "dangling": (lambda path, outside: path.symlink_to(outside.with_name("nothing")), "is a symbolic link"),
}
READABLE = {
    "read by group": (with_mode(0o640), "can be read by its group: .*chmod 600"),
    "read by others": (with_mode(0o604), "can be read by every user: .*chmod 600"),
}
FOLDERS = {"foreign": (0o700, "belongs to user"), "others": (0o777, "by every user")}


def there(path):
    """Return the state of a path without following links."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_uid, found.st_size


def spoil(folder, kind):
    """Make a folder untrusted, and return the expected part of the message."""
    mode, words = FOLDERS[kind]
    if kind == "foreign":
        as_root()
        os.chown(folder, STRANGER, STRANGER)
    folder.chmod(mode)
    return words


def on_disk(root, **options):
    """Return a store on disk, which signs with the stored key."""
    return ArtifactStore(
        storage_provider="filesystem", fs_root=root, gateway_url="https://example.org", sandbox_id="box", **options
    )


def in_each_store(root, **options):
    """Yield a blocking and an async store on disk."""
    with on_disk(root, **options) as store:
        yield store
    with AsyncFace(
        aio.ArtifactStore(storage_provider="filesystem", fs_root=root, gateway_url="https://example.org", **options)
    ) as store:
        yield store


# The signing key


@pytest.mark.parametrize("kind", PLANTED | READABLE)
def test_key_file_that_is_not_trusted(root, outside, kind):
    """A key that another user could have made or can read signs and verifies no URL; the doctor says why."""
    plant, words = (PLANTED | READABLE)[kind]
    plant(root / "signing.key", outside)
    before = there(root / "signing.key")
    for store in in_each_store(root, session_provider="memory"):
        for sign in (lambda store=store: store.presign(store.store(b"x")), lambda store=store: store.presign_upload()):
            with pytest.raises(ProviderError, match=f"signing\\.key' {words}"):
                sign()
        found = store.validate_configuration()["storage"]
        assert found["status"] == "ok"
        assert "signing.key' " in found["warning"]
    assert there(root / "signing.key") == before


@pytest.mark.parametrize("kind", FOLDERS)
def test_folder_of_a_key_that_is_not_trusted(root, kind):
    """In a folder where another user can exchange it, a key is neither made nor read."""
    words = spoil(root, kind)
    for key in (False, True):
        if key:
            (root / "signing.key").write_bytes(KEY)
            (root / "signing.key").chmod(0o600)
        for store in in_each_store(root, session_provider="memory"):
            with pytest.raises(ProviderError, match=f"the folder '.*root'.* {words}"):
                store.presign_upload()
            assert "the folder" in store.validate_configuration()["storage"]["warning"]
        assert (root / "signing.key").exists() is key


def test_key_in_a_sticky_folder(root, outside):
    """A key is stored in a folder like /tmp, where others can't exchange it; a key that they made first is refused."""
    root.chmod(0o1777)
    with on_disk(root, session_provider="memory") as first, on_disk(root, session_provider="memory") as second:
        url = first.presign_upload("s")[0]
        assert second.scope.core.signer.check("PUT", *url.removeprefix("https://example.org/").split("?"), 0.0)
    (root / "signing.key").unlink()
    foreign(root / "signing.key", outside)
    with on_disk(root, session_provider="memory") as third, pytest.raises(ProviderError, match="belongs to"):
        third.presign_upload("s")


def test_key_of_root(tmp_path):
    """Users can use a key that root made readable for them; root does not use a key of theirs."""
    as_root()
    answer = child.run(
        """
        import os, sys
        from chuk_artifacts.ownership import read_secret

        os.umask(0)
        os.chdir(sys.argv[1])
        open("root.key", "wb", opener=lambda path, flags: os.open(path, flags, 0o644)).write(b"root's")
        os.chmod(".", 0o755)
        for folder in (4242, 4243):
            os.mkdir(str(folder), 0o700)
            os.chown(str(folder), folder, folder)
        os.setgid(4242)
        os.setuid(4242)
        print(read_secret(".", "root.key", 99))
        os.chdir("4242")
        os.close(os.open("own.key", os.O_WRONLY | os.O_CREAT, 0o600))
        print(read_secret(".", "own.key", 99))
        """,
        tmp_path,
    )
    assert answer.split("\n")[:2] == [repr(b"root's"), "b''"]
    with pytest.raises(PermissionError, match=r"the folder .* belongs to user 4242"):
        read_secret(str(tmp_path / "4242"), "own.key", 99)


def test_key_on_a_read_only_mount(root, monkeypatch):
    """A key on a read-only mount, for example a Kubernetes secret, may have any mode, but not any owner."""
    key = root / "signing.key"
    key.write_bytes(KEY)
    key.chmod(0o664)
    root.chmod(0o777)
    monkeypatch.setattr(ownership, "_is_read_only", lambda path: True)
    assert read_secret(str(root), "signing.key", 99) == KEY
    as_root()
    os.chown(key, STRANGER, STRANGER)
    with pytest.raises(PermissionError, match="belongs to"):
        read_secret(str(root), "signing.key", 99)


def test_read_only_mounts_are_known(tmp_path):
    """Read-only mounts are recognised."""
    as_root()
    arguments = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)]
    assert not ownership._is_read_only(str(tmp_path))
    if sys.platform != "linux" or subprocess.run(arguments, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert ownership._is_read_only(str(tmp_path))
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.parametrize("kind", PLANTED)
def test_key_file_that_is_exchanged_while_it_is_read(root, outside, monkeypatch, kind):
    """A file exchanged for the key between its check and its opening is refused, without blocking."""
    key = root / "signing.key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    look = os.stat

    def look_too_early(path, **options):
        found = look(path, **options)
        if path == "signing.key":
            key.unlink()
            PLANTED[kind][0](key, outside)
        return found

    monkeypatch.setattr(os, "stat", look_too_early)
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    with pytest.raises(OSError):  # noqa: PT011 - the system's own, or ours
        read_secret(str(root), "signing.key", 99)
    assert not before or len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", PLANTED)
def test_configured_key_needs_no_file(root, outside, kind):
    """With a configured key, the key file is ignored."""
    PLANTED[kind][0](root / "signing.key", outside)
    for store in in_each_store(root, signing_key="a secret of 16 bytes", session_provider="memory"):
        assert store.presign_upload("s")
        assert "signing.key" not in str(store.validate_configuration()["storage"])


@pytest.mark.parametrize("content", [b"\xff" * 64, b"x" * 65, b"x" * 1_000_000])
def test_key_file_without_a_key(root, content):
    """The error for a key file without a valid key names the file."""
    (root / "signing.key").write_bytes(content)
    (root / "signing.key").chmod(0o600)
    with on_disk(root) as store, pytest.raises(ProviderError, match=r"signing\.key .* is damaged"):
        store.presign_upload("s")


# The database


def catalog_at(path):
    """Return a catalog in a file."""
    return SqliteCatalog(str(path), "box", 86400.0)


def made(path):
    """Make a database with a record."""
    catalog = catalog_at(path)
    catalog.add([record(1)], now=NOW)
    catalog.close()


@pytest.mark.parametrize("suffix", ["", *BESIDE])
@pytest.mark.parametrize("kind", PLANTED)
def test_database_file_that_is_not_trusted(root, outside, kind, suffix):
    """A database, or a file next to it, that another user could have made is refused, and not changed."""
    plant, words = PLANTED[kind]
    path = root / f"{DATABASE}{suffix}"
    if suffix:
        made(root / DATABASE)
        path.unlink(missing_ok=True)
    plant(path, outside)
    before = there(path)
    catalog = catalog_at(root / DATABASE)
    for use in (lambda: catalog.add([record(2)], now=NOW), lambda: catalog.get([record(1).artifact_id]), catalog.check):
        with pytest.raises(SessionError, match=f"{DATABASE}{suffix}' {words}"):
            use()
    catalog.close()
    assert there(path) == before


@pytest.mark.parametrize("kind", ["foreign", "FIFO", "dangling"])
def test_database_in_both_stores(root, outside, kind):
    """A refused database raises SessionError in both stores, and the doctor reports it."""
    plant, words = PLANTED[kind]
    plant(root / DATABASE, outside)
    for store in in_each_store(root):
        with pytest.raises(SessionError, match=words):
            store.store(b"x")
        found = store.validate_configuration()["session"]
        assert found["status"] == "error"
        assert words[:12] in found["message"]


@pytest.mark.parametrize("kind", [*FOLDERS, "sticky"])
@pytest.mark.parametrize("new", [True, False])
def test_folder_of_a_database_that_is_not_trusted(root, kind, new):
    """A database is neither used nor made in a folder where another user can add files."""
    if not new:
        made(root / DATABASE)
    before = set(os.listdir(root))
    if kind == "sticky":
        root.chmod(0o1777)
        words = "by every user"
    else:
        words = spoil(root, kind)
    catalog = catalog_at(root / DATABASE)
    with pytest.raises(SessionError, match=f"the folder '.*root'.* {words}"):
        catalog.add([record(2)], now=NOW)
    assert set(os.listdir(root)) == before


def test_folder_of_a_group(root):
    """A folder that its group can write, as with a umask of 002, is accepted; files of other members are refused."""
    root.chmod(0o775)
    for store in in_each_store(root):
        assert store.presign(store.store(b"x", session_id="alice"))


def test_new_folder_in_a_shared_one(root):
    """A new folder in one that every user can write is made for this user only, and is accepted."""
    root.chmod(0o777)
    with on_disk(root / "own") as store:
        assert store.presign(store.store(b"x"))
    assert stat.S_IMODE((root / "own").stat().st_mode) == 0o700


def modes(path):
    """Return the modes of a database and of the files next to it."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


@pytest.fixture(params=[0, 0o022, 0o077], ids=oct)
def umask(request):
    """Set the umask for one test."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [None, 0o600, 0o604, 0o640, 0o644, 0o755])
def test_files_beside_a_database_are_private(root, mode):
    """Database, log, shared memory and reserve have mode 0600, for any umask and any earlier mode of the database."""
    path = root / DATABASE
    if mode is not None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE theirs (x)")
            for file in root.iterdir():  # also the files that a crash leaves
                file.chmod(mode)
            seen = used(path)
    else:
        seen = used(path)
    assert seen == {f"{DATABASE}{suffix}": 0o600 for suffix in ("", "-wal", "-shm", "-reserve")}
    assert set(modes(path).values()) == {0o600}


def used(path):
    """Return the modes of the files while a database is in use."""
    catalog = catalog_at(path)
    catalog.add([record(2)], now=NOW)
    assert catalog.get([record(2).artifact_id]) == [record(2)]
    seen = modes(path)
    catalog.close()
    return seen


def test_files_are_private_from_the_first_moment(root, monkeypatch):
    """A database with a wider mode gets mode 0600 before SQLite opens it."""
    made(root / DATABASE)
    (root / DATABASE).chmod(0o644)
    connect, seen = sqlite3.connect, []

    def look(*arguments, **options):
        seen.append(modes(root / DATABASE))
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", look)
    used(root / DATABASE)
    assert {mode for one in seen for mode in one.values()} == {0o600}


def test_mode_that_is_narrowed_is_logged(root, caplog):
    """The log says that a database was made private, once."""
    made(root / DATABASE)
    assert caplog.text == ""
    (root / DATABASE).chmod(0o644)
    made_again = catalog_at(root / DATABASE)
    assert made_again.stats(NOW)["artifacts"] == 1
    made_again.close()
    (line,) = caplog.messages
    assert "had mode '644', and has 600 now" in line


def test_files_that_a_reader_makes_are_private():
    """If another user may read a database of root, the files that SQLite makes for that user are private."""
    as_root()
    with tempfile.TemporaryDirectory() as folder:  # every user can enter its parent folder
        made(Path(folder, DATABASE))
        Path(folder, DATABASE).chmod(0o644)
        os.chown(folder, STRANGER, STRANGER)
        answer = child.run(
            """
            import os, urllib.parse  # pathlib imports it later, when this user can't read it
            from chuk_artifacts.catalog.sqlite import SqliteCatalog

            os.setgid(4242)
            os.setuid(4242)
            catalog = SqliteCatalog(os.path.abspath("catalog.sqlite3"), "box", None)
            print(catalog.stats(0)["artifacts"])
            made = {name: os.stat(name) for name in sorted(os.listdir("."))}
            print([(name, oct(status.st_mode & 0o777)) for name, status in made.items() if status.st_uid])
            """,
            cwd=folder,
        )
    assert answer.splitlines() == ["1", f"[('{DATABASE}-shm', '0o600'), ('{DATABASE}-wal', '0o600')]"]


def test_database_on_a_read_only_mount(root, monkeypatch):
    """A database on a read-only mount may have any mode."""
    made(root / DATABASE)
    (root / DATABASE).chmod(0o664)
    root.chmod(0o775)
    monkeypatch.setattr(ownership, "_is_read_only", lambda path: True)
    catalog = catalog_at(root / DATABASE)
    assert catalog.stats(NOW)["artifacts"] == 1
    catalog.close()


def test_files_are_checked_only_when_opened(root, monkeypatch):
    """A call on an open database checks only its path, once; a key is not checked again after it was read."""
    with on_disk(root) as store:
        url = store.presign(store.store(b"x"))
        looked = []
        for module, name in ((guard, "check_file"), (guard, "check_folder"), (ownership, "check_file")):
            monkeypatch.setattr(module, name, lambda *_args, **_options: looked.append(True))
        assert store.presign(store.store(b"x")) != url
        assert looked == []


@pytest.mark.parametrize("kind", PLANTED)
def test_reserve_that_is_planted_later(root, outside, kind):
    """A file exchanged for the reserve while the database is open is neither written nor cut, and does not block."""
    made(root / DATABASE)
    catalog = catalog_at(root / DATABASE)
    catalog.check()
    reserve = catalog._connections.reserve
    path = root / f"{DATABASE}-reserve"
    path.unlink()
    PLANTED[kind][0](path, outside)
    before = there(path)
    reserve.make()
    with pytest.raises(OSError):  # noqa: PT011 - the system's own, or ours
        reserve.release()
    assert there(path) == before
    catalog.close()


# Configured links


def test_own_link_is_resolved(root, tmp_path, monkeypatch):
    """SESSION_SQLITE_PATH may contain links that this user made and whose target exists."""
    made(root / "real.sqlite3")
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(root / "real.sqlite3")
    (tmp_path / "folder").symlink_to(root)
    for path in (tmp_path / "first", tmp_path / "folder" / "real.sqlite3", tmp_path / "folder" / ".." / "first"):
        monkeypatch.setenv("SESSION_SQLITE_PATH", str(path))
        with on_disk(tmp_path / "bytes") as store:
            assert store.scope.core.settings.sqlite_path == str(root / "real.sqlite3")
            assert store.get_stats()["artifacts"] == 1


@pytest.mark.parametrize("kind", ["foreign", "shared folder", "dangling", "loop", "last of two foreign"])
def test_link_that_is_not_trusted(root, outside, monkeypatch, kind):
    """A dangling link, or one that another user could have made, is refused even if configured."""
    made(root / DATABASE)
    folder = root.with_name("links")
    folder.mkdir(0o700)
    link = folder / "link"
    target = {"dangling": outside.with_name("nothing"), "loop": link}.get(kind, root / DATABASE)
    link.symlink_to(target)
    if "foreign" in kind:
        as_root()
        os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    if kind == "shared folder":
        folder.chmod(0o777)
    if kind.startswith("last"):
        (folder / "first").symlink_to(link)
        link = folder / "first"
    monkeypatch.setenv("SESSION_SQLITE_PATH", str(link))
    for store in in_each_store(root.with_name("bytes")):
        with pytest.raises(SessionError, match=r"link' is a symbolic link|the folder '.*links' can be"):
            store.get_stats()


@pytest.mark.parametrize("living", [True, False])
def test_default_path_that_is_a_link(root, outside, living):
    """A link at the default path of the database is not followed, whether or not its target exists."""
    (root / DATABASE).symlink_to(outside if living else outside.with_name("nothing"))
    for store in in_each_store(root):
        with pytest.raises(SessionError, match="symbolic link, which is not followed"):
            store.store(b"x")


@pytest.mark.parametrize("path", ["/", "/.", "relative", "relative/", "a/../b", "..", ""])
def test_paths_without_links_stay(tmp_path, monkeypatch, path):
    """A path without links becomes absolute, with any ending."""
    monkeypatch.chdir(tmp_path)
    assert resolve_links(path) == os.path.realpath(path)


# The doctor, and systems without owners


def test_doctor_says_what_to_do(root, outside, monkeypatch):
    """The doctor fails, and reports what is wrong with key and database and what to do."""
    with_mode(0o644)(root / "signing.key", outside)
    with_mode(0o666)(root / DATABASE, outside)
    monkeypatch.setenv("ARTIFACT_FS_ROOT", str(root))
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert f'{root}/signing.key\' can be read by every user: run "chmod 600" on it' in result.stdout
    assert f"{root}/{DATABASE}' can be written by every user: check what it holds" in result.stdout
    (root / "signing.key").unlink()
    (root / DATABASE).unlink()
    assert CliRunner().invoke(cli, ["init"]).exit_code == 0
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 0


def test_system_without_owners(root, outside, monkeypatch):
    """On a system without such owners and modes, only the type of a file is checked."""
    for module in (ownership, guard):
        monkeypatch.setattr(module, "_HAS_OWNERS", False)
    monkeypatch.setattr(os, "supports_dir_fd", set())
    root.chmod(0o777)
    with on_disk(root) as store:
        url = store.presign(store.store(b"x"))
        (root / "signing.key").chmod(0o666)
        (root / DATABASE).chmod(0o666)
    with on_disk(root) as store:
        assert store.scope.core.signer.check("GET", *url.removeprefix("https://example.org/").split("?"), 0.0)
    assert stat.S_IMODE((root / DATABASE).stat().st_mode) == 0o666
    (root / "signing.key").unlink()
    (root / "signing.key").symlink_to(outside)
    with on_disk(root) as store, pytest.raises(ProviderError, match="symbolic link"):
        store.presign_upload("s")

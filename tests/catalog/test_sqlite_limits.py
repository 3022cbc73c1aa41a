"""The SQLite catalog at its limits: full disks, read-only, vanished and network files, large numbers."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import tracemalloc
from pathlib import Path

import child
import pytest
from mounting import mounted
from records import NOW, name, record

from chuk_artifacts import SessionError, folders
from chuk_artifacts.catalog import connections, mounts, new_session, sqlite
from chuk_artifacts.catalog.mounts import filesystem_of
from chuk_artifacts.catalog.reserve import Reserve
from chuk_artifacts.catalog.sqlite import SqliteCatalog

DAY = 86400.0

USER = 65534

OTHER = """
import sys
from chuk_artifacts.catalog.sqlite import SqliteCatalog

catalog = SqliteCatalog(sys.argv[1], "box", None)
for line in sys.stdin:
    print(catalog.stats(0)["artifacts"], flush=True)
"""


@pytest.fixture
def path(tmp_path):
    """Return the path of the database file."""
    return tmp_path / "folder" / "catalog.sqlite3"


@pytest.fixture
def open_catalog(path):
    """Return a function that opens a catalog, of the file above if no other."""
    catalogs = []

    def open_one(path=path, sandbox_id="box", **options):
        catalogs.append(SqliteCatalog(str(path), sandbox_id, DAY, **options))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


# The log


def test_log_is_cut_after_a_storm(path, open_catalog, monkeypatch):
    """A log that grew because a reader kept it from being checkpointed is cut once the reader is done."""
    monkeypatch.setattr(sqlite, "_LONGEST_LOG", sqlite._SHORTEST_LOG)
    catalog = open_catalog()
    catalog.add([record(0)], now=NOW)
    log = path.with_name(f"{path.name}-wal")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM artifacts").fetchone()
        for number in range(1, 40):
            catalog.add([record(number, meta={"text": "x" * 20_000})], now=NOW)
        assert log.stat().st_size > 4 * sqlite._SHORTEST_LOG
        reader.execute("COMMIT")
        for number in range(40, 43):  # the first checkpoints the log, the second starts it again
            catalog.add([record(number)], now=NOW)
        assert log.stat().st_size <= sqlite._SHORTEST_LOG


# A full disk


@pytest.fixture
def disk(tmp_path):
    """Return a folder with a 2 MiB disk of its own."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs") as place:
        yield place


def fill(disk):
    """Fill a disk to the last block."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for block in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(block))


def stored(catalog):
    """Return the number of artifacts."""
    return catalog.stats(NOW)["artifacts"]


WAYS_TO_REMOVE = {
    "remove": lambda catalog, number: catalog.remove([name(number)]),
    "remove many": lambda catalog, _: catalog.remove([name(number) for number in range(1, 150)]),
    "remove_session": lambda catalog, _: [*iter(lambda: catalog.remove_session("alice", NOW, 500), None)],
    "replace_each": lambda catalog, _: catalog.replace_each(
        [(one.changed(released=True, revision=2), 1) for one in catalog.due(NOW + DAY, 150).records]
    ),
    "expire_sessions": lambda catalog, _: catalog.expire_sessions(NOW + DAY),
}


@pytest.fixture(params=["same", "reopened", "shared"])
def full(request, disk, open_catalog):
    """Return a function that returns a catalog on a full disk: one that is open, a fresh one, or one of two processes.

    What becomes free meanwhile others fill.
    """
    path = disk / "catalog.sqlite3"
    catalog = open_catalog(path)
    catalog.add([record(number) for number in range(150)], now=NOW)
    for number in range(150, 200):
        catalog.add([record(number)], now=NOW)
        catalog.create_session(new_session(f"s{number}", "box", now=NOW, ttl=60.0))
    process = child.start(OTHER, path) if request.param == "shared" else None
    if process is not None:
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()

    def again():
        nonlocal catalog
        if request.param == "reopened":
            catalog.close()
            catalog = open_catalog(path)
        fill(disk)
        return catalog

    yield again
    if process is not None:
        process.communicate()


@pytest.mark.parametrize("way", WAYS_TO_REMOVE)
def test_full_disk_can_be_emptied(full, way):
    """Removals work on a disk that is full to the last block."""
    assert WAYS_TO_REMOVE[way](full(), 7)
    catalog = full()
    assert catalog.verify() == 0
    assert catalog.remove([name(190)]) or way == "remove_session"


def test_disk_that_is_filled_again_and_again(full):
    """A disk can be emptied as often as it is filled, one record after the other."""
    for number in range(60):
        assert full().remove([name(number)]) == [record(number)]
    assert full().verify() == 0


def test_add_on_a_full_disk_leaves_nothing(full):
    """An add that fails on a full disk is an error and leaves nothing; the check reports it too."""
    catalog = full()
    with pytest.raises(SessionError, match="full"):
        for number in range(1000, 2000):  # as long as there is room in the log
            catalog.add([record(number)], now=NOW)
    info = new_session("new", "box", now=NOW, ttl=None, custom_metadata={"a": "x" * 99999})
    for add in (
        lambda catalog: catalog.add([record(number) for number in range(2000, 2100)], now=NOW),
        lambda catalog: catalog.add([record(2000, "new", meta={"a": "x" * 99999})], now=NOW),
        lambda catalog: catalog.create_session(info),
    ):
        with pytest.raises(SessionError, match="full"):
            add(full())
    catalog = full()
    with pytest.raises(SessionError, match=r"full|No space"):
        catalog.check()
    assert stored(catalog) == 200 + number - 1000
    assert catalog.get([name(number), name(2000)]) == [None, None]
    assert catalog.get_session("new", NOW) is None
    assert catalog.remove([name(3)]) == [record(3)]


def test_portion_of_a_session_on_a_full_disk_is_whole(full):
    """A portion has the requested number of records, although only smaller transactions fit."""
    catalog = full()
    assert len(catalog.remove_session("alice", NOW, 150)) == 150
    assert len(full().remove_session("alice", NOW, 150)) == 50
    assert full().remove_session("alice", NOW, 150) is None


def test_freed_disk_is_used_again(full, disk):
    """A disk that was full takes records again when space is free, and the reserve is refilled."""
    catalog = full()
    assert len(catalog.remove([name(number) for number in range(100)])) == 100
    (disk / "filler").unlink()
    os.truncate(disk / "catalog.sqlite3-reserve", 0)
    catalog._connections.reserve.short = True  # as it is when what was removed became free too late
    catalog.add([record(1000)], now=NOW)
    assert (disk / "catalog.sqlite3-reserve").stat().st_size == 128 * 1024
    catalog.add([record(number) for number in range(1001, 1100)], now=NOW)
    assert stored(catalog) == 200
    assert catalog.check() == {}


def test_batches_grow_the_file_by_less_than_the_reserve(tmp_path, open_catalog, monkeypatch):
    """The log never has more new pages than the reserve could move to the database."""
    path = tmp_path / "catalog.sqlite3"
    catalog = open_catalog(path)
    for start in range(0, 6000, 1000):
        catalog.add([record(number, meta={"text": "x" * 1000}) for number in range(start, start + 1000)], now=NOW)
        catalog.add([record(10000 + start, meta={"text": "x" * 1_000_000})], now=NOW)
        (pages,) = catalog._connections.lend(lambda one: one.execute("PRAGMA page_count").fetchone())
        assert pages * 4096 - path.stat().st_size < path.with_name("catalog.sqlite3-reserve").stat().st_size


def test_reserve_gives_and_takes(tmp_path):
    """A reserve releases half of itself each time, finally the rest, and is refilled."""
    reserve = Reserve(str(tmp_path / "x"))
    file = tmp_path / "x-reserve"
    assert not reserve.release()
    reserve.refill()
    assert not file.exists()
    reserve.make()
    whole = file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_blocks * 512 >= whole
    sizes = []
    while reserve.release():
        sizes.append(file.stat().st_size)
    assert sizes[0] == whole // 2
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    reserve.refill()
    assert file.stat().st_size == whole


def test_reserve_does_not_follow_links(tmp_path):
    """A link at the reserve's path is not written through."""
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "x-reserve").symlink_to(tmp_path / "theirs")
    Reserve(str(tmp_path / "x")).make()
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


# A file that can't be written


def read_all(catalog):
    """Read a catalog with every method; return alice's session."""
    catalog.stats(NOW)
    catalog.get_session("alice", NOW)
    assert catalog.verify() == 0
    assert catalog.get([name(1)]) == [record(1)]
    assert catalog.identity() == "identity"
    assert "read" in catalog.check()["warning"]
    return [one.filename for one in catalog.page("alice", prefix="", after=None, limit=100, now=NOW)]


WRITES = [
    lambda catalog: catalog.add([record(9)], now=NOW),
    lambda catalog: catalog.add([record(9, "new")], now=NOW),
    lambda catalog: catalog.replace(record(1, revision=2), expected_revision=1),
    lambda catalog: catalog.remove([name(1)]),
    lambda catalog: catalog.remove_session("alice", NOW, 10),
    lambda catalog: catalog.expire_sessions(NOW + 9 * DAY),
    lambda catalog: catalog.create_session(new_session("s", "box", now=NOW, ttl=None)),
    lambda catalog: catalog.identity("other") and catalog.update_session("alice", NOW, extend=1),
]


def refuses_writes(catalog):
    """Return whether each write raises an error that names the cause, and changes nothing."""
    for write in WRITES:
        with pytest.raises(SessionError, match="read-only"):
            write(catalog)
    return True


@pytest.fixture
def writer(tmp_path, open_catalog):
    """Return a catalog with two records and an identity."""
    catalog = open_catalog(tmp_path / "there" / "catalog.sqlite3")
    catalog.add([record(1), record(2)], now=NOW)
    catalog.identity("identity")
    return catalog


@contextlib.contextmanager
def read_only(tmp_path):
    """Mount the writer's folder read-only at another path."""
    with mounted(tmp_path / "here", "--bind", str(tmp_path / "there")) as place:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        yield place / "catalog.sqlite3"


def test_read_only_copy_of_a_closed_catalog(tmp_path, writer, open_catalog):
    """A root on a read-only medium can be read, without files beside the database."""
    writer.close()
    assert not (tmp_path / "there" / "catalog.sqlite3-wal").exists()
    with read_only(tmp_path) as path:
        catalog = open_catalog(path)
        assert read_all(catalog) == ["f1", "f2"]
        assert refuses_writes(catalog)
        catalog.close()


def test_read_only_view_of_a_living_catalog(tmp_path, writer, open_catalog):
    """A read-only process sees the writes of another at once."""
    with read_only(tmp_path) as path:
        catalog = open_catalog(path)
        assert read_all(catalog) == ["f1", "f2"]
        writer.add([record(3)], now=NOW)
        assert read_all(catalog) == ["f1", "f2", "f3"]
        assert refuses_writes(catalog)
        catalog.close()


def test_read_only_snapshot_with_a_log(tmp_path, writer, open_catalog):
    """A snapshot of a root in use is read with its log, without the shared memory beside it."""
    shutil.copytree(tmp_path / "there", tmp_path / "snapshot")
    writer.close()
    shutil.rmtree(tmp_path / "there")
    (tmp_path / "snapshot").rename(tmp_path / "there")
    (tmp_path / "there" / "catalog.sqlite3-shm").unlink()
    assert (tmp_path / "there" / "catalog.sqlite3-wal").stat().st_size
    with read_only(tmp_path) as path:
        catalog = open_catalog(path)
        assert read_all(catalog) == ["f1", "f2"]
        assert refuses_writes(catalog)
        catalog.close()


def test_reader_of_a_shared_medium(tmp_path, writer, open_catalog):
    """A reader of a medium that is read-only only for it notices each change."""
    writer.close()
    with read_only(tmp_path) as path:
        catalog = open_catalog(path)
        assert read_all(catalog) == ["f1", "f2"]
        for number in range(3, 6):
            writer.add([record(number)], now=NOW)
            assert len(read_all(catalog)) == number
            writer.close()  # the log goes to the database
            assert len(read_all(catalog)) == number
        catalog.close()


def test_change_in_the_midst_of_a_read(tmp_path, writer, open_catalog):
    """A read during which the file changed is repeated, and its result is not returned."""
    writer.close()
    with read_only(tmp_path) as path:
        catalog = open_catalog(path)
        seen = []

        def read(connection):
            rows = connection.execute("SELECT filename FROM artifacts").fetchall()
            if not seen:
                writer.add([record(3)], now=NOW)
                writer.close()
            seen.append(len(rows))
            return len(rows)

        assert catalog._connections.lend(read) == 3
        assert seen == [2, 3]
        catalog.close()


def test_read_only_root_without_a_catalog(tmp_path, open_catalog):
    """A read-only root without a catalog, or with an empty file, is an error that says so."""
    (tmp_path / "there").mkdir()
    with read_only(tmp_path) as path:
        with pytest.raises(SessionError, match="Read-only"):
            open_catalog(path).stats(NOW)
        (tmp_path / "there" / "catalog.sqlite3").touch()
        with pytest.raises(SessionError, match="read-only"):
            open_catalog(path).stats(NOW)


@pytest.mark.parametrize("what", ["file", "folder", "both"])
def test_root_of_another_user(what):
    """Another user with read permission can read, and is refused writes."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may become another user")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.sqlite3"
        catalog = SqliteCatalog(str(path), "box", None)
        catalog.add([record(1), record(2)], now=NOW)
        catalog.close()
        path.parent.chmod(0o755)
        path.chmod(0o644)
        os.chown(path.parent, USER if what == "file" else 0, -1)
        os.chown(path, USER if what == "folder" else 0, -1)
        answer = as_another_user(path)
    assert answer.split() == ["2", "True"]


def as_another_user(path):
    """Return the counts that another user reads, and whether their writes are refused."""
    return child.run(
        """
        import os, sys, urllib.parse  # which pathlib imports when another user may not read it
        from chuk_artifacts import SessionError
        from chuk_artifacts.catalog import new_session
        from chuk_artifacts.catalog.sqlite import SqliteCatalog

        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
        catalog = SqliteCatalog(sys.argv[1], "box", None)
        print(catalog.stats(0)["artifacts"])
        try:
            catalog.create_session(new_session("s", "box", now=0, ttl=None))
        except SessionError as error:
            print("read-only" in str(error))
        catalog.close()
        """,
        path,
        USER,
    )


# A file that vanishes


REPLACEMENTS = {
    "removed": lambda path: path.unlink(),
    "moved": lambda path: path.rename(path.with_name("elsewhere")),
    "replaced": lambda path: os.replace(shutil.copy(path, path.with_name("copy")), path),
    "folder removed": lambda path: shutil.rmtree(path.parent),
    "folder replaced": lambda path: (path.parent.rename(path.parent.with_name("old")), path.parent.mkdir()),
}


@pytest.mark.parametrize("how", REPLACEMENTS)
def test_file_that_vanishes_is_noticed(path, open_catalog, how):
    """Nothing is written, read or created after another file has taken the name of the opened one."""
    catalog = open_catalog()
    catalog.add([record(1)], now=NOW)
    REPLACEMENTS[how](path)
    was_there = path.exists()
    for _ in range(2):
        for call in (*WRITES, lambda catalog: catalog.get([name(1)]), lambda catalog: catalog.check()):
            with pytest.raises(SessionError, match=r"was (removed|replaced by another file) while it was open"):
                call(catalog)
        catalog.close()
    assert path.exists() is was_there


def test_file_that_comes_back(path, open_catalog):
    """A file that was moved away and back is still the opened one."""
    catalog = open_catalog()
    catalog.add([record(1)], now=NOW)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(SessionError, match="was removed"):
        catalog.get([name(1)])
    path.with_name("elsewhere").rename(path)
    assert catalog.get([name(1)]) == [record(1)]


def test_other_store_makes_a_vanished_file_anew(path, open_catalog):
    """A new catalog creates a removed file again; catalogs that had the old one do not use it."""
    first = open_catalog()
    first.add([record(1)], now=NOW)
    for file in path.parent.iterdir():
        file.unlink()
    second = open_catalog()
    second.add([record(2)], now=NOW)
    with pytest.raises(SessionError, match="was replaced"):
        first.add([record(3)], now=NOW)
    assert second.get([name(1), name(2), name(3)]) == [None, record(2), None]


def test_file_that_vanishes_while_it_is_opened(path, open_catalog, monkeypatch):
    """A file removed while it is opened is not created again."""
    catalog = open_catalog()
    catalog.add([record(1)], now=NOW)
    catalog.close()
    connect = sqlite3.connect

    def too_late(*arguments, **options):
        path.unlink()
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", too_late)
    with pytest.raises(SessionError):
        catalog.add([record(2)], now=NOW)
    assert not path.exists()


def test_names_that_mean_something_in_a_url(tmp_path, open_catalog):
    """The path is used literally, whatever characters it has."""
    path = tmp_path / "a?mode=ro#b %20%" / "ü&cache=shared.sqlite3"
    open_catalog(path).add([record(1)], now=NOW)
    assert path.stat().st_size
    assert sorted(os.listdir(tmp_path)) == ["a?mode=ro#b %20%"]
    assert open_catalog(path).get([name(1)]) == [record(1)]


def test_fresh_root_is_durable(path, open_catalog, monkeypatch):
    """A durable catalog syncs the names of its file and of all new folders before the first change."""
    synced = []
    monkeypatch.setattr(folders, "sync_folder", synced.append)
    monkeypatch.setattr(connections, "sync_folder", synced.append)
    nested = path.parent / "a" / "b" / "catalog.sqlite3"
    open_catalog(nested, durable=True).check()
    above = [path.parent.parent, path.parent, path.parent / "a", path.parent / "a" / "b"]
    assert synced == [str(place) for place in above]
    synced.clear()
    open_catalog(nested, durable=True).check()
    open_catalog(path.parent / "c" / "catalog.sqlite3").check()
    assert synced == []


# Much at once


def test_large_session_is_removed_in_bounded_memory(open_catalog):
    """A removal uses bounded memory, however many records a session has and a caller requests."""
    catalog = open_catalog()
    for start in range(0, 8000, 2000):
        catalog.add([record(number) for number in range(start, start + 2000)], now=NOW)
    portions = []
    tracemalloc.start()
    while (portion := catalog.remove_session("alice", NOW, 500)) is not None:
        portions.append(len(portion))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(portions) == 8000
    assert max(portions) <= 500
    assert peak < 4 * 1024 * 1024


def test_portion_is_as_large_as_requested(open_catalog):
    """A portion larger than one transaction is complete; only the last portion is shorter."""
    catalog = open_catalog()
    catalog.add([record(number) for number in range(2500)], now=NOW)
    assert [len(catalog.remove_session("alice", NOW, 1200)) for _ in range(3)] == [1200, 1200, 100]
    assert catalog.remove_session("alice", NOW, 1200) is None


def test_many_sessions_expire_in_portions(open_catalog):
    """Each transaction that removes expired sessions is small, and all are removed."""
    catalog = open_catalog()
    catalog.create_session(new_session("0", "box", now=NOW, ttl=60.0))
    with contextlib.closing(sqlite3.connect(catalog._path)) as connection:
        connection.executemany(
            "INSERT INTO sessions SELECT sandbox_id, ?, user_id, created_at, expires_at, custom_metadata, ttl"
            " FROM sessions WHERE session_id = '0'",
            [(str(number),) for number in range(1, 1200)],
        )
        connection.commit()
    statements = []
    catalog._connections.lend(lambda one: one.set_trace_callback(statements.append))
    assert catalog.expire_sessions(NOW + 60) == 1200
    assert statements.count("COMMIT") == 4
    assert catalog.stats(NOW)["sessions"] == 0


@pytest.mark.parametrize("what", ["records", "sessions"])
def test_others_write_between_two_portions(open_catalog, monkeypatch, what):
    """Other processes can write between two portions, although SQLite's lock is not fair."""
    catalog, other = open_catalog(), open_catalog()
    written = []

    def pause(seconds):
        assert seconds >= sqlite._BUSY_SLICE_SECONDS
        other.create_session(new_session(f"new{len(written)}", "box", now=NOW, ttl=None))
        written.append(seconds)

    catalog.add([record(number) for number in range(1000)], now=NOW)
    for number in range(501):
        catalog.create_session(new_session(f"{number}", "box", now=NOW, ttl=60.0))
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_SECONDS", 0)
    monkeypatch.setattr(sqlite.time, "sleep", pause)
    if what == "records":
        while catalog.remove_session("alice", NOW, 500) is not None:
            pass
    else:
        assert catalog.expire_sessions(NOW + 60) == 501
    assert written


# A network file system


MOUNTS = r"""
22 28 0:20 / /proc rw,nosuid - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 28 0:50 / /data rw - nfs4 server:/export rw
41 40 0:51 / /data/local rw - xfs /dev/vdb rw
42 28 0:52 / /with\040space rw master:3 propagate_from:2 - cifs //server/share rw
43 28 0:53 / /home/me/remote rw - fuse.sshfs me@host: rw
44 28 0:54 / /over rw - nfs server:/x rw
45 28 0:55 / /over rw - tmpfs tmpfs rw
damaged line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/catalog.sqlite3", "nfs4"),
        ("/data", "nfs4"),
        ("/database/catalog.sqlite3", "ext4"),
        ("/data/local/x", "xfs"),
        ("/data/locally/x", "nfs4"),
        ("/with space/x", "cifs"),
        ("/home/me/remote/x/y", "fuse.sshfs"),
        ("/over/x", "tmpfs"),
        ("/proc/x", "proc"),
        ("/", "ext4"),
    ],
)
def test_filesystem_of_a_path(path, kind):
    """The file system of a path is the nearest mount above it, the last one mounted there."""
    assert filesystem_of(path, MOUNTS) == kind
    assert filesystem_of(path, "") is None


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "lustre", "afs"]
)
def test_check_warns_of_a_network_file_system(tmp_path, open_catalog, monkeypatch, kind):
    """The check warns of a network file system and names it, and not of a local one."""
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "link").symlink_to(there)
    (tmp_path / "mounts").write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {there} rw - {kind} x rw\n")
    monkeypatch.setattr(mounts, "_MOUNTS", str(tmp_path / "mounts"))
    assert f"network file system ({kind})" in open_catalog(tmp_path / "link" / "catalog.sqlite3").check()["warning"]
    assert open_catalog(tmp_path / "catalog.sqlite3").check() == {}
    monkeypatch.setattr(mounts, "_MOUNTS", str(tmp_path / "missing"))
    assert open_catalog(tmp_path / "link" / "catalog.sqlite3").check() == {}


def test_check_leaves_no_file(path, open_catalog):
    """A check also removes the files it writes beside the database."""
    catalog = open_catalog()
    catalog.check()
    names = set(os.listdir(path.parent))
    catalog.check()
    assert set(os.listdir(path.parent)) == names
    assert not [one for one in names if "check" in one]
    assert sqlite._PROBE >= 4096
    assert Path(path).stat().st_size

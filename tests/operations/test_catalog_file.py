"""The file of an export: what is written, what is refused, and that nothing in it is trusted."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tracemalloc

import pytest
from fsspec.callbacks import Callback

from chuk_artifacts import AccessDeniedError, ArtifactStore, InvalidInputError, SessionError, grid
from chuk_artifacts.arguments import Limits
from chuk_artifacts.operations import catalog_file, identity


@pytest.fixture
def store():
    """Return a store in memory with two sessions."""
    with ArtifactStore(sandbox_id="box") as store:
        for number in range(3):
            store.store(b"x" * number, filename=f"f{number}", session_id="alice", meta={"n": number})
        store.store(b"y", filename="g", session_id="bob", user_id="ben")
        yield store


@pytest.fixture
def empty():
    """Return an empty store of the same sandbox."""
    with ArtifactStore(sandbox_id="box") as store:
        yield store


def lines_of(store):
    """Return the lines of an export, decoded; records sorted as they are written."""
    file = io.BytesIO()
    store.export_catalog(file)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def file_of(lines):
    """Return a file with lines."""
    return io.BytesIO(b"".join(line if isinstance(line, bytes) else f"{json.dumps(line)}\n".encode() for line in lines))


def count(store):
    """Return the numbers of sessions and artifacts in a store."""
    stats = store.get_stats()
    return stats["sessions"], stats["artifacts"]


class Pipe(io.RawIOBase):
    """A binary file that can't be sought, and returns a few bytes at a time."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        """Return True."""
        return True

    def read(self, size=-1):
        """Return at most 1000 bytes."""
        return self._data.read(min(size, 1000) if size >= 0 else 1000)


# What is written


def test_format(store):
    """The first line names format, version and sandbox; sessions come with their records; the last line counts."""
    header, *lines, last = lines_of(store)
    assert header == {
        "format": "chuk-artifacts catalog",
        "version": 1,
        "sandbox_id": "box",
        "identity": None,
        "exported_at": header["exported_at"],
    }
    kinds = ["session", "artifact", "artifact", "artifact", "session", "artifact"]
    assert [next(iter(line)) for line in lines] == kinds
    assert [line["artifact"]["filename"] for line in lines if "artifact" in line] == ["f0", "f1", "f2", "g"]
    assert last == {"end": {"sessions": 2, "artifacts": 4}}


def test_path(store, empty, tmp_path):
    """A file appears complete, for its owner only, replaces an earlier one, and is gzip if its name says so."""
    for name in ("export.jsonl", "export.jsonl.gz"):
        path = tmp_path / name
        path.write_bytes(b"earlier")
        path.chmod(0o644)
        assert store.export_catalog(path) == 4
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert empty.import_catalog(str(path), dry_run=True) == 4
    assert gzip.decompress(path.read_bytes()).startswith(b'{"format":')
    assert (tmp_path / "export.jsonl").read_bytes().startswith(b'{"format":')
    assert sorted(os.listdir(tmp_path)) == ["export.jsonl", "export.jsonl.gz"]


def test_failure_leaves_the_earlier_file(store, tmp_path, monkeypatch):
    """An export that fails leaves the earlier file, and no other."""
    path = tmp_path / "export.jsonl"
    path.write_bytes(b"earlier")

    def fail(*arguments, **options):
        raise SessionError("down")

    monkeypatch.setattr(store.scope.core.catalog, "page", fail)
    with pytest.raises(SessionError, match="down"):
        store.export_catalog(path)
    assert path.read_bytes() == b"earlier"
    assert os.listdir(tmp_path) == ["export.jsonl"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (io.StringIO(), "text file"),
        (7, "path or a binary file"),
        ("no/such/folder/x", "folder 'no/such/folder' does not exist"),
        (os.devnull, "is not a file"),
        (".", "is not a file"),
    ],
)
def test_bad_target(store, target, problem):
    """A target that can't be written is refused before anything is read."""
    with pytest.raises(InvalidInputError, match=problem):
        store.export_catalog(target)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (io.StringIO("{}"), "text file"),
        (7, "path or a binary file"),
        ("no-such-file", "does not exist"),
        (".", "is not a file"),
        (io.BytesIO(b""), "line 1: the file is empty"),
        (io.BytesIO(b"PK\x03\x04\xff"), "line 1"),
    ],
)
def test_bad_source(empty, source, problem):
    """A source that is no export is refused."""
    with pytest.raises(InvalidInputError, match=problem):
        empty.import_catalog(source)


def test_damaged_records_are_reported(store, tmp_path, monkeypatch):
    """An export without the damaged records of a catalog is written, and says so."""
    monkeypatch.setattr(store.scope.core.catalog, "verify", lambda: 2)
    with pytest.raises(SessionError, match="2 records are damaged"):
        store.export_catalog(tmp_path / "export")
    assert store.import_catalog(tmp_path / "export", dry_run=True) == 4


def test_bound_stores_refuse(store, tmp_path):
    """A bound store exports and imports nothing."""
    for call in (store.session("alice").export_catalog, store.session("alice").import_catalog):
        with pytest.raises(AccessDeniedError, match="whole store"):
            call(tmp_path / "x")
    assert os.listdir(tmp_path) == []


def test_callback(store, empty, tmp_path):
    """A callback receives the number of artifacts, and reaches it."""
    out, back = Callback(), Callback()
    store.export_catalog(tmp_path / "x", callback=out)
    empty.import_catalog(tmp_path / "x", callback=back)
    assert (out.size, out.value, back.size, back.value) == (4, 4, 4, 4)


def test_memory_is_bounded(tmp_path):
    """Neither an export nor an import holds all records in memory."""
    with ArtifactStore(storage_provider="filesystem", fs_root=tmp_path / "root", sandbox_id="box") as store:
        record = store.metadata(store.store(b"x", session_id="alice"))
        ids = [grid.new_artifact("box", "alice") for _ in range(6000)]
        records = [
            record.changed(artifact_id=one, key=key, meta={"x": "y" * 1000}, filename=f"f{number}")
            for number, (one, key) in enumerate(ids)
        ]
        store.scope.core.catalog.add(records, now=store.scope.core.clock())
        del records, ids
        tracemalloc.start()
        store.export_catalog(tmp_path / "x.gz")
        store.import_catalog(tmp_path / "x.gz")
        assert tracemalloc.get_traced_memory()[1] < 8_000_000  # they are 10 MB of JSON
        tracemalloc.stop()


# What is read


def test_other_forms_of_json(store, empty):
    """Another layout of the same lines, gzip and a file that can't be sought are read as well."""
    lines = lines_of(store)
    assert empty.import_catalog(file_of([f"  {json.dumps(line, indent=None)} \r\n".encode() for line in lines])) == 4
    packed = gzip.compress(file_of(lines).getvalue())
    with ArtifactStore(sandbox_id="box") as other:
        assert other.import_catalog(Pipe(packed)) == 4
        assert other.usage() == empty.usage() == store.usage()
        assert other.import_catalog(io.BytesIO(packed)) == 0


def refused(store, file, problem):
    """Import a file, which must be refused and change nothing."""
    before = count(store)
    with pytest.raises(InvalidInputError, match=problem) as caught:
        store.import_catalog(file)
    assert count(store) == before
    return str(caught.value)


@pytest.mark.parametrize("number", range(1, 9))
def test_cut(store, empty, number):
    """A file that was cut, after a line or within one, is refused with the number of its last line."""
    data = file_of(lines_of(store)).getvalue().splitlines(keepends=True)
    whole = b"".join(data[: number - 1])
    if number > 1:
        refused(empty, io.BytesIO(whole), rf"line {number - 1}: the file ends here, without its last line")
    refused(
        empty, io.BytesIO(whole + data[number - 1][:-5]), rf"line {number}: it is not JSON|line {number}: .* invalid"
    )


def test_cut_gzip(store, empty):
    """Gzip data that ends early, or is damaged, is refused."""
    packed = gzip.compress(file_of(lines_of(store)).getvalue())
    refused(empty, io.BytesIO(packed[:-10]), "line [789]: the gzip data ends here")
    refused(empty, io.BytesIO(packed[:100]), "gzip data ends here")
    refused(
        empty, io.BytesIO(packed[:60] + b"\0" * 8 + packed[68:]), "line 1: the gzip data is damaged|is invalid|JSON"
    )
    refused(empty, io.BytesIO(packed + b"garbage"), "gzip data is damaged")


def test_gzip_bomb(empty):
    """A line without an end is refused before all of it is unpacked."""
    bomb = gzip.compress(b'{"format":"' + b" " * 200_000_000, 1)
    tracemalloc.start()
    refused(empty, io.BytesIO(bomb), r"line 1: it is longer than \d+ bytes")
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


def test_longest_line(tmp_path):
    """What a store accepts fits a line, however it is escaped."""
    limits = {"max_summary_bytes": 2 * 1024**2, "max_meta_bytes": 3 * 1024**2}
    with ArtifactStore(sandbox_id="box", **limits) as store, ArtifactStore(sandbox_id="box", **limits) as other:
        store.store(b"", summary="\x01" * 2_000_000, meta={"\x02": "x" * 3_000_000}, session_id="alice")
        store.export_catalog(tmp_path / "x")
        assert other.import_catalog(tmp_path / "x") == 1
        assert [*other.list_by_session("alice")] == [*store.list_by_session("alice")]
    assert Limits().meta < catalog_file._LONGEST_FIXED


HEADERS = {
    "other sandbox": ({"sandbox_id": "bix"}, "line 1: the export is of the sandbox 'bix', and .* 'box'"),
    "no sandbox": ({"sandbox_id": None}, "line 1: the export is of the sandbox None"),
    "newer": ({"version": 2}, r"line 1: a newer chuk-artifacts wrote it \(format 2; this one knows 1\)"),
    "no version": ({"version": "1"}, "line 1: version can't be '1'"),
    "version 0": ({"version": 0}, "line 1: version can't be 0"),
    "bool": ({"version": True}, "line 1: version can't be True"),
    "no time": ({"exported_at": "yesterday"}, "line 1: exported_at can't be 'yesterday'"),
    "other format": ({"format": "x"}, "line 1: this is no export"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_bad_header(store, empty, name):
    """An export of another sandbox, a newer version or another program is refused."""
    change, problem = HEADERS[name]
    header, *lines = lines_of(store)
    refused(empty, file_of([{**header, **change}, *lines]), problem)


def test_bad_structure(store, empty):
    """Lines that are repeated, missing, in another sequence, unknown, or behind the last one are refused."""
    header, alice, f0, f1, f2, bob, g, end = lines_of(store)
    whole = [header, alice, f0, f1, f2, bob, g, end]
    refused(empty, file_of([header, alice, f0, f0, f1, f2, bob, g, end]), "line 4: .*it is there twice")
    refused(empty, file_of([header, alice, f1, f0, f2, bob, g, end]), "line 4: .*not sorted")
    refused(empty, file_of([header, alice, f0, f2, bob, g, end]), "line 7: .*counts 2 sessions and 4 .* 2 and 3")
    refused(empty, file_of([header, alice, f0, f1, f2, g, end]), "line 6: .*another session than the lines before")
    refused(empty, file_of([header, f0, alice, f1, f2, bob, g, end]), "line 2: .*another session")
    refused(empty, file_of([*whole, g]), "line 9: there is more")
    refused(empty, file_of([*whole, b"\n"]), "line 9: there is more")
    refused(empty, file_of([header, b"\n", *whole[1:]]), "line 2: it is not JSON")
    refused(empty, file_of([header, {"folder": {}}, *whole[1:]]), "line 2: unknown kind of line 'folder'")
    refused(empty, file_of([header, {**alice, **f0}, *whole[1:]]), "line 2: .*")
    refused(empty, file_of([header, ["session"], *whole[1:]]), "line 2: it is no object")
    refused(empty, file_of([header, b"\xff\xfe\n", *whole[1:]]), "line 2: it is not UTF-8")
    refused(empty, file_of([header, b'{"session":{"a":1,"a":2}}\n', *whole[1:]]), "line 2")
    refused(empty, file_of([header, b"[" * 100_000 + b"\n", *whole[1:]]), "line 2: it is not JSON")
    refused(empty, file_of([*whole[:-1], {"end": {"sessions": 2}}]), "line 8: end is invalid")
    refused(empty, file_of([*whole[:-1], {"end": 7}]), "line 8: end is invalid")


def forgeries(record, victim):
    """Return fields that a record must not have, and what its refusal says."""
    key, name = victim["key"], victim["artifact_id"]
    return [
        ({"key": key}, "keys of the artifact"),
        ({"key": "../../etc/passwd"}, "keys of the artifact"),
        ({"key": "signing.key"}, "keys of the artifact"),
        ({"key": record["key"] + "~2/../x"}, "keys of the artifact"),
        ({"key": key, "artifact_id": name}, "keys of the artifact"),
        ({"artifact_id": name, "key": record["key"].rpartition("/")[0] + "/" + name}, "not one of its session"),
        ({"superseded": [[key, record["stored_at"], 1]]}, "keys of the artifact"),
        ({"session_id": victim["session_id"], "key": key, "artifact_id": name}, "another session"),
        ({"sandbox_id": "bix", "key": record["key"].replace("/box/", "/bix/")}, "another session"),
        ({"session_id": "../bob"}, "session_id must not hold"),
        ({"filename": "../../x"}, "'..'"),
        ({"filename": "/etc/passwd"}, "absolute"),
        ({"mime": "text/html\r\nX: y"}, "mime"),
        ({"bytes": -1}, "below 0"),
        ({"bytes": 2**63}, "above"),
        ({"bytes": "1"}, "bytes can't be a str"),
        ({"bytes": True}, "bytes can't be a bool"),
        ({"revision": 1.0}, "revision can't be a float"),
        ({"sha256": "x"}, "sha256"),
        ({"meta": []}, "meta can't be a list"),
        ({"stored_at": "now"}, ""),
        ({"expires_at": "2026-01-01"}, "not a timestamp"),
        ({"ttl": -1}, "ttl"),
        ({"summary": None}, "summary can't be a NoneType"),
        ({"summary": "\ud800"}, "Unicode"),
        ({"pending": [1, 2]}, "pending"),
        ({"released": 1}, "released can't be a int"),
    ]


def test_forged_records(store, empty):
    """No field of a record leads to another session, another sandbox or another file, or has the wrong type."""
    header, alice, f0, f1, f2, bob, g, end = lines_of(store)
    for change, problem in forgeries(f1["artifact"], g["artifact"]):
        forged = {"artifact": {**f1["artifact"], **change}}
        refused(
            empty, file_of([header, alice, f0, forged, f2, bob, g, end]), f"line 4: artifact is invalid: .*{problem}"
        )


def test_forged_sessions(store, empty):
    """A session of another sandbox, or with a field of the wrong type, is refused."""
    header, alice, *rest = lines_of(store)
    for change in (
        {"sandbox_id": "bix"},
        {"session_id": "a/b"},
        {"user_id": 7},
        {"custom_metadata": None},
        {"ttl": "1"},
    ):
        forged = {"session": {**alice["session"], **change}}
        refused(empty, file_of([header, forged, *rest]), "line 2: session is invalid")


def test_id_of_another_session(store, empty, monkeypatch):
    """A record does not replace an artifact of another session whose id has the same digest.

    Digests of 32 bits can be made to agree by trying.
    """
    monkeypatch.setattr(grid, "slot_tag", lambda *_: "0" * 8)
    victim = empty.store(b"secret", session_id="victim")
    record = empty.scope.core.catalog.get((victim,))[0]
    forged = record.changed(
        session_id="alice", key=grid.artifact_key("box", "alice", victim), revision=99, artifact_id=victim
    )
    header, alice, *_ = lines_of(store)
    lines = [header, alice, {"artifact": json.loads(forged.to_json())}, {"end": {"sessions": 1, "artifacts": 1}}]
    with pytest.raises(InvalidInputError, match="belongs to another session here"):
        empty.import_catalog(file_of(lines))
    assert empty.session("victim").retrieve(victim) == b"secret"


def test_progress_of_what_can_not_be_checked_first(empty, monkeypatch):
    """Where a file can't be read twice, the message says how many records were imported before the invalid line."""
    with ArtifactStore(sandbox_id="box") as store:
        for number in range(1200):
            store.store(b"", filename=f"{number:04}", session_id="alice")
        lines = lines_of(store)
    lines[1100] = {"artifact": {}}
    message = "line 1101: artifact is invalid: .*; 1000 records of the lines before it were imported"
    with pytest.raises(InvalidInputError, match=message):
        empty.import_catalog(Pipe(file_of(lines).getvalue()))
    assert count(empty) == (1, 1000)
    refused(empty, file_of(lines), "line 1101")


# The same revision in another state


def test_rebuilt_records_are_replaced(store):
    """A record that was rebuilt from the bytes is of the same revision, and is replaced; a later change is kept."""
    lines = lines_of(store)
    (known,) = store.list_by_session("bob")
    rebuilt = known.changed(filename=None, summary="", mime="application/octet-stream")
    assert store.scope.core.catalog.replace(rebuilt, expected_revision=1)
    assert store.import_catalog(file_of(lines)) == 1
    assert store.list_by_session("bob") == [known]
    assert store.scope.core.catalog.replace(
        known.changed(updated_at="9999-01-01T00:00:00.000000+00:00", summary="later"), expected_revision=1
    )
    assert store.import_catalog(file_of(lines)) == 0
    assert store.list_by_session("bob")[0].summary == "later"


# Orphans


def on_disk(root, **options):
    """Return a store on disk."""
    return ArtifactStore(storage_provider="filesystem", fs_root=root, sandbox_id="box", **options)


def test_orphans_after_an_import(tmp_path):
    """An import proves nothing: bytes that an old export does not know are no orphans, whatever happens next."""
    root, export, catalog = tmp_path / "root", tmp_path / "export", tmp_path / "root" / "catalog.sqlite3"
    for keeps_identity in (True, False):
        with on_disk(root) as store:
            store.store(b"old", session_id="alice")
            store.export_catalog(export)
            newer = store.store(b"newer", session_id="alice")
            key = store.metadata(newer).key
            if not keeps_identity:  # as in a store of an early version
                storage = store.scope.core.storage
                storage.delete([one.key for one in storage.list_objects(grid.identity_prefix("box"))])
        for path in root.glob("catalog.sqlite3*"):
            path.unlink()
        with on_disk(root) as store:
            assert store.import_catalog(export) >= 1
            with pytest.raises(SessionError, match=r"no orphan was removed: .*catalog"):
                store.cleanup(orphans=True, force=True)
            store.store(b"another", session_id="alice")
            with pytest.raises(SessionError, match=r"no orphan was removed: .*does not know"):
                store.cleanup(orphans=True, force=True)
            assert store.scope.core.storage.get(key) == b"newer"
        assert catalog.exists()


def test_import_into_the_own_catalog_keeps_the_proof(tmp_path):
    """An import into the catalog that was exported changes nothing about orphans."""
    with on_disk(tmp_path / "root") as store:
        store.store(b"old", session_id="alice")
        store.export_catalog(tmp_path / "export")
        store.import_catalog(tmp_path / "export")
        identity.prove(store.scope.core)
        assert store.cleanup(orphans=True).orphans == 0

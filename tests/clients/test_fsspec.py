"""fsspec's caches over ``artifact://``, and programs that make a folder before they write into it."""

from __future__ import annotations

import gc

import fsspec
import pytest

from chuk_artifacts import InvalidInputError


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by fsspec's MMapCache
@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_caches(options, fs, tmp_path, cache):
    """A file is read through each of fsspec's caches on disk, twice, from any position."""
    data = bytes(range(256)) * 40_000
    fs.pipe_file("alice/a.bin", data)
    cached = {"artifact": options, cache: {"cache_storage": str(tmp_path / "cache")}}
    for _ in range(2):
        with fsspec.open(f"{cache}::artifact://alice/a.bin", **cached) as file:
            file.seek(10_000_000)
            assert file.read(100) == data[10_000_000:10_000_100]
            file.seek(0)
            assert file.read() == data
    del file
    gc.collect()


def test_new_folder_is_listed(fs):
    """A folder that was made is there, and empty, until a file is in it or it is removed."""
    fs.makedirs("alice/new/folder")
    assert fs.ls("alice/new/folder") == []
    assert fs.isdir("alice/new/folder")
    assert fs.ls("alice/new", detail=False) == ["alice/new/folder"]
    fs.pipe_file("alice/new/folder/a", b"a")
    fs.rm_file("alice/new/folder/a")
    assert not fs.exists("alice/new/folder")
    fs.mkdir("alice/other")
    fs.rmdir("alice/other")
    assert not fs.exists("alice/other")


def test_duckdb_partitions_into_a_new_folder(fs):
    """DuckDB writes a partitioned table into a folder that does not exist yet."""
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        connection.sql(
            "COPY (SELECT i, i % 2 AS p FROM range(10) t(i)) TO 'artifact://alice/parts'"
            " (FORMAT parquet, PARTITION_BY p)"
        )
        rows = connection.sql("SELECT count(*) FROM read_parquet('artifact://alice/parts/*/*.parquet')").fetchall()
    assert rows == [(10,)]
    assert len(fs.find("alice/parts")) == 2


def test_unknown_storage_option(options):
    """A storage option that is no argument of a store is refused as invalid input that names it."""
    with pytest.raises(InvalidInputError, match="block_size"):
        fsspec.filesystem("artifact", **options, block_size=1)


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [("wb", b"abcdef", b"ab\0\0Z"), ("r+b", b"abcdef", b"abZd"), ("w+b", b"abcdef", b"ab\0\0Z")],
)
def test_truncate(fs, mode, before, after):
    """A writer is cut and lengthened as a file on disk is."""
    fs.pipe_file("alice/a", before)
    with fs.open("alice/a", mode) as file:
        if mode == "r+b":
            assert file.read(2) == b"ab"
            file.write(b"Z")
            assert file.truncate(4) == 4
        else:
            file.write(b"abcdef")
            assert file.truncate(2) == 2
            assert file.tell() == 6
            file.seek(4)
            file.write(b"Z")
    assert fs.cat_file("alice/a") == after

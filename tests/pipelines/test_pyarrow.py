"""pyarrow keeps datasets in a session."""

from __future__ import annotations

import gc

import pytest

pa = pytest.importorskip("pyarrow")
ds = pytest.importorskip("pyarrow.dataset")
pafs = pytest.importorskip("pyarrow.fs")
pq = pytest.importorskip("pyarrow.parquet")

TABLE = pa.table({"number": list(range(1000)), "letter": ["x", "y"] * 500})


@pytest.fixture
def arrow(fs):
    """Return the filesystem in pyarrow's form."""
    return pafs.PyFileSystem(pafs.FSSpecHandler(fs))


def write(arrow, **options):
    """Write the table as a partitioned dataset."""
    options = {"partitioning": ["letter"], "partitioning_flavor": "hive", **options}
    ds.write_dataset(TABLE, "alice/ds", format="parquet", filesystem=arrow, **options)


def test_dataset(arrow, fs):
    """A dataset is written in partitions, found again, and read by columns and filters."""
    write(arrow)
    assert fs.find("alice") == ["alice/ds/letter=x/part-0.parquet", "alice/ds/letter=y/part-0.parquet"]
    dataset = ds.dataset("alice/ds", filesystem=arrow, format="parquet", partitioning="hive")
    assert dataset.count_rows() == 1000
    evens = dataset.to_table(columns=["number"], filter=ds.field("letter") == "x")
    assert sorted(evens["number"].to_pylist()) == list(range(0, 1000, 2))
    write(arrow, existing_data_behavior="delete_matching")
    assert dataset.count_rows() == 1000
    assert len(fs.find("alice")) == 2


def test_file_operations(arrow, fs):
    """What pyarrow asks of a filesystem is answered as it expects."""
    write(arrow)
    assert arrow.get_file_info("alice/none").type == pafs.FileType.NotFound
    assert arrow.get_file_info("alice/ds").type == pafs.FileType.Directory
    infos = arrow.get_file_info(pafs.FileSelector("alice/ds", recursive=True))
    assert {(info.path, info.type) for info in infos} == {
        ("alice/ds/letter=x", pafs.FileType.Directory),
        ("alice/ds/letter=x/part-0.parquet", pafs.FileType.File),
        ("alice/ds/letter=y", pafs.FileType.Directory),
        ("alice/ds/letter=y/part-0.parquet", pafs.FileType.File),
    }
    arrow.create_dir("alice/empty")
    arrow.move("alice/ds", "alice/moved")
    arrow.copy_file("alice/moved/letter=x/part-0.parquet", "alice/copy.parquet")
    arrow.delete_dir("alice/moved")
    assert fs.find("alice") == ["alice/copy.parquet"]
    arrow.delete_file("alice/copy.parquet")
    with arrow.open_output_stream("alice/stream") as stream:
        stream.write(b"one")
    with arrow.open_append_stream("alice/stream") as stream:
        stream.write(b"two")
    with arrow.open_input_stream("alice/stream") as stream:
        assert stream.read() == b"onetwo"


def test_names_that_look_like_patterns(arrow, fs):
    """A file or a folder is moved, copied and deleted itself, and nothing that its name would match as a pattern."""
    fs.pipe(dict.fromkeys(("alice/a[1]", "alice/a1", "alice/d[1]/x", "alice/d1/x"), b"x"))
    arrow.copy_file("alice/a[1]", "alice/copy")
    arrow.move("alice/a[1]", "alice/b[1]")
    arrow.delete_file("alice/b[1]")
    arrow.move("alice/d[1]", "alice/e[1]")
    arrow.delete_dir("alice/e[1]")
    assert fs.find("alice") == ["alice/a1", "alice/copy", "alice/d1/x"]


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
def test_dropped_without_close(arrow, fs):
    """A stream or a file that pyarrow writes, and that is dropped without close, is there."""
    stream = arrow.open_output_stream("alice/stream")
    stream.write(b"whole")
    del stream
    writer = pq.ParquetWriter(fs.open("alice/t.parquet", "wb"), TABLE.schema)
    writer.write_table(TABLE)
    del writer
    gc.collect()
    assert fs.cat_file("alice/stream") == b"whole"
    assert pq.read_table("alice/t.parquet", filesystem=arrow) == TABLE


def half_a_stream(arrow, schema):
    """Write to a stream that a block of pyarrow's own closes, and raise."""
    with arrow.open_output_stream("alice/half/0") as stream:
        stream.write(b"half")
        raise ZeroDivisionError


def half_a_file(arrow, schema):
    """Write a file with a writer that closes its stream by itself, and raise."""
    with pq.ParquetWriter("alice/half/0", schema, filesystem=arrow) as writer:
        writer.write_batch(pa.record_batch({"number": [1]}))
        raise ZeroDivisionError


def half_a_dataset(arrow, schema):
    """Write batches that raise before the last one, in threads of pyarrow's own."""

    def batches():
        yield pa.record_batch({"number": range(100_000)})
        raise ZeroDivisionError

    ds.write_dataset(batches(), "alice/half", schema=schema, format="parquet", filesystem=arrow)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what pyarrow gives up it does not close
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fail", [half_a_stream, half_a_file, half_a_dataset])
def test_half_a_file_is_discarded(arrow, fs, fail):
    """What pyarrow does not write to its end leaves no file behind; what it does, does."""
    with arrow.open_output_stream("alice/whole") as stream:
        stream.write(b"whole")
    with pytest.raises(ZeroDivisionError):
        fail(arrow, pa.schema([("number", pa.int64())]))
    gc.collect()
    assert fs.find("alice") == ["alice/whole"]

"""pandas reads and writes artifacts by URL."""

from __future__ import annotations

import pytest

pd = pytest.importorskip("pandas")


@pytest.fixture
def frame():
    """Return a table."""
    return pd.DataFrame({"number": range(1000), "letter": ["x", "y"] * 500})


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "folder/t.csv.zip", "t.csv.xz"])
def test_csv(options, frame, name):
    """A table goes to CSV and back, compressed by its name."""
    url = f"artifact://alice/{name}"
    frame.to_csv(url, index=False, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_csv(url, storage_options=options), frame)


def test_other_formats(options, frame):
    """JSON lines and pickles go there and back as well."""
    frame.to_json("artifact://alice/t.jsonl", orient="records", lines=True, storage_options=options)
    back = pd.read_json("artifact://alice/t.jsonl", orient="records", lines=True, storage_options=options)
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    frame.to_pickle("artifact://alice/t.pkl", storage_options=options)
    pd.testing.assert_frame_equal(pd.read_pickle("artifact://alice/t.pkl", storage_options=options), frame)


def test_parquet(options, frame):
    """A table goes to Parquet and back, whole and by columns."""
    pytest.importorskip("pyarrow")
    url = "artifact://alice/t.parquet"
    frame.to_parquet(url, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_parquet(url, storage_options=options), frame)
    column = pd.read_parquet(url, columns=["number"], storage_options=options)
    pd.testing.assert_frame_equal(column, frame[["number"]])


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.zip"])
def test_failed_write_leaves_the_file_before(options, fs, frame, name):
    """When a table can't be written to its end, the file before stays as it is, whatever compresses it."""

    class Broken:
        def __str__(self):
            raise ZeroDivisionError

    url = f"artifact://alice/{name}"
    frame.to_csv(url, index=False, storage_options=options)
    broken = pd.DataFrame({"number": [*range(10_000), Broken()]}, dtype=object)
    with pytest.raises(ZeroDivisionError):
        broken.to_csv(url, index=False, storage_options=options, chunksize=100)
    pd.testing.assert_frame_equal(pd.read_csv(url, storage_options=options), frame)
    assert fs.info(f"alice/{name}")["revision"] == 1


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
def test_open_file_that_is_not_closed(fs, frame):
    """A table that is written to an open file, which is not closed, is there."""
    frame.to_csv(fs.open("alice/t.csv", "w"), index=False)
    frame.to_json(fs.open("alice/t.jsonl", "w"), orient="records", lines=True)
    assert fs.read_text("alice/t.csv") == frame.to_csv(index=False)
    assert fs.read_text("alice/t.jsonl") == frame.to_json(orient="records", lines=True)


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
def test_wrong_encoding_leaves_the_file_before(options, fs, frame):
    """When a table can't be written at all, for its encoding is unknown, the file before stays as it is."""
    fs.pipe_file("alice/t.csv", b"before")
    with pytest.raises(LookupError):
        frame.to_csv("artifact://alice/t.csv", encoding="nonsense", storage_options=options)
    assert fs.cat_file("alice/t.csv") == b"before"
    assert fs.info("alice/t.csv")["revision"] == 1

"""dask's workers, processes of their own, read and write artifacts by URL."""

from __future__ import annotations

import pytest

dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")
bag = pytest.importorskip("dask.bag")
pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pandas, for what dask does with it


@pytest.fixture
def frame():
    """Return a table in four parts, on which two processes work."""
    with dask.config.set(scheduler="processes", num_workers=2):
        yield dd.from_pandas(pd.DataFrame({"number": range(1000), "letter": ["x", "y"] * 500}), npartitions=4)


def test_parquet(options, fs, frame):
    """Parts are written by the workers, found again, and written over."""
    for _ in range(2):
        frame.to_parquet("artifact://alice/t", storage_options=options, overwrite=True)
        assert len(fs.glob("alice/t/*.parquet")) == 4
        assert dd.read_parquet("artifact://alice/t", storage_options=options).number.sum().compute() == 499500


def test_csv(options, frame):
    """Text is written in parts, and read in blocks that are not the same."""
    frame.to_csv("artifact://alice/t/*.csv", index=False, storage_options=options)
    table = dd.read_csv("artifact://alice/t/*.csv", storage_options=options, blocksize=500)
    assert table.npartitions > 4
    assert table.number.sum().compute() == 499500
    assert bag.read_text("artifact://alice/t/*.csv", storage_options=options).count().compute() == 1004

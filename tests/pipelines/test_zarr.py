"""zarr keeps arrays in a session."""

from __future__ import annotations

import pytest

zarr = pytest.importorskip("zarr")
np = pytest.importorskip("numpy")


def test_array(options, fs):
    """An array is written in chunks, found again, and changed in part; what was never written is not there."""
    url = "artifact://alice/a.zarr"
    array = zarr.create_array(url, shape=(100, 100), chunks=(50, 50), dtype="f8", fill_value=7, storage_options=options)
    array[:50] = np.arange(5000).reshape(50, 100)
    again = zarr.open_array(url, mode="r+", storage_options=options)
    assert again[3, 4] == 304
    assert again[99, 99] == 7
    again[3, 4] = -1
    assert zarr.open_array(url, mode="r", storage_options=options)[3, 4] == -1
    assert len(fs.find("alice/a.zarr/c")) == 2

"""xarray, h5netcdf and h5py: files of scientific data, which are written out of order and cut at their end.

What writes does so in a process of its own: HDF5 crashes the interpreter when a file that it writes to fails.
"""

from __future__ import annotations

import io

import child
import pytest

h5py = pytest.importorskip("h5py")
xr = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
np = pytest.importorskip("numpy")

BEGIN = """
    import sys

    import fsspec
    import h5py
    import numpy as np
    import xarray as xr

    from chuk_artifacts.filesystem import ArtifactFileSystem

    fs = ArtifactFileSystem(storage_provider="filesystem", fs_root=sys.argv[1])
    data = xr.Dataset({"v": ("x", np.arange(1000))})
"""


@pytest.fixture
def write(options):
    """Return a function that runs code in another process, with a filesystem and a dataset."""
    return lambda code: child.run(BEGIN + code, options["fs_root"])


def test_dataset_to_file(write, fs):
    """A dataset is written to an open file, and read again."""
    write("""
    with fs.open("alice/x.nc", "wb") as file:
        data.to_netcdf(file, engine="h5netcdf")
    """)
    with fs.open("alice/x.nc") as file, xr.open_dataset(file, engine="h5netcdf") as dataset:
        assert dataset.v.sum().item() == 499_500


def test_hdf5_to_file(write, fs):
    """An HDF5 file is written to an open file, and read again."""
    write("""
    with fs.open("alice/x.h5", "wb") as file, h5py.File(file, "w") as target:
        target["v"] = np.arange(1000)
        target.attrs["name"] = "x"
    """)
    with fs.open("alice/x.h5") as file, h5py.File(file, "r") as source:
        assert source["v"][:].sum() == 499_500


def test_hdf5_is_changed(write, fs):
    """An HDF5 file is opened to read and write, and a second array added, as a new revision."""
    with fs.open("alice/x.h5", "wb") as file:
        file.write(hdf5())
    write("""
    with fs.open("alice/x.h5", "r+b") as file, h5py.File(file, "r+") as target:
        target["w"] = target["v"][:] * 2
    """)
    with fs.open("alice/x.h5") as file, h5py.File(file, "r") as source:
        assert source["w"][:].sum() == 999_000
    assert fs.info("alice/x.h5")["revision"] == 2


def test_hdf5_is_read(fs):
    """An HDF5 file is read from an open file, in part."""
    fs.pipe_file("alice/x.h5", hdf5())
    with fs.open("alice/x.h5") as file, h5py.File(file, "r") as source:
        assert source["v"][10:20].tolist() == list(range(10, 20))


def test_dataset_is_read(fs):
    """A dataset is read from an open file."""
    fs.pipe_file("alice/x.nc", bytes(xr.Dataset({"v": ("x", np.arange(1000))}).to_netcdf(engine="h5netcdf")))
    with fs.open("alice/x.nc") as file, xr.open_dataset(file, engine="h5netcdf") as dataset:
        assert dataset.v.sum().item() == 499_500


def hdf5():
    """Return an HDF5 file with one array."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["v"] = np.arange(1000)
    return buffer.getvalue()

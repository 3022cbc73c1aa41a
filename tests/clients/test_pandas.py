"""pandas: workbooks, which openpyxl reads and writes."""

from __future__ import annotations

import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("openpyxl")

URL = "artifact://alice/t.xlsx"


@pytest.fixture
def frame():
    """Return a table."""
    return pd.DataFrame({"number": range(100), "letter": ["x", "y"] * 50})


def test_workbook(options, frame):
    """A table goes to a workbook and back."""
    frame.to_excel(URL, index=False, storage_options=options)
    pd.testing.assert_frame_equal(pd.read_excel(URL, storage_options=options), frame)


def test_second_sheet(options, fs, frame):
    """A sheet is added to a workbook, as a new revision of the same file."""
    frame.to_excel(URL, sheet_name="first", index=False, storage_options=options)
    with pd.ExcelWriter(URL, mode="a", engine="openpyxl", storage_options=options) as writer:
        frame.to_excel(writer, sheet_name="second", index=False)
    sheets = pd.read_excel(URL, sheet_name=None, storage_options=options)
    assert list(sheets) == ["first", "second"]
    pd.testing.assert_frame_equal(sheets["second"], frame)
    assert fs.info("alice/t.xlsx")["revision"] == 2


def test_failed_sheet_leaves_the_workbook(options, fs, frame):
    """When the second sheet can't be written, the workbook stays as it is."""
    frame.to_excel(URL, sheet_name="first", index=False, storage_options=options)
    before = fs.cat_file("alice/t.xlsx")
    with (
        pytest.raises(ValueError, match="Sheet 'first' already exists"),
        pd.ExcelWriter(URL, mode="a", engine="openpyxl", storage_options=options) as writer,
    ):
        frame.to_excel(writer, sheet_name="first", index=False)
    assert fs.cat_file("alice/t.xlsx") == before

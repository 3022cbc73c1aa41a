"""Jupyter: cells of a notebook, run by nbclient in a kernel whose event loop runs all the time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from textwrap import dedent

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the kernel's client
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

CELLS = [
    # the blocking store works while a loop runs
    """
    import asyncio
    from chuk_artifacts import ArtifactStore, aio
    assert asyncio.get_running_loop()
    store = ArtifactStore()
    file_id = store.store(b"from a cell", filename="a.txt", session_id="notebook")
    store.retrieve(file_id)
    """,
    # a cell may await the async store, its own or a view of that one
    """
    files = aio.ArtifactStore.wrap(store)
    await files.retrieve(file_id)
    """,
    """
    async with store as same:
        size = (await same.metadata(file_id)).bytes
    size
    """,
    # a signed URL is served by this very process
    """
    from urllib.request import urlopen
    with ArtifactStore() as store:
        with urlopen(store.presign(file_id)) as answer:
            data = answer.read()
    data
    """,
]


def test_cells(environment, store, monkeypatch, tmp_path):
    """Cells store, read, await and fetch by URL, one after the other in one kernel."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    cells = [nbformat.v4.new_code_cell(dedent(cell)) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    results = [output["data"]["text/plain"] for cell in notebook.cells for output in cell.outputs]
    assert results == ["b'from a cell'", "b'from a cell'", "11", "b'from a cell'"]
    assert [file.filename for file in store.list_by_session("notebook")] == ["a.txt"]


def test_page(environment, tmp_path, monkeypatch):
    """The cells of the page about notebooks run, and show tables, a progress bar and no error."""
    pytest.importorskip("pandas")
    pytest.importorskip("tqdm")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PYTHONPATH", environment.get("PYTHONPATH", ""))
    page = Path(__file__, "../../../docs/howto/notebook.md").resolve()
    if not page.exists():
        pytest.skip("the documentation is not here")
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(block) for block in blocks])
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        "".join(output.get("data", {}).get("text/html", output.get("text", "")) for output in cell.outputs)
        for cell in notebook.cells
    ]
    assert "storage_provider" in shown[0]
    assert "table.csv" in shown[1]
    assert "stored_at" in shown[2]
    assert "<td" in shown[3]
    assert "alpha" in shown[3]
    assert "100%" in shown[4]
    assert "alpha" in shown[5]
    if os.environ.get("KEEP_NOTEBOOK"):
        nbformat.write(notebook, os.environ["KEEP_NOTEBOOK"])

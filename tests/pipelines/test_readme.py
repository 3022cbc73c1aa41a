"""The examples in the README that need packages beyond this one's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

for package in ("pandas", "pyarrow", "dask.dataframe", "duckdb", "upath"):
    pytest.importorskip(package)

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.usefixtures("options")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pandas, for what dask does with it
def test_examples(tmp_path, monkeypatch):
    """The examples run from the first to the last, as one program."""
    from upath.registry import register_implementation  # noqa: PLC0415 - it needs the package

    register_implementation("artifact", "chuk_artifacts.path.ArtifactPath", clobber=True)
    monkeypatch.chdir(tmp_path)
    section = README.read_text("utf-8").split("## Data pipelines", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    exec("\n".join(blocks), {})

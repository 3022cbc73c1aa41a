"""Installs the wheel and the sdist of a folder in a bare environment, and uses what was installed.

Run as ``packaged.py folder``, where the folder has ``dist`` and the environment ``bare``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

USE = """
import chuk_artifacts, importlib.metadata, pathlib, sys
from chuk_artifacts import ArtifactStore, aio
assert "bare" in chuk_artifacts.__file__, chuk_artifacts.__file__
assert (pathlib.Path(chuk_artifacts.__file__).parent / "py.typed").is_file()
assert importlib.metadata.version("chuk-artifacts") == chuk_artifacts.__version__
for options in ({}, {"storage_provider": "filesystem", "fs_root": sys.argv[1]}):
    with ArtifactStore(**options) as store:
        assert store.retrieve(store.store(b"x")) == b"x"
import fsspec
with fsspec.open("artifact://alice/a.txt", "wb") as file:
    file.write(b"x")
assert fsspec.open("artifact://alice/a.txt").open().read() == b"x"
for extra in ("psycopg", "click", "uvicorn", "ibm_boto3"):
    assert importlib.util.find_spec(extra) is None, extra
"""


def main() -> None:
    """Install and use each."""
    folder = Path(sys.argv[1])
    python = str(next(one for one in (folder / "bare").glob("*/python*") if one.stem == "python"))
    files = sorted((folder / "dist").iterdir())
    assert {file.suffix for file in files} == {".whl", ".gz"}, files
    for file in files:
        subprocess.run([python, "-m", "pip", "install", "-q", "--force-reinstall", str(file)], check=True)
        subprocess.run([python, "-c", USE, str(folder / f"root-{file.suffix}")], check=True, cwd=folder)
        print(f"{file.name} works")


if __name__ == "__main__":
    main()

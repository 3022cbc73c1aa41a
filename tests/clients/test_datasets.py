"""Hugging Face datasets, which adds an option of its own to the storage options that it is given."""

from __future__ import annotations

import child
import pytest

pytest.importorskip("datasets")

BEGIN = """
    import sys

    import datasets
    import fsspec

    from chuk_artifacts import InvalidInputError
    from chuk_artifacts.filesystem import ArtifactFileSystem

    fsspec.register_implementation("artifact", ArtifactFileSystem, clobber=True)
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict({"number": list(range(1000)), "letter": ["x", "y"] * 500})
    url, cache = "artifact://alice/d", sys.argv[2]


    def options():
        return {"storage_provider": "filesystem", "fs_root": sys.argv[1]}
"""


@pytest.fixture
def run(options, tmp_path):
    """Return a function that runs code with datasets in another process, without a way to the network."""
    offline = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = child.environment(**offline)
    return lambda code: child.run(BEGIN + code, options["fs_root"], tmp_path / "cache", env=environment)


def test_parquet(run):
    """A dataset goes to Parquet and comes back, loaded and streamed."""
    run("""
    data.to_parquet(f"{url}.parquet", storage_options=options())
    load = dict(path="parquet", data_files=f"{url}.parquet", split="train", cache_dir=cache)
    assert datasets.load_dataset(**load, storage_options=options()).num_rows == 1000
    streamed = datasets.load_dataset(**load, storage_options=options(), streaming=True)
    assert sum(row["number"] for row in streamed) == 499500
    """)


def test_saved_to_disk(run):
    """A dataset is saved in its own format and loaded again."""
    run("""
    data.save_to_disk(url, storage_options=options())
    assert datasets.load_from_disk(url, storage_options=options()).num_rows == 1000
    """)


def test_option_that_datasets_adds(run):
    """The option that datasets adds to a dictionary is refused as invalid input that names it."""
    run("""
    shared = options()
    data.to_parquet(f"{url}.parquet", storage_options=options())
    load = dict(path="parquet", data_files=f"{url}.parquet", split="train", cache_dir=cache)
    datasets.load_dataset(**load, storage_options=shared, streaming=True)
    assert "hf" in shared
    try:
        fsspec.filesystem("artifact", **shared)
    except InvalidInputError as error:
        assert "hf" in str(error)
    else:
        raise AssertionError("it was taken")
    """)

"""Bounded memory: a file of any size is stored and read in chunks."""

from __future__ import annotations

import json
import sys

import child
import pytest

SIZE = 256 * 1024 * 1024
BOUND = 64 * 1024 * 1024


@pytest.mark.skipif(sys.platform == "win32", reason="this system does not report the peak memory of a process")
def test_large_file_needs_little_memory(tmp_path):
    """No method that takes or returns a stream holds a whole large file in memory."""
    output = child.run(
        """
        import json, resource, sys
        from pathlib import Path
        from chuk_artifacts import ArtifactStore

        folder, size = Path(sys.argv[1]), int(sys.argv[2])
        unit = 1 if sys.platform == "darwin" else 1024
        piece = b"x" * 1024 * 1024

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

        def pieces():
            for _ in range(size // len(piece)):
                yield piece

        with ArtifactStore(storage_provider="filesystem", fs_root=folder / "root") as store:
            store.retrieve(store.store(iter([piece])))
            before = peak()
            growth = {}
            large = store.store(pieces())
            growth["store"] = peak() - before
            streamed = sum(map(len, store.stream(large)))
            growth["stream"] = peak() - before
            path = store.download(large, folder / "download")
            growth["download"] = peak() - before
            store.update_file(large, data=path)
            growth["update_file"] = peak() - before
            path.unlink()
            copy = store.copy_file(large)
            growth["copy_file"] = peak() - before
            with store.open(copy) as file:
                file.seek(-1, 2)
                file.read()
            growth["open"] = peak() - before
            print(json.dumps([streamed, store.metadata(copy).bytes, growth]))
        """,
        tmp_path,
        SIZE,
    )
    streamed, copied, growth = json.loads(output)
    assert (streamed, copied) == (SIZE, SIZE)
    assert {method: grown for method, grown in growth.items() if grown >= BOUND} == {}

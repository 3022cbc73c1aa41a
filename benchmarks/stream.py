"""``python -m benchmarks.stream FOLDER BYTES``: store and stream a file on disk, and print the memory that took."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

from chuk_artifacts import ArtifactStore

_PIECE = b"x" * 1024 * 1024


def main() -> None:
    """Run and print."""
    folder, size = sys.argv[1], int(sys.argv[2])
    with ArtifactStore(storage_provider="filesystem", fs_root=folder) as store:
        store.retrieve(store.store(iter([_PIECE])))
        before = _peak()
        artifact_id = store.store(_pieces(size))
        streamed = sum(len(piece) for piece in store.stream(artifact_id))
        if streamed != size:
            raise SystemExit(f"{streamed} bytes came back instead of {size}")
        print(_peak() - before)


def _pieces(size: int) -> Iterator[bytes]:
    for start in range(0, size, len(_PIECE)):
        yield _PIECE[: size - start]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

"""Catalogs full of records, whose bytes nobody reads."""

from __future__ import annotations

import time

from chuk_artifacts import ArtifactStore, grid

_AT_ONCE = 1000


def fill(store: ArtifactStore, session_id: str, count: int, *, first: int = 0) -> None:
    """Add *count* records to a session, named and sized as those of short files, past the verbs: in batches.

    Args:
        store: whose catalog it is.
        session_id: the session.
        count: how many.
        first: the number in the name of the first.

    """
    catalog = store.scope.core.catalog
    model = store.metadata(store.store(b"x" * 1024, filename="file-0.bin", session_id=session_id))
    store.delete(model.artifact_id)
    for start in range(first, first + count, _AT_ONCE):
        records = []
        for number in range(start, min(start + _AT_ONCE, first + count)):
            artifact_id, key = grid.new_artifact(model.sandbox_id, session_id)
            names = {"artifact_id": artifact_id, "key": key, "filename": f"file-{number:07}.bin"}
            records.append(model.changed(**names))
        catalog.add(records, now=time.time())

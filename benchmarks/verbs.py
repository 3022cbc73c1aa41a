"""The store's side of the workloads, blocking or awaited."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.effort import MIB
from benchmarks.workloads import BATCH, Once, Work, Workloads, files_of
from chuk_artifacts import ArtifactStore


class Verbs(Workloads):
    """Verbs of a store, in a session of their own.

    Args:
        store: the blocking store, which prepares.
        face: what is measured: the store, or its async view.
        size: how many bytes a file has.
        folder: for large files.
        listed: returns the session that is listed.
        most: of how many files one after the other is read, at most.

    """

    def __init__(
        self,
        store: ArtifactStore,
        face: Any,
        *,
        size: int,
        folder: Path,
        listed: Callable[[], str],
        most: int = 1000,
    ) -> None:
        self._store = store
        self._face = face
        self._size = size
        self._folder = folder
        self._listed = listed
        self._most = most
        self._session = f"bench-{uuid.uuid4().hex}"

    def store(self) -> Work:
        """Store bytes."""
        face, data, session = self._face, b"x" * self._size, self._session
        return Work(lambda: face.store(data, session_id=session))

    def retrieve(self) -> Work:
        """Retrieve."""
        face, ids = self._face, self._ids()
        return Work(lambda: face.retrieve(next(ids)))

    def metadata(self) -> Work:
        """Read a record."""
        face, ids = self._face, self._ids()
        return Work(lambda: face.metadata(next(ids)))

    def copy(self) -> Work:
        """Copy an artifact inside its session."""
        face, ids = self._face, self._ids()
        return Work(lambda: face.copy_file(next(ids)))

    def update(self) -> Work:
        """Give other bytes."""
        face, data, ids = self._face, b"y" * self._size, Once(self._stored)
        return Work(lambda: face.update_file(ids.next(), data=data), ids.ready)

    def delete(self) -> Work:
        """Delete."""
        face, ids = self._face, Once(self._stored)
        return Work(lambda: face.delete(ids.next()), ids.ready)

    def listing(self, limit: int) -> Work:
        """List a session."""
        face, session = self._face, self._listed()
        return Work(lambda: face.list_by_session(session, limit=limit))

    def store_batch(self) -> Work:
        """Store 100."""
        face, items, session = self._face, [{"data": b"x" * self._size}] * BATCH, self._session
        return Work(lambda: face.store_batch(items, session_id=session))

    def retrieve_batch(self) -> Work:
        """Retrieve 100."""
        face, ids = self._face, self._stored(BATCH)
        return Work(lambda: face.retrieve_batch(ids))

    def presign(self) -> Work:
        """Sign a download that carries name and type."""
        face = self._face
        artifact_id = self._store.store(b"1", filename="a.txt", session_id=self._session)
        return Work(lambda: face.presign(artifact_id))

    def upload(self) -> Work:
        """Store a file by its path; what was stored before is removed between the turns."""
        face, path, session = self._face, large_file(self._folder, self._size), self._session
        return Work(lambda: face.store(path, session_id=session), lambda _: self.close())

    def download(self) -> Work:
        """Download to a path."""
        face, target = self._face, self._folder / "verb.down"
        artifact_id = self._store.store(large_file(self._folder, self._size), session_id=self._session)
        return Work(lambda: face.download(artifact_id, target))

    def close(self) -> None:
        """Remove the session."""
        self._store.delete_session(self._session)

    def _ids(self) -> Iterator[str]:
        return itertools.cycle(self._stored(files_of(self._size, self._most)))

    def _stored(self, count: int) -> Sequence[str]:
        store, item = self._store, {"data": b"x" * self._size}
        batches = [[item] * min(BATCH, count - start) for start in range(0, count, BATCH)]
        return list(itertools.chain.from_iterable(map(partial(store.store_batch, session_id=self._session), batches)))


def large_file(folder: Path, size: int) -> Path:
    """Return a file of random bytes, made when it is not there yet."""
    path = folder / "large"
    if not path.exists():
        with path.open("wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))
    return path

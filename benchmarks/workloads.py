"""The workloads: what a row asks of a store, and of the bare calls beside it."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from chuk_artifacts import ArtifactStore, grid
from chuk_artifacts.source import StoreItem

KIB = 1024
MIB = 1024 * KIB
BATCH = 100

_R, _M, _S = "retrieve", "metadata", "store"
_MIXED = (_R, _R, _M, _R, _R, _S, _R, _M, _R, _R)
_READ_BYTES = 64 * MIB
_RECORDS_AT_ONCE = 1000


def _nothing(_: int) -> None:
    pass


@attrs.frozen
class Work:
    """Calls that can be repeated.

    Attributes:
        call: makes one call.
        ready: prepares a turn, given its number of calls; not measured.

    """

    call: Callable[[], Any]
    ready: Callable[[int], object] = _nothing


class Workloads:
    """Each method returns the work of one workload; a subclass leaves out those that it has no rows for."""

    def store(self) -> Work:
        """Store bytes."""
        raise NotImplementedError

    def retrieve(self) -> Work:
        """Read the bytes of one artifact after the other, verified."""
        raise NotImplementedError

    def metadata(self) -> Work:
        """Read a record."""
        raise NotImplementedError

    def copy(self) -> Work:
        """Copy an artifact."""
        raise NotImplementedError

    def update(self) -> Work:
        """Replace the bytes of an artifact, of each artifact once."""
        raise NotImplementedError

    def delete(self) -> Work:
        """Delete an artifact."""
        raise NotImplementedError

    def listing(self, limit: int) -> Work:
        """Read the first *limit* records of a large session."""
        raise NotImplementedError

    def store_batch(self) -> Work:
        """Store 100 artifacts at once."""
        raise NotImplementedError

    def retrieve_batch(self) -> Work:
        """Read 100 artifacts at once."""
        raise NotImplementedError

    def presign(self) -> Work:
        """Sign a URL."""
        raise NotImplementedError

    def upload(self) -> Work:
        """Store a large file from disk."""
        raise NotImplementedError

    def download(self) -> Work:
        """Write a large artifact to disk."""
        raise NotImplementedError

    def mixed(self) -> Work:
        """Of ten calls, retrieve in seven, read metadata in two, store in one."""
        calls = {"retrieve": self.retrieve().call, "metadata": self.metadata().call, "store": self.store().call}
        cycle = itertools.cycle([calls[name] for name in _MIXED])
        return Work(lambda: next(cycle)())  # noqa: PLW0108 - another call each time

    def close(self) -> None:
        """Remove what the workloads stored."""


WORKLOADS: dict[str, Callable[[Workloads], Work]] = {
    "store": lambda workloads: workloads.store(),
    "retrieve": lambda workloads: workloads.retrieve(),
    "metadata": lambda workloads: workloads.metadata(),
    "copy": lambda workloads: workloads.copy(),
    "update": lambda workloads: workloads.update(),
    "delete": lambda workloads: workloads.delete(),
    "list20": lambda workloads: workloads.listing(20),
    "list100": lambda workloads: workloads.listing(100),
    "store_batch": lambda workloads: workloads.store_batch(),
    "retrieve_batch": lambda workloads: workloads.retrieve_batch(),
    "presign": lambda workloads: workloads.presign(),
    "mixed": lambda workloads: workloads.mixed(),
    "upload": lambda workloads: workloads.upload(),
    "download": lambda workloads: workloads.download(),
}
"""All workloads by name."""


class Once:
    """Values that *make* prepares before each turn; each is used once."""

    def __init__(self, make: Callable[[int], Sequence[str]]) -> None:
        self._make = make
        self._values: Iterator[str] = iter(())

    def ready(self, calls: int) -> None:
        """Make one value for each call."""
        self._values = iter(self._make(calls))

    def next(self) -> str:
        """Return the next value."""
        return next(self._values)


class StoreWorkloads(Workloads):
    """The methods of a store, in a session of their own.

    Args:
        store: the blocking store, which prepares.
        face: what is measured: the store, or its async view.
        size: the size of a file in bytes.
        folder: for large files.
        listed: returns the id of the session that is listed.
        most: the largest number of files that are read in turn.

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
        """Call ``store``."""
        face, data, session = self._face, b"x" * self._size, self._session
        return Work(lambda: face.store(data, session_id=session))

    def retrieve(self) -> Work:
        """Call ``retrieve``."""
        face, ids = self._face, self._ids()
        return Work(lambda: face.retrieve(next(ids)))

    def metadata(self) -> Work:
        """Call ``metadata``."""
        face, ids = self._face, self._ids()
        return Work(lambda: face.metadata(next(ids)))

    def copy(self) -> Work:
        """Call ``copy_file``, inside the session."""
        face, ids = self._face, self._ids()
        return Work(lambda: face.copy_file(next(ids)))

    def update(self) -> Work:
        """Call ``update_file`` with other bytes."""
        face, data, ids = self._face, b"y" * self._size, Once(self._stored)
        return Work(lambda: face.update_file(ids.next(), data=data), ids.ready)

    def delete(self) -> Work:
        """Call ``delete``."""
        face, ids = self._face, Once(self._stored)
        return Work(lambda: face.delete(ids.next()), ids.ready)

    def listing(self, limit: int) -> Work:
        """Call ``list_by_session``."""
        face, session = self._face, self._listed()
        return Work(lambda: face.list_by_session(session, limit=limit))

    def store_batch(self) -> Work:
        """Call ``store_batch``."""
        face, items, session = self._face, [self._item()] * BATCH, self._session
        return Work(lambda: face.store_batch(items, session_id=session))

    def retrieve_batch(self) -> Work:
        """Call ``retrieve_batch``."""
        face, ids = self._face, self._stored(BATCH)
        return Work(lambda: face.retrieve_batch(ids))

    def presign(self) -> Work:
        """Call ``presign`` for a download with a name and a type."""
        face = self._face
        artifact_id = self._store.store(b"1", filename="a.txt", session_id=self._session)
        return Work(lambda: face.presign(artifact_id))

    def upload(self) -> Work:
        """Call ``store`` with a path; remove what was stored between the turns."""
        face, path, session = self._face, large_file(self._folder, self._size), self._session
        return Work(lambda: face.store(path, session_id=session), lambda _: self.close())

    def download(self) -> Work:
        """Call ``download``."""
        face, target = self._face, self._folder / "method.down"
        artifact_id = self._store.store(large_file(self._folder, self._size), session_id=self._session)
        return Work(lambda: face.download(artifact_id, target))

    def close(self) -> None:
        """Delete the session."""
        self._store.delete_session(self._session)

    def _item(self) -> StoreItem:
        return StoreItem(data=b"x" * self._size)

    def _ids(self) -> Iterator[str]:
        return itertools.cycle(self._stored(files_read(self._size, self._most)))

    def _stored(self, count: int) -> Sequence[str]:
        item = self._item()
        batches = [[item] * min(BATCH, count - start) for start in range(0, count, BATCH)]
        store = partial(self._store.store_batch, session_id=self._session)
        return list(itertools.chain.from_iterable(map(store, batches)))


def files_read(size: int, most: int = 1000) -> int:
    """Return how many files of a size are read in turn: 64 MiB of them, but 8 at least."""
    return max(8, min(most, _READ_BYTES // size))


def large_file(folder: Path, size: int) -> Path:
    """Return a file of random bytes; create it if it does not exist."""
    path = folder / "large"
    if not path.exists():
        with path.open("wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))
    return path


def fill(store: ArtifactStore, session_id: str, count: int, *, first: int = 0, tags: int = 0) -> None:
    """Add *count* records of short files to a session, without their bytes.

    Args:
        store: the store whose catalog is filled.
        session_id: the session.
        count: the number of records.
        first: the number in the filename of the first record.
        tags: how many different tags the records have in their *meta*, in turn; 0: none have.

    """
    catalog = store.scope.core.catalog  # storing 1,000,000 files would take too long
    model = store.metadata(store.store(b"x" * 1024, filename="file-0.bin", session_id=session_id))
    store.delete(model.artifact_id)
    for start in range(first, first + count, _RECORDS_AT_ONCE):
        records = []
        for number in range(start, min(start + _RECORDS_AT_ONCE, first + count)):
            artifact_id, key = grid.new_artifact(model.sandbox_id, session_id)
            names = {"artifact_id": artifact_id, "key": key, "filename": f"file-{number:07}.bin"}
            records.append(model.changed(**names, meta={"tag": f"t{number % tags}"} if tags else {}))
        catalog.add(records, now=time.time())

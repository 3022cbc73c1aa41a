"""Rows of what concerns a session or the versions of an artifact, and of listings in sessions of different sizes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.comparison import Result, Rows, compare_calls
from benchmarks.grid import open_store
from benchmarks.plan import DISK, POSTGRES, REDIS, Effort
from benchmarks.servers import MissingError, Servers
from benchmarks.workloads import KIB, fill
from chuk_artifacts import ArtifactStore
from chuk_artifacts.source import StoreItem

_SESSION = "bench"
_TAGS = 100
_VERSIONS = 10
_ARCHIVED = 100
_BYTES = 64 * KIB
_PAGE = 100
_FEW = 1000
_RECORDS = "SELECT record FROM artifacts WHERE session_id = ?"

_Calls = tuple[Callable[[], object], Callable[[], object]]
"""A method and its floor."""
_Makes = Callable[[Path, ArtifactStore, sqlite3.Connection], _Calls]
"""Makes them, given the root folder of a store, the store, and a connection to its database."""


def rows(effort: Effort) -> Rows:
    """Return the rows."""
    on_disk: dict[str, _Makes] = {
        f"{DISK}/usage": _usage,
        f"{DISK}/versions": _versions,
        f"{DISK}/search/among{effort.listed}": partial(_search, effort.listed),
        f"{DISK}/archive/{_ARCHIVED}": _archive,
    }
    pages = {f"{backend}/page/among{effort.listed}": backend for backend in (DISK, REDIS, POSTGRES)}
    return {
        **{name: partial(_on_disk, name, make, effort) for name, make in on_disk.items()},
        **{name: partial(_page, name, backend, effort) for name, backend in pages.items()},
    }


def _on_disk(name: str, make: _Makes, effort: Effort, folder: Path) -> Result:
    """Measure a row whose floor reads the database of the store itself."""
    root = folder / "store"
    with ArtifactStore(storage_provider="filesystem", fs_root=root, keep_versions=_VERSIONS) as store:
        store.store(b"x" * KIB, session_id="other")  # makes the database
        with contextlib.closing(sqlite3.connect(root / "catalog.sqlite3")) as connection:
            method, floor = make(root, store, connection)
            return compare_calls(name, method, floor, seconds=effort.turn_seconds, rounds=effort.rounds)


def _usage(_: Path, store: ArtifactStore, connection: sqlite3.Connection) -> _Calls:
    """Return the counters of a session, beside a ``SELECT`` of two numbers."""
    fill(store, _SESSION, _FEW)
    query = "SELECT artifacts, bytes FROM usage WHERE session_id = ?"
    return lambda: store.usage(_SESSION), lambda: connection.execute(query, (_SESSION,)).fetchall()


def _versions(_: Path, store: ArtifactStore, connection: sqlite3.Connection) -> _Calls:
    """Return the versions of an artifact, beside a ``SELECT`` of its record, decoded."""
    artifact_id = store.store(b"x" * KIB, session_id=_SESSION)
    for _number in range(_VERSIONS):
        store.update_file(artifact_id, data=os.urandom(KIB))
    return lambda: store.versions(artifact_id), lambda: _selected(connection, _RECORDS, _SESSION)


def _search(listed: int, _: Path, store: ArtifactStore, connection: sqlite3.Connection) -> _Calls:
    """Return one artifact of 100, by a value in its *meta*, beside a ``SELECT`` of those records, decoded."""
    fill(store, _SESSION, listed, tags=_TAGS)
    query = f"{_RECORDS} AND json_extract(record, '$.meta.tag') = ? ORDER BY filename, artifact_id"
    return (
        lambda: list(store.search(_SESSION, meta={"tag": "t7"})),
        lambda: _selected(connection, query, _SESSION, "t7"),
    )


def _selected(connection: sqlite3.Connection, query: str, *values: str) -> list[Any]:
    return [json.loads(text) for (text,) in connection.execute(query, values)]


def _archive(root: Path, store: ArtifactStore, connection: sqlite3.Connection) -> _Calls:
    """Return a session as a ZIP, beside :mod:`zipfile` that writes the same files, found by one ``SELECT``."""
    items = [StoreItem(data=os.urandom(_BYTES), filename=f"{number}.jpg") for number in range(_ARCHIVED)]
    store.store_batch(items, _SESSION)

    def floor() -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for record in _selected(connection, _RECORDS, _SESSION):
                archive.write(root / record["key"], record["filename"])
        return target.getvalue()

    return lambda: b"".join(store.archive(_SESSION)), floor


def _page(name: str, backend: str, effort: Effort, folder: Path) -> Result:
    """List the first 100 artifacts of a session with many, beside the same of one with 1,000."""
    with contextlib.ExitStack() as ending:
        try:
            opened = ending.enter_context(open_store(backend, 1, Servers(folder, ending), folder, effort))
        except MissingError as error:
            return Result(name=name, skipped=str(error))
        store = opened.store
        fill(store, "few", _FEW)
        fill(store, "many", effort.listed)
        return compare_calls(
            name,
            lambda: store.list_by_session("many", limit=_PAGE),
            lambda: store.list_by_session("few", limit=_PAGE),
            seconds=effort.turn_seconds,
            rounds=effort.rounds,
            parameters={"listed": effort.listed},
        )

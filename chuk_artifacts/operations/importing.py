"""Reading an export of a catalog into a catalog, which keeps what is newer in it."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from chuk_artifacts import arguments
from chuk_artifacts.catalog import owned, prolonged
from chuk_artifacts.core import Core
from chuk_artifacts.errors import InvalidInputError, shown
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, is_over
from chuk_artifacts.operations import identity
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.catalog_file import Export, Item
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.walking import known_records
from chuk_artifacts.source import Readable, check_readable, position

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

_AT_ONCE = 500
_COMPARED = (
    *("key", "bytes", "sha256", "mime", "summary", "meta", "filename", "stored_at", "updated_at"),
    *("expires_at", "ttl", "origin", "pending"),
)


@operation
def import_catalog(
    scope: Scope, source: str | os.PathLike[str] | Readable, callback: Callback | None, *, dry_run: bool
) -> int:
    """Add the sessions and records of an export; see :meth:`ArtifactStore.import_catalog`."""
    core = scope.unbound_core("import_catalog")
    with _opened(source) as file:
        start = position(file)
        if start is not None or dry_run:
            count = sum(isinstance(item, ArtifactMetadata) for item in Export(file, core))
            if dry_run or start is None:
                return count
            if callback is not None:
                callback.set_size(count)
            file.seek(start)
        export = Export(file, core)
        identity.doubt(core)
        changed = _import(scope, export, callback)
    _log.debug("import_catalog %s", changed)
    return changed


def _import(scope: Scope, export: Export, callback: Callback | None) -> int:
    portion = _Portion(scope.core, export)
    changed = 0
    try:
        for item in export:
            portion.add(item)
            if portion.is_full:
                scope.check_open()
                changed += portion.write(callback)
        return changed + portion.write(callback)
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}; {changed} records of the lines before it were imported") from error


class _Portion:
    """Sessions and records that are written together.

    Args:
        core: the store that imports them.
        export: where they come from.

    """

    def __init__(self, core: Core, export: Export) -> None:
        self._core = core
        self._exported_at = export.exported_at
        self._sessions: dict[str, SessionInfo] = {}
        self._records: dict[str, ArtifactMetadata] = {}
        self._seen = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to write."""
        return len(self._sessions) >= _AT_ONCE or self._seen >= _AT_ONCE

    def add(self, item: Item) -> None:
        """Add an item. A session lives at least as long as its records."""
        if isinstance(item, SessionInfo):
            self._sessions[item.session_id] = owned(item)
            return
        self._seen += 1
        info = self._sessions.get(item.session_id)
        if info is not None:
            self._sessions[item.session_id] = prolonged(info, item.expires_at)
        known = self._records.get(item.artifact_id)
        if known is None or known.revision < item.revision:  # a record that was renamed meanwhile may come twice
            self._records[item.artifact_id] = item.changed(
                storage_provider=self._core.storage.provider, session_provider=self._core.catalog.provider
            )

    def write(self, callback: Callback | None) -> int:
        """Write all that has not expired, forget it, and return how many records were added or replaced."""
        catalog, now = self._core.catalog, self._core.clock()
        sessions = [info for info in self._sessions.values() if not is_over(info.expires_at, now)]
        records = [one for one in self._records.values() if not (one.released or is_over(one.expires_at, now))]
        replaced = self._replaced(records)
        if sessions:
            catalog.merge_sessions(
                sessions, now=now
            )  # the storage keeps newer facts than an export, and stays as it is
        merged = catalog.merge(records, now=now, replace_older=True) if records else []
        again = catalog.replace_each(replaced) if replaced else []
        if callback is not None:
            callback.relative_update(self._seen)
        self._sessions, self._records, self._seen = {}, {}, 0
        return sum(merged) + sum(again)

    def _replaced(self, records: Sequence[ArtifactMetadata]) -> list[tuple[ArtifactMetadata, int]]:
        """Return the records that differ from those of the same revision in the catalog, with that revision.

        The catalog's come from the bytes, which do not hold everything, or from another history. Those that changed
        after the export stay.

        Raises:
            InvalidInputError: a record has the id of an artifact of another session.

        """
        replaced = []
        ids = [record.artifact_id for record in records]
        for record, known in zip(records, known_records(self._core, ids), strict=True):
            if known is None:
                continue
            if known.session_id != record.session_id:
                raise InvalidInputError(f"export: artifact {record.artifact_id} belongs to another session here")
            is_rebuilt = known.revision == record.revision and known.updated_at <= self._exported_at
            if is_rebuilt and any(getattr(known, name) != getattr(record, name) for name in _COMPARED):
                replaced.append((record, record.revision))
        return replaced


@contextlib.contextmanager
def _opened(source: Any) -> Iterator[Any]:
    """Open a path, or check a file object, which stays open."""
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "read"):
            raise InvalidInputError(f"source must be a path or a binary file, not {type(source).__name__}")
        if inspect.iscoroutinefunction(source.read):
            raise InvalidInputError("source must be awaited: hand over its blocking file, or a path")
        check_readable(source)
        yield source
        return
    path = arguments.check_path("source", source)
    if not os.path.isfile(path):
        problem = "is not a file" if os.path.exists(path) else "does not exist"
        raise InvalidInputError(f"source: {shown(path)} {problem}")
    with open(path, "rb") as file:
        yield file

"""Taking away what nobody can reach any more: expired artifacts, superseded bytes, sessions, orphans."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import attrs

from chuk_artifacts import grid
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.models import ArtifactMetadata, CleanupReport, Superseded, is_over
from chuk_artifacts.storage import Storage, StoredObject

GRACE_SECONDS = 3600.0
"""How long superseded bytes, and bytes without a record, are kept: as long as a presigned URL lives by default."""

MAX_SUPERSEDED = 16
"""How many superseded revisions of one artifact are kept at most."""

_PAGE = 500


def split_superseded(record: ArtifactMetadata, now: float) -> tuple[tuple[Superseded, ...], tuple[Superseded, ...]]:
    """Return the superseded bytes of *record* that are kept on, and those whose time is over."""
    over = [earlier for earlier in record.superseded if is_over(earlier.until, now)]
    kept = [earlier for earlier in record.superseded if earlier not in over]
    surplus = max(len(kept) - MAX_SUPERSEDED, 0)
    return tuple(kept[surplus:]), (*over, *kept[:surplus])


def clean(storage: Storage, catalog: Catalog, sandbox_id: str, now: float, *, orphans: bool) -> CleanupReport:
    """Remove what is over by *now* (seconds since the epoch).

    Records go first, their bytes after them: what a crash leaves in between is an orphan.

    Args:
        storage: where the bytes are.
        catalog: where the records are.
        sandbox_id: the namespace of both.
        now: the present.
        orphans: whether to look for bytes without a record too, which means listing all bytes.

    Returns:
        what was removed.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails.

    """
    artifacts = freed = 0
    while due := catalog.due(now, _PAGE):
        gone, bytes_of_gone = _remove_expired(storage, catalog, due, now)
        bytes_of_superseded, trimmed = _trim(storage, catalog, due, now)
        artifacts += gone
        freed += bytes_of_gone + bytes_of_superseded
        if not gone and not trimmed:
            break  # all of them are being changed by somebody else: their turn is next time
    sessions = catalog.expire_sessions(now)
    found = 0
    if orphans:
        found, bytes_of_orphans = _remove_orphans(storage, catalog, sandbox_id, now - GRACE_SECONDS)
        freed += bytes_of_orphans
    return CleanupReport(sessions=sessions, artifacts=artifacts, orphans=found, bytes=freed)


def _remove_expired(storage: Storage, catalog: Catalog, due: Sequence[ArtifactMetadata], now: float) -> tuple[int, int]:
    expired = [record.artifact_id for record in due if is_over(record.expires_at, now)]
    gone = catalog.remove(expired, expired_at=now) if expired else []
    storage.delete([key for record in gone for key in record.keys_of_bytes])
    return len(gone), sum(record.bytes + sum(earlier.bytes for earlier in record.superseded) for record in gone)


def _trim(storage: Storage, catalog: Catalog, due: Sequence[ArtifactMetadata], now: float) -> tuple[int, int]:
    """Remove the superseded bytes of living artifacts; return their length and the number of artifacts."""
    freed = trimmed = 0
    for record in due:
        if is_over(record.expires_at, now):
            continue
        kept, over = split_superseded(record, now)
        shorter = attrs.evolve(record, superseded=kept)  # no change to its user: the revision stays
        if catalog.replace(shorter, expected_revision=record.revision):
            storage.delete([earlier.key for earlier in over])
            freed += sum(earlier.bytes for earlier in over)
            trimmed += 1
    return freed, trimmed


def _remove_orphans(storage: Storage, catalog: Catalog, sandbox_id: str, before: float) -> tuple[int, int]:
    prefix = grid.sandbox_prefix(sandbox_id)
    found = freed = 0
    for unfinished in storage.sweep(prefix, before):
        found += 1
        freed += unfinished.bytes
    old = (item for item in storage.list_objects(prefix) if item.modified < before and _is_ours(item.key))
    while page := list(itertools.islice(old, _PAGE)):
        orphans = list(_without_record(catalog, page))
        storage.delete([item.key for item in orphans])
        found += len(orphans)
        freed += sum(item.bytes for item in orphans)
    return found, freed


def _is_ours(key: str) -> bool:
    """Say whether an artifact can have this key: a stranger's file in the same place is not ours to remove."""
    parts = grid.parse(key)
    return parts is not None and grid.is_artifact_id(parts.artifact_id)


def _without_record(catalog: Catalog, page: Sequence[StoredObject]) -> Iterator[StoredObject]:
    ids = {_name(item.key).partition("~")[0] for item in page}
    # Compared by their last part alone: some disks change the letter case or the Unicode form of the folders above.
    used = {_name(key) for record in catalog.get(list(ids)) if record is not None for key in record.keys_of_bytes}
    return (item for item in page if _name(item.key) not in used)


def _name(key: str) -> str:
    return key.rpartition("/")[2]

"""Taking away what nobody can reach any more: expired artifacts, superseded bytes, sessions, orphans."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from chuk_artifacts import grid
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.models import GRACE_SECONDS, ArtifactMetadata, CleanupReport, Superseded, is_over
from chuk_artifacts.storage import Storage, StoredObject

MAX_SUPERSEDED = 16
"""How many superseded revisions of one artifact are kept at most."""

_PAGE = 500


def split_superseded(record: ArtifactMetadata, now: float) -> tuple[tuple[Superseded, ...], tuple[Superseded, ...]]:
    """Return the superseded bytes of *record* that are kept on, and those whose time is over."""
    over = [earlier for earlier in record.superseded if is_over(earlier.until, now)]
    kept = [earlier for earlier in record.superseded if earlier not in over]
    surplus = max(len(kept) - MAX_SUPERSEDED, 0)
    return tuple(kept[surplus:]), (*over, *kept[:surplus])


def clean(
    storage: Storage,
    catalog: Catalog,
    sandbox_id: str,
    now: float,
    *,
    complete: Callable[[ArtifactMetadata], bool],
    orphans: bool,
) -> CleanupReport:
    """Remove what is over by *now* (seconds since the epoch).

    Records change first, their bytes go after them: what a crash leaves in between is an orphan. The record of an
    expired artifact stays for a grace period.

    Args:
        storage: where the bytes are.
        catalog: where the records are.
        sandbox_id: the namespace of both.
        now: the present.
        complete: makes an artifact of a pending record that has its bytes, and says whether it did.
        orphans: whether to look for bytes without a record too, which means listing all bytes.

    Returns:
        what was removed.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails.

    """
    artifacts = freed = 0
    while due := catalog.due(now, _PAGE):
        forgotten = _forget(catalog, due, now)
        completed = sum(complete(record) for record in due if _is_complete_but_for_bytes(record))
        released = list(_release(storage, catalog, due, now))
        artifacts += sum(expired for expired, _ in released)
        freed += sum(size for _, size in released)
        if not forgotten and not completed and not released:
            break  # all of them are being changed by somebody else: their turn is next time
    sessions = catalog.expire_sessions(now)
    found = 0
    if orphans:
        found, bytes_of_orphans = _remove_orphans(storage, catalog, sandbox_id, now - GRACE_SECONDS)
        freed += bytes_of_orphans
    return CleanupReport(sessions=sessions, artifacts=artifacts, orphans=found, bytes=freed)


def _forget(catalog: Catalog, due: Sequence[ArtifactMetadata], now: float) -> int:
    """Remove the records whose grace period is over, and return how many those were."""
    over = [record.artifact_id for record in due if record.released]
    return len(catalog.remove(over, expired_at=now - GRACE_SECONDS)) if over else 0


def _release(
    storage: Storage, catalog: Catalog, due: Sequence[ArtifactMetadata], now: float
) -> Iterator[tuple[bool, int]]:
    """Remove bytes of which the time is over; tell of each artifact whether it is expired, and their length."""
    changes = [(record, lesser) for record in due if (lesser := _lesser(record, now)) is not None]
    replaced = catalog.replace_each([(lesser, record.revision) for record, lesser in changes]) if changes else []
    gone: list[str] = []
    for record, lesser in itertools.compress(changes, replaced):
        freed = {key: size for key, size in record.all_bytes.items() if key not in lesser.all_bytes}
        gone += freed
        yield record.pending is None and lesser.released, sum(freed.values())
    storage.delete(gone)


def _lesser(record: ArtifactMetadata, now: float) -> ArtifactMetadata | None:
    """Return *record* without the bytes of which the time is over, or None when it has none such."""
    if record.released:
        return None
    # The next revision: who is just changing or registering this one must not bring it back without its bytes.
    if record.pending is not None:
        return record.changed(released=True, expires_at=record.due, revision=record.revision + 1)
    if is_over(record.expires_at, now):
        return record.changed(released=True, superseded=(), revision=record.revision + 1)
    kept, over = split_superseded(record, now)
    return record.changed(superseded=kept) if over else None  # no change to its user: the revision stays


def _is_complete_but_for_bytes(record: ArtifactMetadata) -> bool:
    return record.pending is not None and record.pending.registered and not record.released


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
    used = {_name(key) for record in catalog.get(list(ids)) if record is not None for key in record.all_bytes}
    return (item for item in page if _name(item.key) not in used)


def _name(key: str) -> str:
    return key.rpartition("/")[2]

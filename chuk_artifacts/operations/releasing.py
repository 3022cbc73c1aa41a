"""Releasing bytes that are over: those of expired artifacts, and superseded ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from chuk_artifacts.core import Core
from chuk_artifacts.models import ArtifactMetadata, is_over, timestamp
from chuk_artifacts.operations.deleting import delete_keys
from chuk_artifacts.operations.history import split_superseded

_PAGE = 500


def release(
    core: Core, due: Sequence[ArtifactMetadata], now: float, *, dry_run: bool = False
) -> Iterator[tuple[bool, int]]:
    """Remove the bytes of due records that are over.

    Yield for each record whether it is an expired artifact, and the number of bytes.
    """
    changes = [(record, lesser) for record in due if (lesser := _lesser(record, now)) is not None]
    if not changes:
        return
    if not dry_run:
        replaced = core.catalog.replace_each([(lesser, record.revision) for record, lesser in changes])
        changes = list(itertools.compress(changes, replaced))
    gone: list[str] = []
    for record, lesser in changes:
        freed = {key: size for key, size in record.all_bytes.items() if key not in lesser.all_bytes}
        gone += freed
        yield record.pending is None and lesser.released, sum(freed.values())
    if not dry_run:
        delete_keys(core, gone)


def _lesser(record: ArtifactMetadata, now: float) -> ArtifactMetadata | None:
    """Return *record* without the bytes that are over, or None if it has no such bytes."""
    if record.released:
        return None
    # A new revision, so that a concurrent change or registration fails, instead of restoring a record without bytes.
    if record.pending is not None:
        return record.changed(released=True, expires_at=record.due, revision=record.revision + 1)
    if is_over(record.expires_at, now):
        return record.changed(released=True, superseded=(), revision=record.revision + 1)
    kept, over = split_superseded(record.superseded, timestamp(now))
    return record.changed(superseded=kept) if over else None  # invisible to users, so the revision stays


def release_session(core: Core, session_id: str) -> None:
    """Remove the bytes of a session that are over. This reads all records of the sandbox that are due.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails.

    """
    now, after = core.clock(), None
    while True:
        due = core.catalog.due(now, _PAGE, after)
        for _ in release(core, [record for record in due.records if record.session_id == session_id], now):
            pass
        after = due.after
        if after is None:
            return

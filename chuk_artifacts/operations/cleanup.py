"""Removing artifacts and sessions: on demand, when they expire, and bytes that are superseded or orphans."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

import attrs

from chuk_artifacts import arguments, grid
from chuk_artifacts.catalog import batches
from chuk_artifacts.core import Core
from chuk_artifacts.errors import InvalidInputError, SessionError
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import (
    GRACE_SECONDS,
    ORPHAN_GRACE_SECONDS,
    ArtifactMetadata,
    CleanupReport,
    is_over,
)
from chuk_artifacts.operations import identity
from chuk_artifacts.operations.calls import operation, operation_of
from chuk_artifacts.operations.deleting import delete_keys
from chuk_artifacts.operations.finding import if_artifact
from chuk_artifacts.operations.releasing import release
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.storage import StoredObject

_PAGE = 500
_DELETED_AT_ONCE = 1000
_SHOWN_KEYS = 10
_FEW = 20  # up to this number, orphans are removed even if they are more than half of all objects


@attrs.frozen
class Sweep:
    """Options of an orphan sweep.

    Attributes:
        older_than: the minimum age of an orphan in seconds, by the storage's clock; at least a day.
        dry_run: report orphans, and remove nothing.
        force: remove orphans even if they are more than half of all objects.

    """

    older_than: float = ORPHAN_GRACE_SECONDS
    dry_run: bool = False
    force: bool = False


@operation
def delete(scope: Scope, artifact_id: str) -> bool:
    """Delete an artifact, or cancel a pending upload; return whether it was a living artifact."""
    return _delete(scope, [artifact_id]) == 1


@operation
def delete_batch(scope: Scope, artifact_ids: Iterable[str]) -> int:
    """Delete artifacts and cancel pending uploads; return the number of living artifacts that were deleted."""
    return _delete(scope, arguments.check_items("artifact_ids", artifact_ids))


def _delete(scope: Scope, wanted: Iterable[object]) -> int:
    core = scope.core
    ids = [plain_id for one in wanted if (plain_id := grid.plain_artifact_id(one)) is not None]
    _log.debug("delete %s", ids)
    deleted = 0
    for some in batches(ids, _DELETED_AT_ONCE):
        removed = core.catalog.remove(some, session_id=scope.session_id)
        now = core.clock()
        deleted += sum(_was_artifact(core, record, now) for record in removed)
        delete_bytes(core, removed)
    return deleted


def _was_artifact(core: Core, record: ArtifactMetadata, now: float) -> bool:
    if is_over(record.expires_at, now):
        return False
    if record.pending is None:
        return True
    return record.pending.complete and core.storage.stat(record.key) is not None


@operation
def delete_session(scope: Scope, session_id: str | None) -> bool:
    """Remove a session and its artifacts in batches of records and their bytes; return False if it does not exist.

    The session itself goes last: after a crash, a second call finishes the work.
    """
    core, session_id = scope.core, scope.session(session_id)
    there = False
    while (removed := core.catalog.remove_session(session_id, core.clock(), _PAGE)) is not None:
        there = True
        is_last = len(removed) < _PAGE
        delete_bytes(core, removed, [session_id] if is_last else [])
        if is_last:
            break
    return there


@operation
def delete_user(scope: Scope, user_id: object) -> int:
    """Remove every session of a user, and the user's own; return how many living artifacts were removed."""
    core = scope.unbound_core("delete_user")
    if user_id is None:
        raise InvalidInputError("user_id must be given")
    user_id = core.settings.limits.check_user_id(user_id) or ""
    deleted, after = 0, None
    while True:
        page = core.catalog.sessions(0, _PAGE, user_id=user_id, after=after)
        deleted += sum(_erase(core, info.session_id) for info in page.found)
        after = page.after
        if after is None:
            break
    core.catalog.forget_user(user_id)
    return deleted


def _erase(core: Core, session_id: str) -> int:
    """Remove a session with its artifacts, also an expired one; return how many living artifacts were removed.

    Bytes go before their records: after a crash the records are still there, and a second call finishes the work.
    """
    deleted = 0
    is_last = False
    while not is_last:
        records = core.catalog.page(session_id, prefix="", after=None, limit=_PAGE, now=0)
        is_last = len(records) < _PAGE
        delete_bytes(core, records, [session_id] if is_last else [])
        if not records:
            break
        known = {record.artifact_id: record.all_bytes for record in records}
        removed = core.catalog.remove([*known], session_id=session_id)
        delete_bytes(core, [one for one in removed if one.all_bytes != known[one.artifact_id]])  # changed meanwhile
        now = core.clock()
        deleted += sum(record.pending is None and not is_over(record.expires_at, now) for record in removed)
    while (rest := core.catalog.remove_session(session_id, 0, _PAGE)) is not None:  # damaged records, and the session
        delete_bytes(core, rest)
        if len(rest) < _PAGE:
            break
    return deleted


def delete_bytes(core: Core, records: Sequence[ArtifactMetadata], session_ids: Sequence[str] = ()) -> None:
    """Remove the bytes of records, and what the storage keeps of sessions, that were removed."""
    keys = [key for record in records for key in record.all_bytes]
    if core.storage.persistent:
        keys += [grid.facts_key(core.settings.sandbox_id, session_id) for session_id in session_ids]
    if keys:
        delete_keys(core, keys)


@operation_of("cleanup")
def clean(scope: Scope, sweep: Sweep | None, *, dry_run: bool = False) -> CleanupReport:
    """Remove expired artifacts and sessions, superseded bytes, and, with a *sweep*, orphans.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails, or the sweep was refused, see :func:`_remove_orphans`.

    """
    report = _remove_expired(scope, dry_run=dry_run)
    if sweep is None:
        return report
    swept = _remove_orphans(scope.core, sweep)
    return swept.changed(
        sessions=report.sessions, artifacts=report.artifacts, bytes=report.bytes + swept.bytes, damaged=report.damaged
    )


def _remove_expired(scope: Scope, *, dry_run: bool) -> CleanupReport:
    """Remove expired artifacts and sessions, and superseded bytes.

    Records change before their bytes are removed, so a crash between the two leaves orphans. The record of an expired
    artifact stays for a grace period. A record that can't be decoded is skipped and counted.
    """
    core = scope.core
    catalog, now = core.catalog, core.clock()
    artifacts = freed = damaged = 0
    after = None
    while True:
        due = catalog.due(now, _PAGE, after)
        if not dry_run:
            _forget(core, due.records, now)
            for record in due.records:
                if _is_complete_but_for_bytes(record):
                    if_artifact(scope, record)
        for expired, size in release(core, due.records, now, dry_run=dry_run):
            artifacts += expired
            freed += size
        damaged += len(due.damaged)
        after = due.after
        if after is None:
            break
    sessions = catalog.expire_sessions(now, dry_run=dry_run, gone=partial(delete_bytes, core, ()))
    return CleanupReport(sessions=sessions, artifacts=artifacts, orphans=0, bytes=freed, damaged=damaged)


def _forget(core: Core, due: Sequence[ArtifactMetadata], now: float) -> None:
    """Remove the records whose grace period is over."""
    over = [record.artifact_id for record in due if record.released]
    if over:
        core.catalog.remove(over, expired_at=now - GRACE_SECONDS)


def _is_complete_but_for_bytes(record: ArtifactMetadata) -> bool:
    return record.pending is not None and record.pending.complete and not record.released


def _remove_orphans(core: Core, sweep: Sweep) -> CleanupReport:
    """List all bytes of the sandbox, and remove those without a record.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails, has damaged records, or does not provably describe this storage (see
            :mod:`~chuk_artifacts.operations.identity`); or *force* is not set and more than half of all objects are
            orphans. Nothing was removed.

    """
    identity.prove(core)
    damaged = core.catalog.verify()
    if damaged:
        raise SessionError(f"no orphan was removed: {damaged} records are damaged, and their bytes would seem orphans")
    prefix = grid.sandbox_prefix(core.settings.sandbox_id)
    before = core.storage.now() - max(sweep.older_than, ORPHAN_GRACE_SECONDS)
    orphans, counts = _find_orphans(core, prefix, before)
    if not (sweep.force or sweep.dry_run) and len(orphans) > max(_FEW, counts["content"] / 2):
        raise SessionError(
            f"no orphan was removed: {len(orphans)} of {counts['content']} objects have no record; look at them with"
            " dry_run=True (chuk-artifacts gc --orphans --dry-run -v), and remove them with force=True (--force)"
        )
    if not sweep.dry_run:
        orphans = [item for some in batches(orphans, _PAGE) for item in _delete_orphans(core, some)]
    orphans += core.storage.sweep(prefix, before, dry_run=sweep.dry_run)
    return CleanupReport(
        sessions=0,
        artifacts=0,
        orphans=len(orphans),
        bytes=sum(item.bytes for item in orphans),
        orphan_keys=tuple(item.key for item in orphans[:_SHOWN_KEYS]),
        young=counts["young"],
        foreign=counts["foreign"],
    )


def _find_orphans(core: Core, prefix: str, before: float) -> tuple[list[StoredObject], Counter[str]]:
    """Return the objects without a record that were written before *before*, and numbers of objects.

    These are all of artifacts (``content``), the ``young`` ones, which are not looked at, and all ``foreign`` ones,
    whose keys are neither of artifacts nor of the facts about a session.
    """
    orphans: list[StoredObject] = []
    counts: Counter[str] = Counter()
    sandbox_id = core.settings.sandbox_id
    objects = core.storage.list_objects(prefix)
    while page := list(itertools.islice(objects, _PAGE)):
        ours = [item for item in page if grid.is_content(item.key, sandbox_id)]
        facts = [item for item in page if grid.session_of_facts(item.key, sandbox_id) is not None]
        counts["content"] += len(ours)
        counts["foreign"] += len(page) - len(ours) - len(facts)
        counts["young"] += sum(item.modified >= before for item in (*ours, *facts))
        orphans += _without_record(core, [item for item in ours if item.modified < before])
        orphans += _without_session(core, [item for item in facts if item.modified < before])
    return orphans, counts


def _delete_orphans(core: Core, found: Sequence[StoredObject]) -> list[StoredObject]:
    """Remove the orphans that still have no record, and return them."""
    orphans = _without_record(core, [item for item in found if grid.is_content(item.key, core.settings.sandbox_id)])
    orphans += _without_session(core, found)
    delete_keys(core, [item.key for item in orphans])
    return orphans


def _without_record(core: Core, page: Sequence[StoredObject]) -> list[StoredObject]:
    ids = {_name(item.key).partition("~")[0] for item in page}
    records = core.catalog.get(list(ids)) if ids else []
    # Compare only the last part: some file systems change the letter case or the Unicode form of folder names.
    used = {_name(key) for record in records if record is not None for key in record.all_bytes}
    return [item for item in page if _name(item.key) not in used]


def _without_session(core: Core, page: Sequence[StoredObject]) -> list[StoredObject]:
    """Return the objects that keep facts about a session that the catalog does not have, not even an expired one."""
    named = ((item, grid.session_of_facts(item.key, core.settings.sandbox_id)) for item in page)
    return [item for item, name in named if name is not None and core.catalog.get_session(name, 0) is None]


def _name(key: str) -> str:
    return key.rpartition("/")[2]

"""Storing artifacts: bytes first, then the record that points to them. A failure leaves neither."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from chuk_artifacts import arguments, grid
from chuk_artifacts.catalog import NO_USERS, FilenameTakenError
from chuk_artifacts.core import Core
from chuk_artifacts.errors import (
    ArtifactStoreError,
    ConflictError,
    InvalidInputError,
    OutcomeUnknownError,
    ProviderError,
    shown,
)
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ORPHAN_GRACE_SECONDS, ArtifactMetadata
from chuk_artifacts.operations import identity, quota
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.deleting import discard
from chuk_artifacts.operations.draft import Draft, draft
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.source import CHUNK_SIZE
from chuk_artifacts.storage import ObjectExistsError

ATTEMPTS = 128
"""How often a method retries because another writer came first."""

_LONG_SECONDS = ORPHAN_GRACE_SECONDS / 10
"""After this time a write checks that its first bytes still exist: an orphan sweep may have removed them."""


_STORE_ARGUMENTS = frozenset(
    {"data", "mime", "summary", "meta", "filename", "session_id", "user_id", "ttl", "max_bytes", "keep_versions"}
)


@operation
def store(scope: Scope, session_id: str | None, values: Mapping[str, Any], *, exclusive: bool = False) -> str:
    """Store a new artifact, and return its id.

    Args:
        scope: the scope to store in.
        session_id: its session; None: a new session.
        values: the caller's arguments of :func:`~chuk_artifacts.operations.draft.draft`.
        exclusive: whether to raise when the filename is taken in the session.

    """
    item = new_draft(scope.core, scope.new_session(session_id), values)
    return _write(scope.core, [item], exclusive=exclusive)[0]


def check(scope: Scope, given: Mapping[str, Any]) -> None:
    """Raise where ``ArtifactStore.store`` would with the arguments *given*, before it reads the data."""
    values: dict[str, Any] = {name: given[name] for name in given if name in _STORE_ARGUMENTS}
    values["data"] = b""
    new_draft(scope.core, scope.new_session(values.pop("session_id", None)), values)


@operation
def store_batch(
    scope: Scope,
    items: Iterable[Mapping[str, Any]],
    session_id: str | None,
    ttl: float | None = None,
    *,
    exclusive: bool = False,
) -> list[str]:
    """Store several artifacts, all or none, and return their ids; see :meth:`ArtifactStore.store_batch`.

    With *exclusive* the filenames must differ; raise when one of them is taken in its session.
    """
    drafts = _drafts(scope, items, session_id, ttl)
    return _write(scope.core, drafts, exclusive=exclusive) if drafts else []


def check_batch(scope: Scope, items: Iterable[object], session_id: str | None = None, ttl: float | None = None) -> None:
    """Raise where :func:`store_batch` would, before it reads any data."""
    _drafts(scope, [_without_data(item) for item in items], session_id, ttl)


def _without_data(item: object) -> object:
    return {**item, "data": b""} if isinstance(item, Mapping) and "data" in item else item


def _drafts(scope: Scope, items: Iterable[object], session_id: str | None, ttl: float | None) -> list[Draft]:
    session_id = scope.new_session(session_id)
    drafts = []
    for index, item in enumerate(arguments.check_items("items", items)):
        if not isinstance(item, Mapping):
            raise InvalidInputError(f"items[{index}] must be a mapping, not {type(item).__name__}")
        try:
            drafts.append(_draft_of_item(scope, item, session_id, ttl))
        except InvalidInputError as error:
            again = type(error)(f"items[{index}]: {error}")
            again.__dict__.update(error.__dict__)
            raise again from error
    return drafts


def _draft_of_item(scope: Scope, item: Mapping[str, Any], session_id: str, ttl: float | None) -> Draft:
    values = {arguments.plain(name) if isinstance(name, str) else name: item[name] for name in item}
    unknown = values.keys() - _STORE_ARGUMENTS
    if unknown or "data" not in values:
        problem = f"unknown argument {min(map(shown, unknown))}" if unknown else "data is missing"
        raise InvalidInputError(f"{problem}; known are {', '.join(sorted(_STORE_ARGUMENTS))}")
    own_session = values.pop("session_id", None)
    if values.get("ttl") is None:
        values["ttl"] = ttl
    return new_draft(scope.core, session_id if own_session is None else scope.session(own_session), values)


def new_draft(core: Core, session_id: str, values: Mapping[str, Any]) -> Draft:
    """Validate the arguments in *values*, and return a draft of the artifact."""
    settings = core.settings
    new = draft(settings.sandbox_id, session_id, now=core.clock(), limits=settings.limits, **values)
    if settings.max_artifact_bytes is not None or settings.max_session_bytes is not None:
        quota.limit_size(core, new.data)
    return new


def _write(core: Core, drafts: Sequence[Draft], *, exclusive: bool = False) -> list[str]:
    """Write bytes and records of *drafts*, all or none, and return the ids.

    Raises:
        ConflictError: *exclusive* is set and a filename is taken in its session, or a new key is already in use.
        QuotaExceededError: data is too long for a session.
        ProviderError: the storage fails, or the first bytes were removed before the last were written.

    """
    if core.settings.max_session_bytes is not None:
        for session_id in {item.session_id: None for item in drafts}:
            quota.admit(core, session_id, [item.data for item in drafts if item.session_id == session_id])
    if not core.identified:
        identity.establish(core)
    begun = core.clock()
    keys = [item.key for item in drafts]
    try:
        written = core.each(partial(_put, core), drafts, None if core.settings.fsync else _size)
        check_bytes(core, keys, begun)
        now = core.clock()
        records = [record_of(core, item, *stored, now) for item, stored in zip(drafts, written, strict=True)]
    except ObjectExistsError as error:
        discard(core, [key for key in keys if key != error.key])
        raise ConflictError(f"the new key is already in use: {error.key}") from None
    except BaseException as error:
        if len(keys) > 1 or not isinstance(error, ProviderError):  # see _undo
            discard(core, keys)
        raise
    add(
        core,
        records,
        now,
        inheriting={item.artifact_id for item in drafts if item.ttl is None},
        user_ids={item.session_id: item.user_id for item in reversed(drafts) if item.user_id is not None},
        exclusive=exclusive,
    )
    stored = [record.artifact_id for record in records]
    _log.debug("store %s", stored)
    return stored


def _put(core: Core, item: Draft) -> tuple[int, str]:
    storage, now = core.storage, core.clock()
    return storage.put(
        item.key,
        item.data,
        exclusive=storage.conditional_put,
        about=lambda sha256, size: item.description(
            sha256, size, now=now, session_ttl=first_ttl(core, item.session_id)
        ),
    )


def _size(item: Draft) -> int:
    """Return the size in bytes; assume one chunk for a stream."""
    return len(item.data) if isinstance(item.data, bytes) else CHUNK_SIZE


def record_of(core: Core, item: Draft, size: int, sha256: str, now: float) -> ArtifactMetadata:
    """Return the record of a draft with *size* bytes, stored at *now* (seconds since the epoch)."""
    return item.record(
        size,
        sha256,
        now=now,
        session_ttl=first_ttl(core, item.session_id),
        storage_provider=core.storage.provider,
        session_provider=core.catalog.provider,
    )


def first_ttl(core: Core, session_id: str) -> float | None:
    """Return the default time to live, in seconds, of artifacts in a session that begins; None: for ever."""
    is_users_own = session_id.startswith(grid.OF_USER) and grid.user_of(session_id) is not None
    return None if is_users_own else core.settings.session_ttl


def add(
    core: Core,
    records: Sequence[ArtifactMetadata],
    now: float,
    *,
    inheriting: Collection[str] = (),
    user_ids: Mapping[str, str] = NO_USERS,
    exclusive: bool = False,
) -> None:
    """Add the records of bytes that were just written; after a failure, remove both.

    The arguments are those of :meth:`~chuk_artifacts.catalog.Catalog.add`.

    Raises:
        ConflictError: *exclusive* is set and a filename is taken in its session.
        QuotaExceededError: a session would hold too much.

    """
    try:
        quota.with_room(
            core,
            {record.session_id for record in records},
            partial(
                core.catalog.add,
                records,
                now=now,
                inheriting=inheriting,
                user_ids=user_ids,
                exclusive=exclusive,
                max_session_bytes=core.settings.max_session_bytes,
            ),
        )
    except BaseException as error:

        def take_back() -> bool:
            core.catalog.remove([record.artifact_id for record in records])
            return True

        _undo(core, [record.key for record in records], error, take_back)
        if isinstance(error, FilenameTakenError):
            names = shown(records[0].filename) if len(records) == 1 else f"one of {len(records)}"
            raise ConflictError(f"filename {names} is taken in this session") from None
        raise


def discard_unrecorded(core: Core, artifact_id: str, key: str, error: BaseException) -> None:
    """Remove the bytes under a fresh key after *error*, unless the artifact's record may point to them."""

    def not_recorded() -> bool:
        (record,) = core.catalog.get((artifact_id,))
        return record is None or key not in record.all_bytes

    _undo(core, [key], error, not_recorded)


def _undo(core: Core, keys: Sequence[str], error: BaseException, take_back: Callable[[], bool]) -> None:
    """Remove the bytes of a change that failed with *error*, if no record can point to them.

    - After one of our errors the catalog was not changed: the bytes go.
    - Where the outcome is unknown they stay; an orphan sweep finds them if no record does.
    - Where the storage itself failed they stay too: a put that fails leaves nothing, and asking a dead service again
      takes twice as long.
    - Anything else interrupted the call, perhaps after the change was made. *take_back* finds out, and returns whether
      the bytes may go.

    Failures in here are logged, so that the caller can raise *error*.
    """
    if isinstance(error, (OutcomeUnknownError, ProviderError)):
        return
    try:
        if isinstance(error, ArtifactStoreError) or take_back():
            discard(core, keys)
    except ArtifactStoreError as failure:
        _log.debug("left for cleanup: %s: %s", keys, failure)


def check_bytes(core: Core, keys: Sequence[str], begun: float) -> None:
    """Raise :class:`ProviderError` when bytes that took long to write are gone before their record exists.

    Args:
        core: the backends.
        keys: the keys of the bytes.
        begun: when the first of them were written, in seconds since the epoch, by the store's clock.

    """
    if abs(core.clock() - begun) < _LONG_SECONDS:  # absolute, because the clock may have been set back
        return
    for key in keys:
        if core.storage.stat(key) is None:
            raise ProviderError(
                "bytes were removed while others were still being written, perhaps by an orphan sweep: nothing was"
                " stored; store it again"
            )

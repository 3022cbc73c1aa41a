"""Writing: bytes first, then the record that points to them, and neither stays when one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from chuk_artifacts import grid
from chuk_artifacts.catalog import NOBODY, FilenameTakenError
from chuk_artifacts.core import Core
from chuk_artifacts.draft import Draft, description
from chuk_artifacts.errors import ConflictError, OutcomeUnknownError, ProviderError, SessionError
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.source import CHUNK_SIZE
from chuk_artifacts.storage import ObjectExistsError

T = TypeVar("T")

ATTEMPTS = 128
"""How often in a row somebody else may come first, until a verb gives up."""

_log = logging.getLogger("chuk_artifacts")


def write(core: Core, drafts: Sequence[Draft], *, exclusive: bool = False) -> list[str]:
    """Make artifacts of *drafts*, all of them or none, and return their ids.

    Raises:
        ConflictError: *exclusive*, and a filename is taken in its session; or a fresh key is in use.

    """
    try:
        written = core.each(partial(_put, core), drafts, None if core.settings.fsync else _size)
    except ObjectExistsError as error:
        (taken,) = error.args
        discard(core, [order.key for order in drafts if order.key != taken])
        raise ConflictError(f"a fresh key is in use already: {taken}") from None
    except BaseException:
        discard(core, [order.key for order in drafts])
        raise
    now = core.clock()
    records = [record_of(core, order, size, sha256, now) for order, (size, sha256) in zip(drafts, written, strict=True)]
    add(
        core,
        records,
        now,
        inheriting={order.artifact_id for order in drafts if order.ttl is None},
        user_ids={order.session_id: order.user_id for order in reversed(drafts) if order.user_id is not None},
        exclusive=exclusive,
    )
    stored = [record.artifact_id for record in records]
    _log.debug("store %s", stored)
    return stored


def _put(core: Core, order: Draft) -> tuple[int, str]:
    storage, now = core.storage, core.clock()
    return storage.put(
        order.key,
        order.data,
        exclusive=storage.guards,
        about=lambda sha256: description(record_of(core, order, 0, sha256, now)),
    )


def _size(order: Draft) -> int:
    """Return how many bytes there are to write; of a stream, which tells only at its end, so many as are a piece."""
    return len(order.data) if isinstance(order.data, bytes) else CHUNK_SIZE


def record_of(core: Core, order: Draft, size: int, sha256: str, now: float) -> ArtifactMetadata:
    """Return the record of what was ordered, with *size* bytes, at *now* (seconds since the epoch)."""
    return order.record(
        size,
        sha256,
        now=now,
        session_ttl=core.settings.session_ttl,
        storage_provider=core.storage.provider,
        session_provider=core.catalog.provider,
    )


def add(
    core: Core,
    records: Sequence[ArtifactMetadata],
    now: float,
    *,
    inheriting: Collection[str] = (),
    user_ids: Mapping[str, str] = NOBODY,
    exclusive: bool = False,
) -> None:
    """Write the records of bytes that were just written; when that fails, leave neither.

    The arguments are those of :meth:`~chuk_artifacts.catalog.Catalog.add`.

    Raises:
        ConflictError: *exclusive*, and a filename is taken in its session.

    """
    catalog = core.catalog
    try:
        catalog.add(records, now=now, inheriting=inheriting, user_ids=user_ids, exclusive=exclusive)
    except FilenameTakenError:
        discard(core, [record.key for record in records])
        raise ConflictError(f"filename {records[0].filename!r} is taken in this session") from None
    except OutcomeUnknownError:  # the records may be there, so the bytes stay: if not, cleanup finds those
        raise
    except SessionError:
        discard(core, [record.key for record in records])
        raise
    except BaseException:  # interrupted, perhaps after the records were written
        catalog.remove([record.artifact_id for record in records])
        discard(core, [record.key for record in records])
        raise


def discard(core: Core, keys: Sequence[str]) -> None:
    """Remove bytes that nothing points to; what fails here is left to cleanup."""
    try:
        core.storage.delete(keys)
    except ProviderError as error:
        _log.debug("left for cleanup: %s: %s", keys, error)


def under_free_key(core: Core, record: ArtifactMetadata, put: Callable[[str], T]) -> tuple[str, T]:
    """Return the first free key after the artifact's present one, and what *put*, an exclusive one, returned.

    Raises:
        ConflictError: one key after the other was taken by somebody else.

    """
    parts = record.sandbox_id, record.session_id, record.artifact_id
    following = record.revision + 1 if core.storage.claims else grid.random_revision()
    for revision in range(following, following + ATTEMPTS):
        key = grid.artifact_key(*parts, revision)
        try:
            return key, put(key)
        except ObjectExistsError:
            continue
    raise ConflictError(f"artifact {record.artifact_id} is being changed by {ATTEMPTS} others")

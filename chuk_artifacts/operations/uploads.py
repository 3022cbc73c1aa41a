"""The life of an upload: awaited under a signed URL, received, and made an artifact, which no URL can write to.

Until then its record is *pending*. One that tells all of the artifact is called registered: whoever comes upon it makes
the artifact, once the bytes are there. The others wait for somebody who tells the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from chuk_artifacts import arguments, grid
from chuk_artifacts.core import Core, LocalGateway
from chuk_artifacts.errors import (
    ArtifactExpiredError,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    no_artifact,
)
from chuk_artifacts.fork import Lockable
from chuk_artifacts.models import GRACE_SECONDS, ArtifactMetadata, Pending, is_over, seconds_of, timestamp
from chuk_artifacts.operations import identity
from chuk_artifacts.operations import presigning as links
from chuk_artifacts.operations.draft import Draft, description
from chuk_artifacts.operations.writing import ATTEMPTS, check_bytes, discard, fresh_bytes, record_of
from chuk_artifacts.source import CHUNK_SIZE, source
from chuk_artifacts.storage import ObjectChangedError, ObjectExistsError, ObjectMissingError

Allows = Callable[[Callable[[], str] | None], bool]
"""Says whether an upload may take the place of another, given what returns that one's SHA-256, or None if it is the
first."""


class _Turn(Lockable):
    """A context in which one thread is at a time."""

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *details: object) -> None:
        self._lock.release()


_conditional = _Turn()


def expect(
    core: Core,
    order: Draft,
    expires: float,
    max_bytes: int | None,
    *,
    registered: bool,
    start: Callable[[], LocalGateway],
) -> tuple[str, str]:
    """Sign a URL to upload to, and remember what it is for.

    Args:
        core: where it goes.
        order: what is known of the artifact, all but its bytes.
        expires: how long the URL works, in seconds.
        max_bytes: how long the upload may be; None: any length.
        registered: whether *order* tells all of the artifact.
        start: see :mod:`~chuk_artifacts.operations.presigning`.

    Returns:
        the URL, and the artifact id.

    Raises:
        InvalidInputError: *expires* or *max_bytes* is wrong, or the artifact would outlive the year 9999.

    """
    seconds = arguments.check_expires(expires)
    if max_bytes is not None:
        max_bytes = arguments.check_count("max_bytes", max_bytes, 0)
    now = core.clock()
    until = timestamp(now + seconds + GRACE_SECONDS)
    expires_at: str | None = until
    if registered:
        order.ttl = _ttl_in(core, order.session_id) if order.ttl is None else order.ttl
        expires_at = _later(until, order.ttl)
    record = record_of(core, order, 0, "", now).changed(
        key=grid.upload_key(order.sandbox_id, order.session_id, order.artifact_id),
        revision=0,
        pending=Pending(until, registered, max_bytes),
        expires_at=expires_at,
    )
    if not core.identified:
        identity.establish(core)
    url = links.to_upload(core, record, seconds, start)
    core.catalog.add([record], now=now)
    return url, order.artifact_id


def receive(
    core: Core, bound: str | None, artifact_id: str, data: Iterator[bytes], allows: Allows | None = None
) -> str:
    """Take an upload that is awaited, and return its SHA-256.

    Args:
        core: where it goes.
        bound: the session it must belong to, or None for any.
        artifact_id: what it becomes.
        data: its bytes.
        allows: whether it may take the place of what was uploaded before; None: always.

    Raises:
        ArtifactNotFoundError: it is not awaited, or not any more when it has arrived; nothing is left behind.
        ConflictError: *allows* refuses; nothing is changed.

    """
    key = _awaited(core, bound, artifact_id).key
    if allows is None:
        _, sha256 = core.storage.put(key, source(data))
    else:
        sha256 = _put_if(core, key, data, allows)
    try:
        _awaited(core, bound, artifact_id)
    except ArtifactNotFoundError:  # registered or deleted while it arrived: nobody would ever look for these bytes
        discard(core, [key])
        raise
    return sha256


def _put_if(core: Core, key: str, data: Iterator[bytes], allows: Allows) -> str:
    """Write an upload, if what was uploaded before allows that, and return its SHA-256.

    That is asked before the first byte and again after the last, and from then on no other conditional upload of this
    process comes in between. One of another process may, unless the storage can write exclusively.
    """

    def check() -> bool:
        """Return whether nothing was uploaded before."""
        before = core.storage.stat(key)
        if not allows(None if before is None else lambda: _measured(core, key, before.bytes, None)[1]):
            raise ConflictError("another upload came first, or not the one that was expected")
        return before is None

    def checked() -> Iterator[bytes]:
        yield from data
        turn.enter_context(_conditional)
        check()

    with contextlib.ExitStack() as turn:
        try:
            _, sha256 = core.storage.put(key, source(checked()), exclusive=check())
        except ObjectExistsError:
            raise ConflictError("another upload came first") from None
    return sha256


def _awaited(core: Core, bound: str | None, artifact_id: str) -> ArtifactMetadata:
    record = find(core, bound, artifact_id)
    if record.pending is None:
        raise no_artifact(artifact_id)
    return record


def find(core: Core, bound: str | None, artifact_id: str) -> ArtifactMetadata:
    """Return the record of an upload that is awaited, or that is an artifact by now.

    Raises:
        ArtifactNotFoundError: there is none, or none in the session that *bound* names.
        ArtifactExpiredError: its time is over.

    """
    plain_id = grid.plain_artifact_id(artifact_id)
    (record,) = (None,) if plain_id is None else core.catalog.get((plain_id,))
    if record is None or bound not in {None, record.session_id}:
        raise no_artifact(artifact_id)
    if is_over(record.expires_at, core.clock()):
        raise ArtifactExpiredError(f"artifact {artifact_id} has expired")
    return record


def register(core: Core, record: ArtifactMetadata, fields: Mapping[str, Any], ttl: float | None) -> None:
    """Make an artifact of what was uploaded for *record*, with these fields; nothing, if it is one already.

    It lives for *ttl* seconds, and as long as its session's default if that is None.

    Raises:
        ArtifactNotFoundError: nothing has been uploaded.
        InvalidInputError: the upload is too long. It is removed.

    """
    if record.pending is not None:
        _adopt(core, record, {**fields, "ttl": _ttl_in(core, record.session_id) if ttl is None else ttl})


def settled(core: Core, records: list[ArtifactMetadata]) -> list[ArtifactMetadata]:
    """Return the artifacts among *records*, and those that pending ones turn into by this."""
    for record in records:
        if record.pending is not None:
            return [found for found in core.each(partial(if_complete, core), records) if found is not None]
    return records


def if_complete(core: Core, record: ArtifactMetadata) -> ArtifactMetadata | None:
    """Return the artifact that *record* is, or turns into by this, or None."""
    if record.pending is None:
        return record
    try:
        return completed(core, record)
    except ArtifactNotFoundError:
        return None


def completed(core: Core, record: ArtifactMetadata) -> ArtifactMetadata:
    """Return the artifact that a pending record tells all of, if its bytes are there.

    Raises:
        ArtifactNotFoundError: it does not tell all, or nothing has been uploaded, or what is too long.
        ArtifactExpiredError: its time is over.

    """
    if record.pending is None or not record.pending.registered:
        raise no_artifact(record.artifact_id)
    if is_over(record.expires_at, core.clock()):
        raise ArtifactExpiredError(f"artifact {record.artifact_id} has expired")
    try:
        return _adopt(core, record, {"ttl": record.ttl})
    except InvalidInputError:
        raise no_artifact(record.artifact_id) from None


def _adopt(core: Core, pending: ArtifactMetadata, fields: Mapping[str, Any]) -> ArtifactMetadata:
    """Make an artifact of what was uploaded for a pending record, under a key that no URL can write to."""
    now = core.clock()
    ttl = fields["ttl"]
    record = pending.changed(
        revision=1,
        pending=None,
        stored_at=timestamp(now),
        updated_at=timestamp(now),
        expires_at=None if ttl is None else timestamp(now + ttl),
        **fields,
    )
    for _ in range(ATTEMPTS):
        uploaded = core.storage.stat(pending.key)
        if uploaded is None:
            return _registered_by_other(core, pending)
        _check_length(core, pending, uploaded.bytes)
        with contextlib.suppress(ObjectChangedError):  # another upload has just taken its place
            return _copied(core, pending, record, uploaded.bytes)
    raise ConflictError(f"artifact {pending.artifact_id} was uploaded anew {ATTEMPTS} times while it was registered")


def _copied(core: Core, pending: ArtifactMetadata, record: ArtifactMetadata, length: int) -> ArtifactMetadata:
    """Copy *length* bytes of an upload to a key of the artifact's own, and let *record* point to them."""
    key = grid.later_key(pending.sandbox_id, pending.session_id, pending.artifact_id)
    try:
        with fresh_bytes(core, pending.artifact_id, key):
            sha256 = core.storage.copy(pending.key, key, length, hashed=True, about=lambda _: description(record))
            size, sha256 = _measured(core, key, length, sha256)
            _check_length(core, pending, size)  # another upload may have come in between
            check_bytes(core, [key], seconds_of(record.stored_at))
            record = record.changed(key=key, bytes=size, sha256=sha256)
            replaced = core.catalog.replace(record, expected_revision=pending.revision)
    except ObjectMissingError:
        replaced = False
    if not replaced:
        discard(core, [key])
        return _registered_by_other(core, pending)
    discard(core, [pending.key])
    return record


def _registered_by_other(core: Core, pending: ArtifactMetadata) -> ArtifactMetadata:
    """Return the artifact that another caller has just made of the upload, if that is why it is gone."""
    (record,) = core.catalog.get((pending.artifact_id,))
    if record is None or record.pending is not None or record.session_id != pending.session_id:
        raise ArtifactNotFoundError(f"artifact {pending.artifact_id}: nothing has been uploaded")
    return record


def _check_length(core: Core, pending: ArtifactMetadata, size: int) -> None:
    """Refuse and remove an upload that is too long."""
    limit = None if pending.pending is None else pending.pending.max_bytes
    if limit is not None and size > limit:
        discard(core, [pending.key])
        raise InvalidInputError(f"artifact {pending.artifact_id}: {size} bytes were uploaded, more than {limit}")


def _measured(core: Core, key: str, size: int, sha256: str | None) -> tuple[int, str]:
    """Return length and SHA-256 of what is stored under *key*; *sha256* is what the storage told of it."""
    storage = core.storage
    if sha256 is not None:
        stored = storage.stat(key)
        if stored is None:
            raise ObjectMissingError(key)
        return stored.bytes, sha256
    with storage.open(key, size) as file:
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK_SIZE):
            digest.update(chunk)
        return file.tell(), digest.hexdigest()


def _ttl_in(core: Core, session_id: str) -> float | None:
    """Return how long what is stored in a session lives by default, in seconds."""
    info = core.catalog.get_session(session_id, core.clock())
    return core.settings.session_ttl if info is None else info.ttl


def _later(moment: str, ttl: float | None) -> str | None:
    """Return *moment* and *ttl* seconds."""
    return None if ttl is None else timestamp(arguments.check_moment("ttl", seconds_of(moment) + ttl))

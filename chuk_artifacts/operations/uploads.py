"""Uploads: receive bytes under a presigned URL, and copy them to a key that no URL can write to.

Until then the record of an upload is *pending*. A *complete* pending record already holds all metadata; the first read
after the bytes arrive turns it into an artifact. Others wait for ``register_uploaded_artifact``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator

from chuk_artifacts import grid
from chuk_artifacts.core import Core
from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    QuotaExceededError,
    no_artifact,
    shown,
)
from chuk_artifacts.fields import JsonObject
from chuk_artifacts.fork import Lockable
from chuk_artifacts.models import ArtifactMetadata, seconds_of, timestamp
from chuk_artifacts.operations import quota
from chuk_artifacts.operations.calls import operation, operation_of
from chuk_artifacts.operations.deleting import discard
from chuk_artifacts.operations.descriptions import description
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.writing import ATTEMPTS, check_bytes, discard_unrecorded, first_ttl
from chuk_artifacts.source import CHUNK_SIZE, Readable, Stream, source
from chuk_artifacts.storage import ObjectChangedError, ObjectExistsError, ObjectMissingError, StoredObject

Allows = Callable[[Callable[[], str] | None], bool]
"""Returns whether an upload may replace an earlier one. The argument returns the SHA-256 of the earlier upload, or is
None for the first."""


class _Turn(Lockable):
    """A lock as a context manager, which a child of a fork gets unlocked."""

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *details: object) -> None:
        self._lock.release()


_conditional = _Turn()


Content = bytes | Readable | Iterable[bytes]
"""The content of an upload."""


@operation
def check(
    scope: Scope, artifact_id: str, allows: Allows | None = None, length: int | None = None
) -> list[tuple[int, quota.Refusal]]:
    """Raise what :func:`receive` would raise before it reads the first byte; return the limits on the bytes."""
    record = _awaited(scope, artifact_id)
    limits = quota.limits_on(scope.core, record.session_id, length)
    if allows is not None:
        _check_allowed(scope.core, record.key, allows)
    return limits


@operation
def receive(
    scope: Scope, artifact_id: str, data: Content, allows: Allows | None = None, length: int | None = None
) -> str:
    """Write the bytes of a pending upload, and return their SHA-256.

    Args:
        scope: the scope of the upload.
        artifact_id: the id of the later artifact.
        data: the bytes.
        allows: whether this may replace an earlier upload; None: always.
        length: their announced number, or None.

    Raises:
        ArtifactNotFoundError: the upload is not pending, before or after the bytes arrived; nothing is kept.
        ConflictError: *allows* returned False; nothing was changed.
        QuotaExceededError: the bytes are too many for an artifact, or for the session; nothing was changed.

    """
    core, pending = scope.core, _awaited(scope, artifact_id)
    key = pending.key
    content = source(data)
    if isinstance(content, Stream) and length is not None:
        content.measure = lambda: length
    quota.limit_size(core, content)
    quota.admit(core, pending.session_id, [content])
    if allows is None:
        _, sha256 = core.storage.put(key, content)
    else:
        sha256 = _put_if(core, key, content, allows)
    try:
        _awaited(scope, artifact_id)
    except ArtifactNotFoundError:  # registered or deleted meanwhile: no record points to these bytes
        discard(core, [key])
        raise
    return sha256


def _put_if(core: Core, key: str, content: bytes | Stream, allows: Allows) -> str:
    """Write an upload if *allows* accepts the earlier one, and return the new SHA-256.

    *allows* is called before the first byte and after the last. From the second call on a lock excludes other
    conditional uploads of this process. Another process can interfere unless the storage supports conditional puts.
    """

    def checked() -> Iterator[bytes]:
        yield from (content,) if isinstance(content, bytes) else content
        turn.enter_context(_conditional)
        _check_allowed(core, key, allows)

    with contextlib.ExitStack() as turn:
        try:
            _, sha256 = core.storage.put(key, source(checked()), exclusive=_check_allowed(core, key, allows))
        except ObjectExistsError:
            raise ConflictError("another upload came first") from None
    return sha256


def _check_allowed(core: Core, key: str, allows: Allows) -> bool:
    """Return whether nothing was uploaded before; raise :class:`ConflictError` when *allows* refuses another upload."""
    before = core.storage.stat(key)
    if not allows(None if before is None else lambda: measured(core, key, before.bytes, None)[1]):
        raise ConflictError("another upload came first, or the expected one is missing")
    return before is None


def _awaited(scope: Scope, artifact_id: str) -> ArtifactMetadata:
    record = _find(scope, artifact_id)
    if record.pending is None:
        raise no_artifact(artifact_id)
    return record


def _find(scope: Scope, artifact_id: str) -> ArtifactMetadata:
    """Return the pending record of an upload, or the record of the artifact that it became."""
    plain_id = grid.plain_artifact_id(artifact_id)
    if plain_id is None:
        raise no_artifact(artifact_id)
    (record,) = scope.core.catalog.get((plain_id,))
    return scope.check(plain_id, record, scope.core.clock(), incomplete=True)


@operation_of("register_uploaded_artifact")
def register(scope: Scope, artifact_id: str, fields: JsonObject, *, session_id: str | None, ttl: float | None) -> None:
    """Make an artifact from an upload; return without a change if it is one already.

    Args:
        scope: the scope of the upload.
        artifact_id: its id.
        fields: metadata of the artifact, by field name.
        session_id: the session that it must belong to; None: any.
        ttl: its time to live in seconds; None: its session's default.

    Raises:
        ArtifactNotFoundError: the id is unknown, or nothing has been uploaded.
        ArtifactExpiredError: the upload has expired.
        AccessDeniedError: the upload belongs to another session.
        InvalidInputError: the upload has metadata, tags or an ACL; it is removed.
        QuotaExceededError: the upload is too long, or its session would hold too much; it is removed.

    """
    core = scope.core
    if session_id is not None:
        session_id = scope.session(session_id)
    record = _find(scope, artifact_id)
    if session_id is not None and session_id != record.session_id:
        raise AccessDeniedError(f"artifact {record.artifact_id} can't leave its session")
    if record.pending is not None:
        _adopt(core, record, {**fields, "ttl": default_ttl(core, record.session_id) if ttl is None else ttl})


def complete(core: Core, record: ArtifactMetadata) -> ArtifactMetadata:
    """Turn a complete pending record into an artifact, and return that.

    Raises:
        ArtifactNotFoundError: nothing has been uploaded, or :func:`register` would refuse the upload.

    """
    try:
        return _adopt(core, record, {"ttl": record.ttl})
    except InvalidInputError:
        raise no_artifact(record.artifact_id) from None


def _adopt(core: Core, pending: ArtifactMetadata, fields: JsonObject) -> ArtifactMetadata:
    """Make an artifact from the upload of a pending record, under a key that no URL can write to."""
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
            return _made_by_other(core, pending)
        _check_length(core, pending, uploaded.bytes)
        _check_plain(core, pending, uploaded)
        _check_room(core, pending, uploaded.bytes)
        with contextlib.suppress(ObjectChangedError):  # another upload has just replaced it
            return _copied(core, pending, record, uploaded.bytes)
    raise ConflictError(f"artifact {pending.artifact_id} was uploaded anew {ATTEMPTS} times while it was registered")


def _copied(core: Core, pending: ArtifactMetadata, record: ArtifactMetadata, length: int) -> ArtifactMetadata:
    """Copy *length* bytes of an upload to a new key, and replace *pending* by *record*, pointed to them."""
    key = grid.later_key(pending.sandbox_id, pending.session_id, pending.artifact_id)
    try:
        sha256 = core.storage.copy(
            pending.key, key, length, hashed=True, about=lambda _, size: description(record, size)
        )
        size, sha256 = measured(core, key, length, sha256)
        _check_length(core, pending, size)  # the copy may be of a later upload
        check_bytes(core, [key], seconds_of(record.stored_at))
        record = record.changed(key=key, bytes=size, sha256=sha256)
        replaced = quota.replace(core, pending, record)
    except ObjectMissingError:
        replaced = False
    except QuotaExceededError:
        discard(core, [pending.key, key])
        raise
    except BaseException as error:
        discard_unrecorded(core, pending.artifact_id, key, error)
        raise
    if not replaced:
        discard(core, [key])
        return _made_by_other(core, pending)
    discard(core, [pending.key])
    return record


def _made_by_other(core: Core, pending: ArtifactMetadata) -> ArtifactMetadata:
    """Return the artifact if another caller has just made it from the upload; otherwise raise."""
    with contextlib.suppress(ArtifactNotFoundError):
        record = _find(Scope(core, pending.session_id), pending.artifact_id)
        if record.pending is None:
            return record
    raise ArtifactNotFoundError(f"artifact {pending.artifact_id}: nothing has been uploaded")


def _check_length(core: Core, pending: ArtifactMetadata, size: int) -> None:
    """Refuse and remove an upload that is too long."""
    given = None if pending.pending is None else pending.pending.max_bytes
    most = core.settings.max_artifact_bytes
    limit = most if given is None or (most is not None and most < given) else given
    if limit is not None and size > limit:
        discard(core, [pending.key])
        error = QuotaExceededError(f"artifact {pending.artifact_id}: {size} bytes were uploaded, more than {limit}")
        error.limit = limit
        raise error


def _check_room(core: Core, pending: ArtifactMetadata, size: int) -> None:
    """Refuse and remove an upload that its session has no room for."""
    try:
        quota.admit(core, pending.session_id, (), size)
    except QuotaExceededError:
        discard(core, [pending.key])
        raise


def _check_plain(core: Core, pending: ArtifactMetadata, uploaded: StoredObject) -> None:
    """Refuse and remove an upload that has more than bytes and a media type, or grants access to others.

    A later upload can't bring these along: only its bytes are copied.
    """
    found = uploaded.carries or core.storage.grantees(pending.key)
    if found:
        discard(core, [pending.key])
        raise InvalidInputError(
            f"artifact {pending.artifact_id}: the upload has headers that are not allowed: {shown(', '.join(found))}"
        )


def measured(core: Core, key: str, size: int, sha256: str | None) -> tuple[int, str]:
    """Return length and SHA-256 of the object under *key*; *sha256* is the storage's own value, or None."""
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


def default_ttl(core: Core, session_id: str) -> float | None:
    """Return the default time to live of artifacts in a session, in seconds."""
    info = core.catalog.get_session(session_id, core.clock())
    return first_ttl(core, session_id) if info is None else info.ttl

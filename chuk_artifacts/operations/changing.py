"""Changing artifacts: replace a record by compare-and-set, write new content under a new key.

A caller that has just read the record passes it, which saves a round trip to the catalog.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, Protocol, Self

import attrs

from chuk_artifacts import arguments, grid
from chuk_artifacts.catalog import batches
from chuk_artifacts.core import Core
from chuk_artifacts.errors import AccessDeniedError, ConflictError
from chuk_artifacts.fields import JsonObject
from chuk_artifacts.instrumentation import retried
from chuk_artifacts.models import ArtifactMetadata, Origin, seconds_of, timestamp
from chuk_artifacts.operations import identity, quota
from chuk_artifacts.operations.calls import operation, operation_of
from chuk_artifacts.operations.deleting import discard
from chuk_artifacts.operations.descriptions import description
from chuk_artifacts.operations.finding import find, public
from chuk_artifacts.operations.history import (
    content_at,
    earlier_at,
    is_lost,
    origin_of,
    retained,
    superseded_by_next,
)
from chuk_artifacts.operations.reading import corrupted, latest, stream_record
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.writing import ATTEMPTS, add, check_bytes, discard_unrecorded
from chuk_artifacts.settings import Settings
from chuk_artifacts.source import Stream
from chuk_artifacts.storage import ObjectChangedError, ObjectMissingError

_RENAMED_AT_ONCE = 500
_COPIED_AT_ONCE = 500
_LONGEST_PAUSE_SECONDS = 0.05
_ENDS_SOON_SECONDS = 300.0  # far longer than all attempts to replace a record


class Content(NamedTuple):
    """New bytes, written under a new key.

    Attributes:
        key: their key.
        bytes: their length.
        sha256: their SHA-256.

    """

    key: str
    bytes: int
    sha256: str

    def fields(self, record: ArtifactMetadata, now: float) -> JsonObject:
        """Return the fields of the next revision of *record* that describe its bytes."""
        return {"key": self.key, "bytes": self.bytes, "sha256": self.sha256}


class Earlier(NamedTuple):
    """The content that an artifact had at an earlier revision.

    Attributes:
        revision: that revision.

    """

    revision: int

    def fields(self, record: ArtifactMetadata, now: float) -> JsonObject:
        """Return the fields of the next revision of *record* that describe its bytes; none if they stay the same.

        Raises:
            ArtifactNotFoundError: the content is not kept.

        """
        earlier = earlier_at(record, self.revision, now)
        if earlier is None or earlier.key == record.key:
            return {}
        return {"key": earlier.key, "bytes": earlier.bytes, "sha256": earlier.sha256, "mime": earlier.mime}


class Change(NamedTuple):
    """A validated change of a record, except for its content.

    Attributes:
        fields: new values by field name.
        merged: a JSON object to merge, key by key, into ``meta``; None: no change.
        ttl: the new time to live, in seconds from now; None: no change.
        more_seconds: seconds to add to the expiry, if the record has one.
        session_id: the session that the record must belong to; None: any.
        revision: the revision that the record must have; None: any.
        keep_versions: how many earlier contents to keep for good, from now on; None: no change.

    """

    fields: Mapping[str, object] = MappingProxyType({})
    merged: Mapping[str, object] | None = None
    ttl: float | None = None
    more_seconds: float | None = None
    session_id: str | None = None
    revision: int | None = None
    keep_versions: int | None = None

    @classmethod
    def of(
        cls,
        core: Core,
        *,
        summary: object = None,
        filename: object = None,
        mime: object = None,
        ttl: object = None,
        if_revision: object = None,
        session_id: object = None,
        meta: object = None,
        meta_name: str = "meta",
        merge: bool = False,
        keep_versions: object = None,
    ) -> Self:
        """Validate the arguments of a method, and return the change they describe. None leaves a field as it is.

        Args:
            core: provides limits and clock.
            summary: see :meth:`ArtifactStore.update_file`.
            filename: see :meth:`ArtifactStore.update_file`.
            mime: see :meth:`ArtifactStore.update_file`.
            ttl: see :meth:`ArtifactStore.update_file`.
            if_revision: see :meth:`ArtifactStore.update_file`.
            session_id: the session that the artifact must belong to.
            meta: see :meth:`ArtifactStore.update_file`.
            meta_name: what the method calls *meta*, for messages.
            merge: whether to merge *meta*, key by key, into the present one, or to replace that.
            keep_versions: see :meth:`ArtifactStore.update_file`.

        Raises:
            InvalidInputError: an argument is invalid.

        """
        limits = core.settings.limits
        fields: JsonObject = {}
        if summary is not None:
            fields["summary"] = limits.check_summary(summary)
        if filename is not None:
            fields["filename"] = arguments.check_filename(filename)
        if mime is not None:
            fields["mime"] = arguments.check_mime(mime, None, arguments.OCTET_STREAM)
        if meta is not None:
            meta = limits.check_meta(meta_name, meta)
            if not merge:
                fields["meta"] = meta
        return cls(
            fields=fields,
            merged=meta if merge else None,
            ttl=None if ttl is None else arguments.check_ttl("ttl", ttl, core.clock()),
            revision=None if if_revision is None else arguments.check_count("if_revision", if_revision, 1),
            session_id=None if session_id is None else grid.check_session_id(session_id),
            keep_versions=arguments.check_keep_versions(keep_versions),
        )

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        changes = (self.merged, self.ttl, self.more_seconds, self.keep_versions)
        return not self.fields and changes == (None, None, None, None)

    def check(self, record: ArtifactMetadata) -> None:
        """Raise when this change must not be applied to *record*.

        Raises:
            ConflictError: the record has another revision.
            AccessDeniedError: the record belongs to another session.

        """
        if self.revision is not None and self.revision != record.revision:
            raise ConflictError(f"artifact {record.artifact_id} has revision {record.revision}, not {self.revision}")
        if self.session_id is not None and self.session_id != record.session_id:
            raise AccessDeniedError(f"artifact {record.artifact_id} can't leave its session")

    def new_fields(self, record: ArtifactMetadata, limits: arguments.Limits) -> JsonObject:
        """Return the values of fields that differ from those of *record*, content and expiry aside."""
        if self.merged is None:
            return dict(self.fields)
        return {**self.fields, "meta": limits.check_merged("meta", record.meta, self.merged)}

    def apply(
        self, record: ArtifactMetadata, now: float, settings: Settings, content: Content | Earlier | None = None
    ) -> ArtifactMetadata:
        """Return the next revision of *record*, or *record* itself if nothing changes; raises like :meth:`check`."""
        self.check(record)
        fields = self.new_fields(record, settings.limits)
        if self.ttl is not None:
            fields |= {"ttl": self.ttl, "expires_at": timestamp(now + self.ttl)}
        if self.more_seconds is not None and record.expires_at is not None and record.ttl is not None:
            end = arguments.check_moment("additional_seconds", seconds_of(record.expires_at) + self.more_seconds)
            fields |= {"ttl": record.ttl + self.more_seconds, "expires_at": timestamp(end)}
        moment = timestamp(now)
        replaced = {} if content is None else content.fields(record, now)
        if replaced or self.keep_versions is not None:
            fields |= replaced
            self._add_history(fields, record, now, moment, settings)
        elif fields and is_lost(record):
            fields["origin"] = origin_of(record)
        if not fields:
            return record
        return record.changed(revision=record.revision + 1, updated_at=moment, **fields)

    def _add_history(
        self, fields: JsonObject, record: ArtifactMetadata, now: float, moment: str, settings: Settings
    ) -> None:
        """Add the origin of the content and the earlier contents to the *fields* of the next revision of *record*."""
        origin, superseded = origin_of(record), record.superseded
        chosen = origin.keep_versions if self.keep_versions is None else self.keep_versions
        if "key" in fields:
            superseded = (*superseded, superseded_by_next(record, origin, now))
            fields["origin"] = Origin(record.revision + 1, moment, chosen)
        else:
            fields["origin"] = Origin(origin.revision, origin.stored_at, chosen)
        fields["superseded"] = retained(superseded, settings.keep_versions if chosen is None else chosen, moment)


def _change(
    scope: Scope,
    artifact_id: str,
    wanted: Change,
    data: bytes | Stream | None = None,
    *,
    record: ArtifactMetadata | None = None,
) -> ArtifactMetadata:
    """Change an artifact, and return its new metadata.

    Args:
        scope: the scope of the artifact.
        artifact_id: its id.
        wanted: the change of metadata.
        data: the new content; None: no change.
        record: its record, as the catalog has just returned it; None: look it up.

    Raises:
        ArtifactNotFoundError: the artifact does not exist.
        QuotaExceededError: *data* is too long, or its session would hold too much.
        ConflictError: it has another revision than *wanted* requires, or other writers changed it at every attempt.
        AccessDeniedError: it belongs to another session than *wanted* requires.

    """
    if data is not None:
        return _change_content(scope, artifact_id, wanted, data, record)
    before, after = _swap(scope, artifact_id, wanted, record)
    _discard_dropped(scope.core, before, after)
    return public(scope.core, after)


class Changing(Protocol):
    """A method that changes an artifact."""

    def __call__(
        self,
        scope: Scope,
        /,
        artifact_id: str,
        wanted: Change,
        data: bytes | Stream | None = None,
        *,
        record: ArtifactMetadata | None = None,
    ) -> ArtifactMetadata:
        """Change the artifact, and return its new metadata."""
        ...


change: Changing = operation_of("change")(_change)
update_metadata: Changing = operation_of("update_metadata")(_change)
update_file: Changing = operation_of("update_file")(_change)
move_file: Changing = operation_of("move_file")(_change)
extend_ttl: Changing = operation_of("extend_ttl")(_change)


@operation
def restore(scope: Scope, artifact_id: str, revision: int, wanted: Change) -> ArtifactMetadata:
    """Make an earlier content of an artifact its current one; see :meth:`ArtifactStore.restore`.

    Cleanup may remove a content whose hour is over, and leaves the revision of the record as it is, so that replacing
    the record does not notice. Shortly before that moment the bytes are copied.

    Raises:
        QuotaExceededError: the content is larger than is allowed now, or its session would hold too much.

    """
    core = scope.core
    record = find(scope, artifact_id)
    wanted.check(record)
    now = core.clock()
    earlier = earlier_at(record, revision, now)
    if earlier is not None:
        quota.check_size(core, earlier.bytes)
    if earlier is not None and not earlier.kept and seconds_of(earlier.until) < now + _ENDS_SOON_SECONDS:
        wanted_bytes = content_at(record, revision, now)
        content = Stream(
            lambda: stream_record(scope, wanted_bytes, exact=True), rewindable=True, measure=lambda: earlier.bytes
        )
        return _change_content(scope, artifact_id, wanted._replace(fields={"mime": earlier.mime}), content, record)
    before, after = _swap(scope, artifact_id, wanted, record, Earlier(revision))
    _discard_dropped(core, before, after)
    return public(core, after)


def _discard_dropped(core: Core, before: ArtifactMetadata, after: ArtifactMetadata) -> None:
    """Remove the bytes of earlier contents that the next revision of a record does not keep."""
    if before.superseded and before.superseded is not after.superseded:
        dropped = {earlier.key for earlier in before.superseded}
        dropped -= {after.key, *(earlier.key for earlier in after.superseded)}
        if dropped:
            discard(core, sorted(dropped))


@operation
def rename_all(scope: Scope, names: Sequence[tuple[ArtifactMetadata, str]]) -> None:
    """Rename artifacts with one call of the catalog for every 500.

    Args:
        scope: the scope of the artifacts.
        names: records that the catalog has just returned, with their new filenames.

    Raises:
        ArtifactNotFoundError: one was deleted meanwhile. Each of the others may have its new name or the old one.

    """
    core = scope.core
    for some in batches([(record, Change.of(core, filename=name)) for record, name in names], _RENAMED_AT_ONCE):
        now = core.clock()
        changes = [
            (wanted.apply(scope.check(record.artifact_id, record, now), now, core.settings), record.revision)
            for record, wanted in some
        ]
        for (record, wanted), replaced in zip(some, core.catalog.replace_each(changes), strict=True):
            if not replaced:  # another writer came first
                _swap(scope, record.artifact_id, wanted)


@operation_of("copy_file")
def copy(scope: Scope, artifact_id: str, wanted: Change, *, record: ArtifactMetadata | None = None) -> str:
    """Copy an artifact within its session, apply *wanted* to the copy, and return its id.

    Args:
        scope: the scope of the artifact.
        artifact_id: its id.
        wanted: the metadata that the copy changes.
        record: its record, as the catalog has just returned it; None: look it up.

    Raises:
        ArtifactNotFoundError: the artifact does not exist.
        ArtifactCorruptedError: the stored bytes differ in length from the record.
        QuotaExceededError: the artifact is larger than is allowed, or its session would hold too much.
        AccessDeniedError: the artifact belongs to another session than *wanted* requires.

    """
    core = scope.core
    record = _known(scope, artifact_id, record)
    wanted.check(record)
    quota.check_size(core, record.bytes)
    quota.admit(core, record.session_id, (), record.bytes)
    if not core.identified:
        identity.establish(core)
    now = core.clock()
    new = grid.new_artifact(record.sandbox_id, record.session_id)
    target = _Copy(*new, now, wanted.new_fields(record, core.settings.limits))
    try:
        made = _copied(scope, record, target)
        check_bytes(core, [target.key], now)
    except BaseException as error:
        discard_unrecorded(core, target.artifact_id, target.key, error)
        raise
    add(core, [made], now)
    return made.artifact_id


@operation
def copy_all(scope: Scope, names: Sequence[tuple[ArtifactMetadata, str]]) -> None:
    """Copy artifacts within their sessions, with one call of the catalog for every 500.

    Args:
        scope: the scope of the artifacts.
        names: records that the catalog has just returned, with the filenames of the copies.

    Raises:
        ArtifactNotFoundError: one was deleted meanwhile. Copies that were made in earlier portions stay.
        ArtifactCorruptedError: the stored bytes of one differ in length from its record.
        QuotaExceededError: one is larger than is allowed, and nothing was copied; or a session would hold too much.

    """
    core = scope.core
    for record, _ in names:
        quota.check_size(core, record.bytes)
    if not core.identified:
        identity.establish(core)
    planned = [(record, Change.of(core, filename=name)) for record, name in names]
    for some in batches(planned, _COPIED_AT_ONCE):
        now = core.clock()
        copies = [
            (record, _Copy(*grid.new_artifact(record.sandbox_id, record.session_id), now, wanted.fields))
            for record, wanted in some
        ]
        keys = [target.key for _, target in copies]
        try:
            made = core.each(partial(_copied_pair, scope), copies, _bytes_of_pair)
            check_bytes(core, keys, now)
        except BaseException:
            discard(core, keys)
            raise
        add(core, made, now)


def _copied_pair(scope: Scope, copy: tuple[ArtifactMetadata, _Copy]) -> ArtifactMetadata:
    record, target = copy
    return _copied(scope, scope.check(record.artifact_id, record, target.now), target)


def _bytes_of_pair(copy: tuple[ArtifactMetadata, _Copy]) -> int:
    return copy[0].bytes


@attrs.frozen
class _Copy:
    """The fields of a copy that differ from its original's."""

    artifact_id: str
    key: str
    now: float
    fields: Mapping[str, object]

    def of(self, record: ArtifactMetadata) -> ArtifactMetadata:
        """Return the record of a copy of *record*."""
        stored_at = timestamp(self.now)
        kept = None if record.origin is None else record.origin.keep_versions
        return record.changed(
            artifact_id=self.artifact_id,
            key=self.key,
            stored_at=stored_at,
            updated_at=stored_at,
            expires_at=None if record.ttl is None else timestamp(self.now + record.ttl),
            revision=1,
            superseded=(),
            origin=None if kept is None else Origin(1, stored_at, kept),
            **self.fields,
        )


def _copied(scope: Scope, record: ArtifactMetadata, target: _Copy) -> ArtifactMetadata:
    made = target.of(record)
    try:
        scope.core.storage.copy(record.key, target.key, record.bytes, about=lambda _, size: description(made, size))
    except ObjectMissingError:
        return _copied(scope, latest(scope, record), target)
    except ObjectChangedError:
        raise corrupted(record) from None
    return made


def _change_content(
    scope: Scope, artifact_id: str, wanted: Change, data: bytes | Stream, record: ArtifactMetadata | None
) -> ArtifactMetadata:
    """Write new bytes under a new key, then point the record to them."""
    core = scope.core
    quota.limit_size(core, data)
    record = _known(scope, artifact_id, record)
    begun = core.clock()
    wanted.check(record)
    if core.settings.max_session_bytes is not None:
        after = wanted.apply(record, begun, core.settings, Content("", 0, ""))
        quota.admit(core, record.session_id, [data], after.occupied - record.occupied)
    key = grid.later_key(record.sandbox_id, record.session_id, record.artifact_id)
    try:
        size, sha256 = core.storage.put(
            key,
            data,
            exclusive=core.storage.conditional_put,
            about=lambda sha256, size: description(
                wanted.apply(record, begun, core.settings, Content(key, size or 0, sha256)), size
            ),
        )
        check_bytes(core, [key], begun)
        before, after = _swap(scope, record.artifact_id, wanted, record, Content(key, size, sha256))
        changed = public(core, after)
    except BaseException as error:
        discard_unrecorded(core, record.artifact_id, key, error)
        raise
    _discard_dropped(core, before, after)
    return changed


def _swap(
    scope: Scope,
    artifact_id: str,
    wanted: Change,
    record: ArtifactMetadata | None = None,
    content: Content | Earlier | None = None,
) -> tuple[ArtifactMetadata, ArtifactMetadata]:
    """Replace a record by its next revision, retrying after other writers, and return both."""
    core = scope.core
    for attempt in range(ATTEMPTS):
        before = find(scope, artifact_id) if record is None else scope.check(artifact_id, record, core.clock())
        after = wanted.apply(before, core.clock(), core.settings, content)
        if after is before or quota.replace(core, before, after):
            return before, after
        record = None
        retried()
        _pause(attempt)
    raise ConflictError(
        f"artifact {grid.plain_artifact_id(artifact_id)} was changed by others {ATTEMPTS} times in a row"
    )


def _known(scope: Scope, artifact_id: str, record: ArtifactMetadata | None) -> ArtifactMetadata:
    if record is None:
        return find(scope, artifact_id)
    return scope.check(artifact_id, record, scope.core.clock())


def _pause(attempt: int) -> None:
    """Sleep before the next attempt, a little longer each time (backoff)."""
    import random  # noqa: PLC0415 - only needed after a conflict

    time.sleep(random.uniform(0, min(0.0005 * (attempt + 1), _LONGEST_PAUSE_SECONDS)))  # noqa: S311 - no secret

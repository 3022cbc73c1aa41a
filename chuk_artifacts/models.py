"""The public values: frozen, and mappings of their own fields."""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, overload

import attrs

from chuk_artifacts import grid
from chuk_artifacts.arguments import LAST_MOMENT, check_filename, check_text
from chuk_artifacts.fields import Fields, JsonObject, decode, encode, without_internal_hints
from chuk_artifacts.usual import (
    LARGEST,
    are_usual,
    check_moment,
    is_own,
    is_usual,
    plain_fields,
    plain_fields_each,
    quotes_in,
)

GRACE_SECONDS = 3600.0
"""How long superseded bytes and records of expired artifacts are kept: the default life of a presigned URL."""

ORPHAN_GRACE_SECONDS = 86400.0
"""How long bytes without a record are kept at least, because an upload may be running: one day.

An upload of 100 GB at 200 Mbit/s takes 67 minutes.
"""


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, with offset and microseconds.

    All have the same length, and sort as text in the order of time.
    """
    second, microsecond = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(second)}.{microsecond:06d}+00:00"


@functools.lru_cache(maxsize=16)  # the current second and that of the expiry repeat
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def seconds_of(moment: str) -> float:
    """Return an ISO 8601 timestamp with offset as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def is_over(moment: str | None, now: float) -> bool:
    """Return whether *moment* is not after *now* (seconds since the epoch); None is never over.

    Both are compared as text, rounded alike: an artifact that expires at *now* is over at *now*.
    """
    if moment is None or moment > _second(int(now) + 2):  # the usual case, and faster than formatting all digits
        return False
    return moment <= timestamp(now)


class Superseded(NamedTuple):
    """An earlier content of an artifact: kept for an hour, for readers that opened it before, or for good.

    Contents of one artifact may share a key, after one was restored. An earlier version of this library wrote
    only the first three fields.
    """

    key: str
    until: str
    """When cleanup may delete it (ISO 8601, UTC), unless it is kept."""
    bytes: int
    kept: bool = False
    """Whether it is kept for good: see ``keep_versions``."""
    revision: int = 0
    """The first revision of the artifact with this content; 0: not known."""
    last: int = 0
    """The last revision with this content."""
    sha256: str = ""
    mime: str = ""
    filename: str | None = None
    """The filename at the last of these revisions."""
    stored_at: str = ""


class Origin(NamedTuple):
    """Where the current content of an artifact comes from, and how many earlier ones are kept."""

    revision: int
    """The first revision of the artifact with this content."""
    stored_at: str
    """When that revision was made (ISO 8601, UTC)."""
    keep_versions: int | None
    """How many earlier contents are kept for good; None: as many as the store that changes it says."""


class Pending(NamedTuple):
    """A record that becomes an artifact when its bytes have been uploaded."""

    until: str
    """When cleanup may delete it (ISO 8601, UTC)."""
    complete: bool
    """Whether the record already holds all metadata: the first read after the upload then makes the artifact."""
    max_bytes: int | None
    """The longest upload that is accepted, in bytes, or None."""


_TextItem = Literal[
    "artifact_id",
    "session_id",
    "sandbox_id",
    "key",
    "mime",
    "summary",
    "sha256",
    "stored_at",
    "updated_at",
    "storage_provider",
    "session_provider",
]


@without_internal_hints
@attrs.frozen(eq=False, kw_only=True, slots=False, repr=False)
class ArtifactMetadata(Fields):
    """The metadata of an artifact: frozen, and a JSON-serialisable mapping.

    Attributes:
        artifact_id: 32 hexadecimal digits.
        session_id: the session it belongs to.
        sandbox_id: the namespace of that session.
        key: the key of its bytes: ``grid/{sandbox}/{session}/{artifact}``, later contents with ``~{number}``.
        mime: its media type (RFC 9110 section 8.3.1).
        summary: a description for people.
        meta: a JSON object of the caller.
        filename: its name, including folders, or None.
        bytes: length in bytes.
        sha256: SHA-256 of its bytes, 64 hexadecimal digits.
        stored_at: when it was first stored (ISO 8601, UTC).
        updated_at: when it was last changed (ISO 8601, UTC).
        expires_at: when it expires (ISO 8601, UTC), or None for never.
        ttl: its time to live in seconds, or None if it does not expire.
        revision: 1, incremented by every change.
        storage_provider: the provider that holds its bytes.
        session_provider: the provider that holds this record.
        superseded: internal, not in the mapping: earlier bytes that are still kept, oldest first.
        released: internal, not in the mapping: whether it has expired and its bytes were deleted. The record stays
            for a grace period, and methods raise ``ArtifactExpiredError``.
        pending: internal, not in the mapping: the upload that is expected at *key*, or None. Such a record is not an
            artifact yet; its revision is 0.
        origin: internal, not in the mapping: when its content was stored, or None if that was at its first revision.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> metadata = store.metadata(store.store(b"Hello, world!", filename="hello.txt"))
        >>> metadata.bytes, metadata["filename"], dict(metadata)["mime"]
        (13, 'hello.txt', 'text/plain')

    """

    artifact_id: str
    session_id: str
    sandbox_id: str
    key: str
    mime: str
    summary: str
    meta: JsonObject
    filename: str | None
    bytes: int
    sha256: str
    stored_at: str
    updated_at: str
    expires_at: str | None
    ttl: float | None
    revision: int
    storage_provider: str
    session_provider: str
    superseded: tuple[Superseded, ...] = attrs.field(default=(), repr=False, metadata={"internal": True})
    released: bool = attrs.field(default=False, repr=False, metadata={"internal": True})
    pending: Pending | None = attrs.field(default=None, repr=False, metadata={"internal": True})
    origin: Origin | None = attrs.field(default=None, repr=False, metadata={"internal": True})

    if TYPE_CHECKING:  # the type of each item

        @overload
        def __getitem__(self, name: Literal["bytes", "revision"], /) -> int: ...
        @overload
        def __getitem__(self, name: Literal["filename", "expires_at"], /) -> str | None: ...
        @overload
        def __getitem__(self, name: Literal["ttl"], /) -> float | None: ...
        @overload
        def __getitem__(self, name: Literal["meta"], /) -> JsonObject: ...
        @overload
        def __getitem__(self, name: _TextItem, /) -> str: ...
        @overload
        def __getitem__(self, name: str, /) -> Any: ...
        def __getitem__(self, name: str, /) -> Any: ...

    def __repr__(self) -> str:
        """Return what tells artifacts apart: id, filename, length, expiry, type, session and revision."""
        shown = ", ".join(f"{name}={self[name]!r}" for name in _SHOWN)
        return f"{type(self).__name__}({shown})"

    def to_json(self) -> str:
        """Return all fields, including internal ones, as a JSON object, without an *origin* of None."""
        if self.origin is not None:
            return encode(self.__dict__)
        fields = self.__dict__.copy()
        fields.pop("origin", None)
        return encode(fields)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record whose :meth:`to_json` is *text*.

        Raises:
            ValueError: *text* is not a record: a field is missing or invalid, or refers to another artifact.
            TypeError: *text* is not a JSON object, or a field has the wrong type.
            RecursionError: *text* is nested too deep.

        """
        plain = plain_fields(text)
        if plain is not None:
            return cls._of_fields(plain)
        fields = decode(text, strict=False)
        return cls._holding(fields) if is_usual(text, fields) else cls._careful(text)

    @classmethod
    def from_jsons(cls, texts: Sequence[str]) -> list[Self]:
        """Return the record of each text, as :meth:`from_json` does; faster than one by one."""
        restored: list[Self] = []
        for begin in range(0, len(texts), _PORTION):
            some = texts[begin : begin + _PORTION]
            plain = plain_fields_each(some)
            if plain is not None:
                restored += map(cls._of_fields, plain)
                continue
            text = f"[{','.join(some)}]"
            found = decode(text, strict=False)
            if len(found) == len(some) and are_usual(text, found):
                restored += map(cls._holding, found)
            else:
                restored += map(cls.from_json, some)
        return restored

    @classmethod
    def checked(cls, fields: JsonObject) -> Self:
        """Return the record with all these fields, which must be values as JSON decodes to; raises as above."""
        return cls._holding(fields) if is_usual(None, fields) else cls._careful(encode(fields))

    @classmethod
    def _careful(cls, text: str) -> Self:
        fields = cls._known(decode(text))
        _check_record(fields)
        check_text("a record", encode(fields))  # raises for half of a surrogate pair
        return cls._holding(fields)

    @classmethod
    def _holding(cls, fields: JsonObject) -> Self:
        """Return a record that keeps *fields* itself, not a copy."""
        superseded = fields["superseded"]
        if type(superseded) is list:
            fields["superseded"] = tuple(map(Superseded._make, superseded))
        origin = fields.setdefault("origin", None)
        if type(origin) is list:
            fields["origin"] = Origin(*origin)
        return cls._of_fields(fields)

    @classmethod
    def _of_fields(cls, fields: JsonObject) -> Self:
        value = object.__new__(cls)
        object.__setattr__(value, "__dict__", fields)
        return value

    @property
    def due(self) -> str | None:
        """When cleanup must look at this record (ISO 8601, UTC), or None for never."""
        if self.released and self.expires_at is not None:
            return timestamp(min(seconds_of(self.expires_at) + GRACE_SECONDS, LAST_MOMENT))
        if self.pending is None and not self.superseded:
            return self.expires_at
        moments = [earlier.until for earlier in self.superseded if not earlier.kept]
        moments += [] if self.pending is None else [self.pending.until]
        moments += [] if self.expires_at is None else [self.expires_at]
        return min(moments, default=None)

    @property
    def all_bytes(self) -> dict[str, int]:
        """The length in bytes of the content at each key of this artifact, current and superseded."""
        if self.released:
            return {}
        return {earlier.key: earlier.bytes for earlier in self.superseded} | {self.key: self.bytes}

    @property
    def occupied(self) -> int:
        """How many bytes this artifact counts in the usage of its session: those of its content, and of the kept ones.

        Earlier contents that stay only for an hour don't count: replacing a content makes room for the new one at once.
        """
        if self.pending is not None or self.released:
            return 0
        kept = {earlier.key: earlier.bytes for earlier in self.superseded if earlier.kept}
        return sum(kept.values()) + (0 if self.key in kept else self.bytes)


@attrs.frozen(eq=False, kw_only=True, slots=False)
class ArtifactVersion(Fields):
    """One content of an artifact: frozen, and a JSON-serialisable mapping.

    Attributes:
        revision: the first revision of the artifact with this content.
        bytes: its length in bytes.
        sha256: its SHA-256, 64 hexadecimal digits.
        mime: its media type.
        filename: the artifact's filename at the last revision with this content, or None.
        stored_at: when that first revision was made (ISO 8601, UTC).
        current: whether it is the current content.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> (version,) = store.versions(store.store(b"Hello, world!"))
        >>> version.revision, version.bytes, version.current
        (1, 13, True)

    """

    revision: int
    bytes: int
    sha256: str
    mime: str
    filename: str | None
    stored_at: str
    current: bool


@without_internal_hints
@attrs.frozen(eq=False, kw_only=True, slots=False)
class SessionInfo(Fields):
    """The metadata of a session: frozen, and a JSON-serialisable mapping.

    Attributes:
        session_id: the session.
        sandbox_id: its namespace.
        user_id: the user it belongs to, or None.
        created_at: when it began (ISO 8601, UTC).
        expires_at: when it ends (ISO 8601, UTC), or None for never.
        custom_metadata: a JSON object of the caller.
        ttl: internal, not in the mapping: the default time to live of its artifacts in seconds, or None.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> info = store.get_session_info(store.create_session(user_id="alice"))
        >>> info.user_id, info["custom_metadata"]
        ('alice', {})

    """

    session_id: str
    sandbox_id: str
    user_id: str | None
    created_at: str
    expires_at: str | None
    custom_metadata: JsonObject
    ttl: float | None = attrs.field(default=None, repr=False, metadata={"internal": True})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the session whose :meth:`to_json` is *text*; raises as :meth:`ArtifactMetadata.from_json`."""
        return cls.restored(decode(text))

    @classmethod
    def restored(cls, fields: object) -> Self:
        """Return the session with these *fields*, decoded from JSON; raises as :meth:`from_json`."""
        known = cls._known(fields)
        _check_session(known)
        return cls._of(known)


@without_internal_hints
@attrs.frozen(eq=False, kw_only=True, slots=False)
class CleanupReport(Fields):
    """The result of a cleanup: what it deleted.

    Attributes:
        sessions: expired sessions.
        artifacts: expired artifacts.
        orphans: stored objects without a record, and incomplete files left by a crash.
        bytes: the length of all deleted bytes.
        damaged: internal, not in the mapping: records that can't be decoded, which cleanup does not touch.
        orphan_keys: internal, not in the mapping: the keys of the first ten orphans.
        young: internal, not in the mapping: stored objects that an orphan sweep skipped because of their age.
        foreign: internal, not in the mapping: stored objects that an orphan sweep skipped because their keys are not of
            artifacts.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> dict(store.cleanup())
        {'sessions': 0, 'artifacts': 0, 'orphans': 0, 'bytes': 0}

    """

    sessions: int
    artifacts: int
    orphans: int
    bytes: int
    damaged: int = attrs.field(default=0, metadata={"internal": True})
    orphan_keys: tuple[str, ...] = attrs.field(default=(), repr=False, metadata={"internal": True})
    young: int = attrs.field(default=0, repr=False, metadata={"internal": True})
    foreign: int = attrs.field(default=0, repr=False, metadata={"internal": True})


@attrs.frozen(eq=False, kw_only=True, slots=False)
class MigrationReport(Fields):
    """The result of a migration.

    Attributes:
        sessions: the sessions of the source that were looked at.
        artifacts: the artifacts that were copied, or changed in the target.
        bytes: the length of all bytes that were copied.
        present: artifacts that the target already had as they are.
        newer: artifacts that stay as they are, because they were changed in the target.
        expired: artifacts that have expired, which were not copied.
        uploads: pending uploads, which were not copied: their URLs write to the source.
        altered: artifacts that were deleted, or changed more than once, while they were copied.
        damaged: records of the source that can't be decoded; 0 when only some sessions were migrated.
        failed: artifacts and sessions that could not be copied.
        failures: why, by id: for the first hundred of them.

    Example:
        >>> from chuk_artifacts import ArtifactStore, migrate
        >>> source, target = ArtifactStore(sandbox_id="demo"), ArtifactStore(sandbox_id="demo")
        >>> artifact_id = source.store(b"Hello, world!")
        >>> report = migrate(source, target)
        >>> report.artifacts, report.bytes, report.failed
        (1, 13, 0)

    """

    sessions: int
    artifacts: int
    bytes: int
    present: int
    newer: int
    expired: int
    uploads: int
    altered: int
    damaged: int
    failed: int
    failures: dict[str, str]


@attrs.frozen(eq=False, kw_only=True, slots=False)
class ReindexReport(Fields):
    """The result of a reindex: what came back, and what did not.

    Attributes:
        artifacts: records that were added, or replaced because the storage has a later content.
        versions: earlier contents that came back with them.
        sessions: sessions that were added or completed from what the storage keeps of them.
        known: artifacts that the catalog knew, and that stay as they are.
        expired: artifacts that have expired, and were skipped.
        incomplete: artifacts that came back without a part of their name or metadata, because the storage does not
            keep that.
        bytes: the length in bytes of the contents that came back.
        failed: objects that could not be read.
        failures: the reason why, by the key of the object; of at most 100 of them.
        adopted: whether catalog and storage now hold the same identity, so that an orphan sweep may run.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> _ = store.store(b"...")
        >>> report = store.reindex(dry_run=True)
        >>> report.known, report.artifacts
        (1, 0)

    """

    artifacts: int
    versions: int
    sessions: int
    known: int
    expired: int
    incomplete: int
    bytes: int
    failed: int
    failures: dict[str, str]
    adopted: bool


@attrs.frozen(eq=False, kw_only=True, slots=False)
class Usage(Fields):
    """What a session, or a whole sandbox, holds.

    Attributes:
        artifacts: the number of artifacts.
        bytes: the length in bytes of their contents, and of the earlier contents that are kept for good.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> _ = store.store(b"Hello, world!")
        >>> dict(store.usage())
        {'artifacts': 1, 'bytes': 13}

    """

    artifacts: int
    bytes: int


_SHOWN = ("artifact_id", "filename", "bytes", "expires_at", "mime", "session_id", "revision")
_FIRST_FIELDS = 3  # what an earlier version wrote of a superseded content
_LATER_FIELDS = Superseded("", "", 0)[_FIRST_FIELDS:]
_USUAL_TYPES = (str, str, int, bool, int, int, str, str, str, str)
_PORTION = 50  # records that are checked together; if one is unusual, each is checked separately
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch


def _check_record(fields: JsonObject) -> None:
    """Raise ``ValueError`` or ``TypeError`` if *fields* are not those of a record; convert their lists to tuples."""
    fields["superseded"] = tuple(map(_superseded_of, fields["superseded"] or ()))
    if fields["pending"] is not None:
        fields["pending"] = _tuple_of(Pending, fields["pending"])
    if fields["origin"] is not None:
        fields["origin"] = _tuple_of(Origin, fields["origin"])
    _check_types(ArtifactMetadata, fields)
    ids = fields["sandbox_id"], fields["session_id"], fields["artifact_id"]
    contents = (fields["key"], *(earlier.key for earlier in fields["superseded"]))
    if not grid.is_artifact_id(ids[2]) or not _are_own(contents, ids):
        raise ValueError(f"{contents!r:.200} are not all keys of the artifact {ids!r:.200}")
    _check_contents(fields)
    if fields["released"] and fields["expires_at"] is None:
        raise ValueError("released, and does not expire")
    _check_moments_and_sizes(fields)
    _check_ttl(fields["ttl"])
    quotes_in(fields["meta"])


def _are_own(keys: Sequence[str], ids: tuple[str, str, str]) -> bool:
    """Return whether all *keys* are of the artifact with these ids: sandbox, session, artifact."""
    first = grid.beginnings(*ids[:2])[1] + ids[2]
    return all(is_own(key, first) or grid.belongs(key, *ids) for key in keys)


def _superseded_of(values: Any) -> Superseded:
    """Return an item of the superseded contents as a named tuple; raise for one that no version could have written."""
    if type(values) is list and len(values) == _FIRST_FIELDS:
        values = [*values, *_LATER_FIELDS]
    usual = type(values) is list and tuple(map(type, values)) == _USUAL_TYPES
    found: Superseded = Superseded(*values) if usual else _tuple_of(Superseded, values)
    if found.revision == 0 and found[_FIRST_FIELDS:] != _LATER_FIELDS:
        raise ValueError("a superseded content without a revision has more than bytes")
    if found.last < found.revision:
        raise ValueError("the last revision of a superseded content precedes its first")
    return found


def _check_contents(fields: JsonObject) -> None:
    """Check filename, media type and SHA-256 of the current content and of the earlier ones."""
    known = [earlier for earlier in fields["superseded"] if earlier.revision]
    for filename in {fields["filename"], *(earlier.filename for earlier in known)} - {None}:
        check_filename(filename)
    for mime in {fields["mime"], *(earlier.mime for earlier in known)}:
        if "/" not in mime or not mime.isascii() or not mime.replace("\t", " ").isprintable():
            raise ValueError(f"mime can't be {mime!r:.80}")
    expected = [fields["sha256"]] if fields["sha256"] or fields["pending"] is None else []
    for sha256 in (*expected, *(earlier.sha256 for earlier in known)):
        if not _SHA256(sha256):
            raise ValueError(f"sha256 can't be {sha256!r:.80}")


def _check_moments_and_sizes(fields: JsonObject) -> None:
    moments = [fields["stored_at"], fields["updated_at"], fields["expires_at"]]
    sizes = [fields["bytes"], fields["revision"]]
    for earlier in fields["superseded"]:
        moments += (earlier.until, earlier.stored_at if earlier.revision else None)
        sizes += (earlier.bytes, earlier.revision, earlier.last)
    if fields["origin"] is not None:
        moments.append(fields["origin"].stored_at)
        sizes += (fields["origin"].revision, fields["origin"].keep_versions or 0)
    if fields["pending"] is not None:
        moments.append(fields["pending"].until)
        sizes.append(fields["pending"].max_bytes or 0)
    for moment in moments:
        if moment is not None:
            check_moment(moment)
    if min(sizes) < 0 or max(sizes) > LARGEST:
        raise ValueError(f"a size or revision is below 0, or above {LARGEST}")


def _check_session(fields: JsonObject) -> None:
    """Raise ``ValueError`` or ``TypeError`` if *fields* are not those of a session."""
    _check_types(SessionInfo, fields)
    grid.beginnings(fields["sandbox_id"], fields["session_id"])
    check_moment(fields["created_at"])
    if fields["expires_at"] is not None:
        check_moment(fields["expires_at"])
    _check_ttl(fields["ttl"])
    if fields["user_id"] is not None:
        check_text("user_id", fields["user_id"])
    if fields["custom_metadata"]:
        quotes_in(fields["custom_metadata"])
        check_text("custom_metadata", encode(fields["custom_metadata"]))


def _tuple_of(kind: type[Any], values: Any) -> Any:
    """Return a list from JSON as a named tuple."""
    names = kind._fields
    if type(values) is not list or len(values) != len(names):
        raise ValueError(f"no {kind.__name__.lower()} bytes are {values!r:.80}")
    _check_types(kind, dict(zip(names, values, strict=True)))
    return kind(*values)


def _check_types(kind: type, fields: JsonObject) -> None:
    for name, allowed in _types_of(kind).items():
        if type(fields[name]) not in allowed:
            raise TypeError(f"{name} can't be a {type(fields[name]).__name__}")


@functools.cache
def _types_of(kind: type) -> dict[str, set[type]]:
    """Return the allowed types of each field of an attrs class or a named tuple."""
    hints = {field.name: field.type for field in attrs.fields(kind)} if attrs.has(kind) else typing.get_type_hints(kind)
    return {name: set(_alternatives(hint)) for name, hint in hints.items()}


def _alternatives(hint: Any) -> Iterator[type]:
    if isinstance(hint, UnionType):
        for one in typing.get_args(hint):
            yield from _alternatives(one)
    elif hint is float:
        yield from (int, float)
    else:
        yield typing.get_origin(hint) or hint


def _check_ttl(ttl: float | None) -> None:
    if ttl is not None and not 0 <= ttl <= LAST_MOMENT:
        raise ValueError(f"ttl can't be {ttl!r:.40}")

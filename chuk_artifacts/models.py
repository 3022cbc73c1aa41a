"""The values of the public surface: frozen, and mappings of their own fields."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import attrs

GRACE_SECONDS = 3600.0
"""How long superseded bytes and records of expired artifacts are kept: as long as a presigned URL works by default."""

ORPHAN_GRACE_SECONDS = 86400.0
"""How long bytes without a record are kept at least, for an upload that is still under way: a day.

An upload of 100 GB at 200 Mbit/s takes 67 minutes.
"""

_decode_first = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, with offset and microseconds.

    All are of one length and compare as text like the moments they name.
    """
    second, microsecond = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(second)}.{microsecond:06d}+00:00"


@functools.lru_cache(maxsize=16)  # the present second and the one of the expiry are asked for again and again
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def seconds_of(moment: str) -> float:
    """Return an ISO 8601 timestamp with offset as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def is_over(moment: str | None, now: float) -> bool:
    """Say whether *moment* has come by *now* (seconds since the epoch); None never comes.

    Both are compared as texts, rounded alike: what expires at now is over at now.
    """
    if moment is None or moment > _second(int(now) + 2):  # mostly so, and quicker than all digits of now
        return False
    return moment <= timestamp(now)


@functools.cache
def _public(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind) if "internal" not in field.metadata)


@functools.cache
def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {field.name: field.default for field in attrs.fields(kind) if field.default is not attrs.NOTHING}


@functools.cache
def _number(kind: type[Any]) -> int:
    return len(attrs.fields(kind))


def _decode(text: str) -> Any:
    """Return what *text* is, as this library wrote it: JSON without spaces around."""
    value, end = _decode_first(text)
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


class Fields(Mapping[str, Any]):
    """A mapping of the public fields of an attrs class, in their order."""

    def __getitem__(self, name: str) -> Any:
        """Return the value of the field *name*."""
        if name not in _public(type(self)):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the fields."""
        return iter(_public(type(self)))

    def __len__(self) -> int:
        """Count the fields."""
        return len(_public(type(self)))

    def changed(self, **fields: Any) -> Self:
        """Return a copy in which *fields* have other values."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **fields)
        return copy

    def to_json(self) -> str:
        """Return all fields, the internal ones too, as a JSON object."""
        return _encode(self.__dict__)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the value whose :meth:`to_json` is *text*."""
        return cls._of(_decode(text))

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> Self:
        """Return a value with *fields*, and defaults for what an earlier version did not know."""
        if not isinstance(fields, dict):
            raise TypeError("no JSON object")
        value = object.__new__(cls)
        if len(fields) < _number(cls):
            fields = _defaults(cls) | fields
        value.__dict__.update(fields)
        return value


class Superseded(NamedTuple):
    """Bytes that an update took the place of, kept for those who still read them."""

    key: str
    until: str
    bytes: int


class Pending(NamedTuple):
    """What is to become an artifact when its bytes have been uploaded."""

    until: str
    """When cleanup may give it up (ISO 8601, UTC)."""
    registered: bool
    """Whether the record tells all of the artifact already, so that whoever asks for it completes it."""
    max_bytes: int | None
    """The length of the longest upload that is taken, or None."""


@attrs.frozen(eq=False, kw_only=True, slots=False)
class ArtifactMetadata(Fields):
    """What is known of one artifact; frozen, and a JSON-serialisable mapping.

    Attributes:
        artifact_id: 32 hexadecimal digits.
        session_id: the session it belongs to.
        sandbox_id: the namespace of that session.
        key: where its bytes are: ``grid/{sandbox}/{session}/{artifact}``, later contents with ``~{number}``.
        mime: its media type (RFC 9110 section 8.3.1).
        summary: a description for people.
        meta: a JSON object of the user's own.
        filename: its name, folders and all, or None.
        bytes: length in bytes.
        sha256: SHA-256 of its bytes, 64 hexadecimal digits.
        stored_at: when it was first stored (ISO 8601, UTC).
        updated_at: when it was last changed (ISO 8601, UTC).
        expires_at: when it expires (ISO 8601, UTC), or None for never.
        ttl: its time to live in seconds, or None for ever.
        revision: 1, and one more with every change.
        storage_provider: which provider holds its bytes.
        session_provider: which provider holds this record.
        superseded: internal, no item of the mapping: earlier bytes that are still kept, oldest first.
        released: internal, no item of the mapping: whether it is expired and its bytes are removed. The record stays
            for a grace period, in which the answer is "expired" and not "unknown".
        pending: internal, no item of the mapping: an upload that is awaited under *key*, or None. Such a record is no
            artifact yet; its revision is 0.

    """

    artifact_id: str
    session_id: str
    sandbox_id: str
    key: str
    mime: str
    summary: str
    meta: dict[str, Any]
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

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record whose :meth:`to_json` is *text*."""
        return cls._restored(_decode(text))

    @classmethod
    def from_jsons(cls, texts: Sequence[str]) -> list[Self]:
        """Return the record of each text, as :meth:`from_json` does; many are read as one, which is quicker."""
        found = _decode(f"[{','.join(texts)}]")
        if len(found) != len(texts):
            raise ValueError("not one JSON object each")
        return [cls._restored(fields) for fields in found]

    @classmethod
    def _restored(cls, fields: dict[str, Any]) -> Self:
        earlier = fields["superseded"]
        fields["superseded"] = tuple(Superseded(*item) for item in earlier) if earlier else ()
        if fields.get("pending"):
            fields["pending"] = Pending(*fields["pending"])
        return cls._of(fields)

    @property
    def due(self) -> str | None:
        """When cleanup has something to do here (ISO 8601, UTC), or None for never."""
        if self.released and self.expires_at is not None:
            return timestamp(seconds_of(self.expires_at) + GRACE_SECONDS)
        if self.pending is None and not self.superseded:
            return self.expires_at
        first = min(earlier.until for earlier in (self.pending, *self.superseded) if earlier is not None)
        return first if self.expires_at is None else min(first, self.expires_at)

    @property
    def all_bytes(self) -> dict[str, int]:
        """The length in bytes under every key that holds bytes of this artifact: the current one and those before."""
        if self.released:
            return {}
        return {earlier.key: earlier.bytes for earlier in self.superseded} | {self.key: self.bytes}


@attrs.frozen(eq=False, kw_only=True, slots=False)
class SessionInfo(Fields):
    """What is known of one session; frozen, and a JSON-serialisable mapping.

    Attributes:
        session_id: the session.
        sandbox_id: its namespace.
        user_id: whom it belongs to, or None.
        created_at: when it began (ISO 8601, UTC).
        expires_at: when it ends (ISO 8601, UTC), or None for never.
        custom_metadata: a JSON object of the user's own.
        ttl: internal, no item of the mapping: the time to live of artifacts that name none, in seconds, or None.

    """

    session_id: str
    sandbox_id: str
    user_id: str | None
    created_at: str
    expires_at: str | None
    custom_metadata: dict[str, Any]
    ttl: float | None = attrs.field(default=None, repr=False, metadata={"internal": True})


@attrs.frozen(eq=False, kw_only=True, slots=False)
class GridKey(Fields):
    """The parts of a grid key.

    Attributes:
        sandbox_id: the first level under ``grid/``.
        session_id: the second level.
        artifact_id: the third level.
        revision: 1 for the first content, or the number after ``~``; 0 for the key of an upload.

    """

    sandbox_id: str
    session_id: str
    artifact_id: str
    revision: int = 1


@attrs.frozen(eq=False, kw_only=True, slots=False)
class CleanupReport(Fields):
    """What a cleanup removed.

    Attributes:
        sessions: expired sessions.
        artifacts: expired artifacts.
        orphans: stored objects that no record pointed to, and files that a crash left half-written.
        bytes: the length of all bytes removed.
        damaged: internal, no item of the mapping: records that can't be decoded, and were left alone.
        orphan_keys: internal, no item of the mapping: the keys of the first ten orphans.

    """

    sessions: int
    artifacts: int
    orphans: int
    bytes: int
    damaged: int = attrs.field(default=0, metadata={"internal": True})
    orphan_keys: tuple[str, ...] = attrs.field(default=(), repr=False, metadata={"internal": True})

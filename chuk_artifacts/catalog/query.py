"""``Query``: which records a search returns. A catalog may filter more coarsely first; this decides."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from chuk_artifacts.fields import encode
from chuk_artifacts.models import ArtifactMetadata, is_over

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Query:
    """The conditions of a search, all of which a record must meet.

    Attributes:
        prefix: what its filename begins with.
        mime: its media type in lower case, with any parameters; ``image/*``: any of that type; None: any.
        meta: keys of its ``meta`` with their values.
        stored_after: the earliest ``stored_at`` (ISO 8601, UTC), or None.
        stored_before: what ``stored_at`` must precede (ISO 8601, UTC), or None.

    """

    prefix: str = ""
    mime: str | None = None
    meta: Mapping[str, Any] = _NOTHING
    stored_after: str | None = None
    stored_before: str | None = None

    def matches(self, record: ArtifactMetadata, now: float) -> bool:
        """Return whether *record* is an artifact, has not expired, and meets the conditions."""
        return (
            record.pending is None
            and not is_over(record.expires_at, now)
            and (record.filename or "").startswith(self.prefix)
            and (self.stored_after is None or record.stored_at >= self.stored_after)
            and (self.stored_before is None or record.stored_at < self.stored_before)
            and (self.mime is None or self._has_mime(record.mime.lower()))
            and all(name in record.meta and is_equal(record.meta[name], value) for name, value in self.meta.items())
        )

    @property
    def mime_prefix(self) -> str:
        """What the media type begins with, in lower case."""
        return (self.mime or "").removesuffix("*") if self.mime != "*/*" else ""

    @property
    def parts(self) -> list[str]:
        """Texts that the JSON of each matching record contains, because of the strings and constants in *meta*."""
        return [
            f"{encode(name)}:{encode(value)}"
            for name, value in self.meta.items()
            if value is None or isinstance(value, (bool, str))
        ]

    @property
    def lower_part(self) -> str:
        """A text that the JSON of each matching record contains in lower case, because of its media type."""
        prefix = self.mime_prefix
        return f'"mime":"{prefix}' if prefix and not {'"', "\\"} & {*prefix} else ""

    def _has_mime(self, mime: str) -> bool:
        if mime == self.mime:
            return True
        essence = mime.partition(";")[0].rstrip()
        return essence.startswith(self.mime_prefix) if (self.mime or "").endswith("/*") else essence == self.mime


@attrs.frozen
class Found:
    """One page of a search.

    Attributes:
        records: the records.
        after: where the next page begins, to pass to :meth:`Catalog.search`; None after the last page.

    """

    records: list[ArtifactMetadata]
    after: Any


def is_equal(one: object, other: object) -> bool:
    """Return whether two JSON values are equal: numbers by value, objects whatever the sequence of their names."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return one == other

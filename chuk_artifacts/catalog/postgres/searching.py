"""What a search asks PostgreSQL: conditions that every matching record meets, and as few others as possible."""

from __future__ import annotations

from chuk_artifacts.catalog.query import Query
from chuk_artifacts.catalog.records import prefix_end
from chuk_artifacts.fields import encode
from chuk_artifacts.models import timestamp

_EXACT = 2**53  # below, a float and its shortest decimal fraction are equal as numbers


def search_values(query: Query, now: float) -> dict[str, object]:
    """Return the values of a search, except those of its session and its place."""
    prefix = comparable(query.prefix)
    return {
        "prefix": prefix,
        "end": prefix_end(prefix),
        "now": timestamp(now),
        "mime": query.mime_prefix or None,
        "stored_after": query.stored_after,
        "stored_before": query.stored_before,
        "meta": encode({name: value for name, value in query.meta.items() if _is_exact(value) and "\0" not in name}),
        "keys": [name for name in query.meta if "\0" not in name],
    }


def comparable(name: str) -> str:
    """Return a name that filenames are compared with as the server accepts it: no filename has control characters."""
    return name.replace("\0", "\1")


def _is_exact(value: object) -> bool:
    """Return whether jsonb finds every value that is equal to this one."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return abs(value) < _EXACT
    return value is None or isinstance(value, bool)

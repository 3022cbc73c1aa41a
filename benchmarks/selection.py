"""Which rows are meant by a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


class NothingMatchesError(Exception):
    """No row is meant by a pattern."""


def chosen(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that one of the patterns means; without patterns, all.

    A pattern means a name if its parts, between slashes, fit as many parts of the name that stand beside each other:
    ``memory/store/1KiB``, ``store``, ``aio32``, ``*redis/list*``.

    Raises:
        NothingMatchesError: a pattern means none.

    """
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in names):
            raise NothingMatchesError(f"no row matches {pattern!r}: see --list")
    return [name for name in names if not patterns or any(_fits(name, pattern) for pattern in patterns)]


def _fits(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    places = range(len(parts) - len(wanted) + 1)
    return any(all(map(fnmatchcase, parts[place : place + len(wanted)], wanted)) for place in places)

"""Searching artifacts by filename, media type, metadata and time: in one session, or in many."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from chuk_artifacts import arguments
from chuk_artifacts.catalog import Query
from chuk_artifacts.core import Core
from chuk_artifacts.errors import InvalidInputError, shown
from chuk_artifacts.models import ArtifactMetadata, timestamp
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.finding import public
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.walking import pages_of_sessions

_PAGE = 1000
_FIRST_MOMENT = -62135596800  # the beginning of the year 1, the first that ISO 8601 can express here
_MIME_PATTERN = r"\*/\*|[^\s*/;]+/(\*|[^\s*/;]+(\s*;[^*]*)?)"


@attrs.frozen
class Conditions:
    """The checked arguments of a search.

    Attributes:
        query: what a record must meet.
        user_id: the user of its session; None: any.
        most: the maximum number of results; None: all.

    """

    query: Query
    user_id: str | None
    most: int | None

    @classmethod
    def of(cls, core: Core, given: Mapping[str, Any]) -> Conditions:
        """Check the arguments of :meth:`ArtifactStore.search` except the session.

        Raises:
            InvalidInputError: an argument is invalid.

        """
        limits = core.settings.limits
        query = Query(
            prefix=arguments.check_text("prefix", given["prefix"]),
            mime=_check_pattern(given["mime"]),
            meta=limits.check_meta("meta", given["meta"]),
            stored_after=_check_time("stored_after", given["stored_after"]),
            stored_before=_check_time("stored_before", given["stored_before"]),
        )
        return cls(query, limits.check_user_id(given["user_id"]), arguments.check_limit(given["limit"]))


@operation
def search(scope: Scope, session_id: str | None, given: Mapping[str, Any]) -> Iterator[ArtifactMetadata]:
    """Iterate over the artifacts that meet all conditions; see :meth:`ArtifactStore.search`."""
    conditions = Conditions.of(scope.core, given)
    if session_id is None and scope.session_id is None:
        return _found(scope, _sessions(scope, conditions.user_id), conditions)
    return _found(scope, _one_session(scope, scope.session(session_id), conditions.user_id), conditions)


def _found(scope: Scope, portions: Iterable[list[str]], conditions: Conditions) -> Iterator[ArtifactMetadata]:
    left = conditions.most
    for session_ids in portions if left != 0 else ():
        after = None
        while True:
            core = scope.open_core  # the store may have been closed since the last page
            wanted = _PAGE if left is None else min(left, _PAGE)
            page = core.catalog.search(session_ids, conditions.query, after=after, limit=wanted, now=core.clock())
            for record in page.records:
                yield public(core, record)
            after = page.after
            if left is not None:
                left -= len(page.records)
                if left == 0:
                    return
            if after is None:
                break


def _sessions(scope: Scope, user_id: str | None) -> Iterator[list[str]]:
    """Yield the living sessions of a user, or all for None, in portions."""
    return ([info.session_id for info in page] for page in pages_of_sessions(scope, user_id, _PAGE))


def _one_session(scope: Scope, session_id: str, user_id: str | None) -> Iterator[list[str]]:
    """Yield one session, unless it belongs to another user than *user_id*."""
    if user_id is not None:
        core = scope.open_core
        info = core.catalog.get_session(session_id, core.clock())
        if info is None or info.user_id != user_id:
            return
    yield [session_id]


def _check_pattern(mime: object) -> str | None:
    """Return a media type or a pattern such as ``image/*``, in lower case."""
    if mime is None:
        return None
    pattern = arguments.check_text("mime", mime).strip().lower()
    if not pattern.isascii() or re.fullmatch(_MIME_PATTERN, pattern) is None:
        raise InvalidInputError(f"mime must be like image/png or image/*: {shown(mime)}")
    return pattern


def _check_time(name: str, value: Any) -> str | None:
    """Return a time, given as a datetime, as ISO 8601 or in seconds since the epoch, as a timestamp."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(arguments.check_text(name, value))
        except ValueError:
            raise InvalidInputError(f"{name} is not ISO 8601: {shown(value)}") from None
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidInputError(f"{name} has no time zone: add an offset such as +00:00")
        value = value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInputError(f"{name} must be a datetime, ISO 8601 or seconds, not {type(value).__name__}")
    if not _FIRST_MOMENT <= value <= arguments.LAST_MOMENT or not math.isfinite(value):
        raise InvalidInputError(f"{name} is not a time in the years 1 to 9999: {shown(value)}")
    return timestamp(value)

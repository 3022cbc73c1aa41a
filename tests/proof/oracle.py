"""The oracle: what a store must answer, in the simplest way that can be written down.

It keeps everything in dictionaries and shares no code with the library. Times are seconds. Each public method has a
method here, which takes the bound session of the view that was called. Methods that make ids take them from the store.
"""

from __future__ import annotations

import itertools
from typing import Any

import attrs

GRACE, EARLIER, ENDS_SOON = 3600, 16, 300
numbers = itertools.count(1)


class Refused(Exception):  # noqa: N818 - it is an answer
    """The answer is an error of this name."""


@attrs.define(kw_only=True)
class Content:
    """An earlier content; those of one *number* share their bytes."""

    data: bytes
    mime: str
    filename: str | None
    first: int
    last: int
    stored: float
    until: float
    number: int
    kept: bool = False


@attrs.define(kw_only=True)
class Artifact:
    """An artifact, or with *until* an upload that is awaited."""

    id: str
    session: str
    mime: str
    stored: float
    data: bytes = b""
    summary: str = ""
    meta: dict[str, Any] = attrs.field(factory=dict)
    filename: str | None = None
    expires: float | None = None
    ttl: float | None = None
    revision: int = 1
    keep: int | None = None
    first: int = 1
    released: bool = False
    until: float | None = None
    complete: bool = False
    max_bytes: int | None = None
    url_ends: float = 0
    uploaded: bytes | None = None
    earlier: list[Content] = attrs.field(factory=list)
    number: int = attrs.field(factory=lambda: next(numbers))
    since: float = attrs.field(default=attrs.Factory(lambda self: self.stored, takes_self=True))
    updated: float = attrs.field(default=attrs.Factory(lambda self: self.stored, takes_self=True))

    def sizes(self) -> dict[int, int]:
        """Return the length of each content that has bytes, by number."""
        if self.released or self.until is not None:
            return {}
        return {one.number: len(one.data) for one in self.earlier} | {self.number: len(self.data)}

    def due(self) -> float:
        """Return when a cleanup changes it."""
        if self.released:
            return self.expires + GRACE
        moments = [one.until for one in self.earlier if not one.kept]
        return min([*moments, *(x for x in (self.until, self.expires) if x is not None)], default=float("inf"))


@attrs.define
class Session:
    """A session."""

    id: str
    user: str | None
    created: float
    expires: float | None
    ttl: float | None
    meta: dict[str, Any]


class Oracle:
    """What a store of these settings holds and answers."""

    def __init__(self, clock: Any, *, ttl: float, keep: int, most: int, most_in_session: int) -> None:
        self.clock, self.ttl, self.keep = clock, ttl, keep
        self.most, self.most_in_session = most, most_in_session
        self.artifacts: dict[str, Artifact] = {}
        self.sessions: dict[str, Session] = {}

    # What holds at a moment

    def over(self, moment: float | None) -> bool:
        return moment is not None and moment <= self.clock()

    def living(self, session: str) -> Session | None:
        found = self.sessions.get(session)
        return None if found is None or self.over(found.expires) else found

    def in_scope(self, bound: str | None, session: str | None) -> str:
        if session is None and bound is None:
            raise Refused("InvalidInputError")
        if bound is not None and session not in {None, bound}:
            raise Refused("AccessDeniedError")
        return session or bound or ""

    def whole(self, bound: str | None) -> None:
        if bound is not None:
            raise Refused("AccessDeniedError")

    def raw(self, bound: str | None, id: str, *, awaited: bool = False) -> Artifact:
        one = self.artifacts.get(id)
        if one is None or bound not in {None, one.session} or not (one.until is None or one.complete or awaited):
            raise Refused("ArtifactNotFoundError")
        if self.over(one.expires):
            raise Refused("ArtifactExpiredError")
        return one

    def find(self, bound: str | None, id: str) -> Artifact:
        one = self.raw(bound, id)
        if one.until is not None:
            try:
                self.adopt(one, one.ttl)
            except Refused:
                raise Refused("ArtifactNotFoundError") from None
        return one

    def listed(self, session: str, prefix: str = "", limit: int | None = None) -> list[Artifact]:
        found: list[Artifact] = []
        rest = sorted((a.filename or "", a.id) for a in self.artifacts.values() if a.session == session)
        left = [self.artifacts[id] for name, id in rest if name.startswith(prefix)]
        left = [one for one in left if not self.over(one.expires)]
        while left and (limit is None or len(found) < limit):
            size = len(left) if limit is None else limit - len(found)
            page, left = left[:size], left[size:]
            found += [one for one in page if self.is_artifact(one)]
        return found

    def is_artifact(self, one: Artifact) -> bool:
        try:
            self.find(None, one.id)
        except Refused:
            return False
        return True

    def named(self, session: str, filename: str) -> list[Artifact]:
        found = [one for one in self.listed_named(session, filename) if self.is_artifact(one)]
        return sorted(found, key=lambda one: (one.stored, one.id), reverse=True)

    def listed_named(self, session: str, filename: str) -> list[Artifact]:
        ours = [one for one in self.artifacts.values() if (one.session, one.filename) == (session, filename)]
        return [one for one in ours if not self.over(one.expires)]

    def content(self, one: Artifact, revision: int | None) -> Artifact | Content:
        if revision is None or one.first <= revision <= one.revision:
            return one
        for content in one.earlier:
            if content.first <= revision <= content.last and self.readable(content):
                return content
        raise Refused("ArtifactNotFoundError")

    def readable(self, content: Content) -> bool:
        return content.kept or not self.over(content.until)

    # Limits

    def held(self, session: str | None) -> tuple[int, int]:
        ours = [a for a in self.artifacts.values() if session in {None, a.session} and a.sizes()]
        return len(ours), sum(sum(one.sizes().values()) for one in ours)

    def admit(self, session: str, size: int, *, known: bool = True) -> None:
        if not known or size > self.most_in_session - self.held(session)[1]:
            for one in list(self.artifacts.values()):
                if one.session == session and one.due() <= self.clock():
                    self.release(one)
        if size > max(self.most_in_session - self.held(session)[1], 0):
            raise Refused("QuotaExceededError")

    def limit(self, data: bytes, max_bytes: int | None = None) -> None:
        if len(data) > min(self.most, self.most_in_session, self.most if max_bytes is None else max_bytes):
            raise Refused("QuotaExceededError")

    # Changes

    def release(self, one: Artifact) -> tuple[bool, int]:
        """Remove the bytes that are over, and return whether an artifact went, and how many bytes."""
        before = one.sizes()
        if one.released:
            return False, 0
        if one.until is not None:
            one.released, one.expires, one.uploaded, one.revision = True, one.until, None, 1
        elif self.over(one.expires):
            one.released, one.earlier = True, []
            return True, sum(before.values())
        else:
            one.earlier = self.still(one.earlier)
        return False, sum(size for number, size in before.items() if number not in one.sizes())

    def still(self, earlier: list[Content]) -> list[Content]:
        surplus = len(earlier) - EARLIER
        return [c for at, c in enumerate(earlier) if c.kept or (at >= surplus and not self.over(c.until))]

    def add(self, one: Artifact, *, inherits: bool = False, user: str | None = None) -> None:
        now, info = self.clock(), self.living(one.session)
        if info is None:
            info = Session(one.session, None, now, now + self.ttl, self.ttl, {})
        if one.session.startswith("user:"):
            info.user, info.ttl, info.expires = info.user or one.session[5:], None, None
        if inherits:
            one.ttl, one.expires = info.ttl, None if info.ttl is None else now + info.ttl
        info.user = info.user or user
        self.sessions[one.session], self.artifacts[one.id] = info, one
        self.prolong(one)

    def prolong(self, one: Artifact) -> None:
        info = self.sessions.get(one.session)
        if info is not None and info.expires is not None and (one.expires is None or one.expires > info.expires):
            more = info.expires + (info.ttl or 0) / 1000
            info.expires = None if one.expires is None else max(one.expires, more)

    def next(self, one: Artifact, data: bytes | Content | None, keep: int | None = None, **fields: Any) -> Artifact:
        """Make the next revision of an artifact, with other bytes or an earlier content."""
        if keep is not None:
            one.keep = keep
        now, last = self.clock(), one.revision
        if data is not None:
            old = {"data": one.data, "mime": one.mime, "filename": one.filename, "number": one.number}
            one.earlier = [
                *one.earlier,
                Content(**old, first=one.first, last=last, stored=one.since, until=now + GRACE),
            ]
            one.number = data.number if isinstance(data, Content) else next(numbers)
            one.data = data.data if isinstance(data, Content) else data
            one.first, one.since = last + 1, now
        if data is not None or keep is not None:
            number = self.keep if one.keep is None else one.keep
            for at, content in enumerate(reversed(one.earlier)):
                content.kept = at < number
            one.earlier = self.still(one.earlier)
        for name, value in fields.items():
            setattr(one, name, value)
        one.revision, one.updated = last + 1, now
        self.prolong(one)
        return one

    def adopt(self, one: Artifact, ttl: float | None, **fields: Any) -> None:
        """Make an artifact from an upload that has come."""
        if one.uploaded is None:
            raise Refused("ArtifactNotFoundError")
        data, now = one.uploaded, self.clock()
        try:
            self.limit(data, one.max_bytes)
            self.admit(one.session, len(data))
        except Refused:
            one.uploaded = None
            raise
        if one.uploaded is None:  # to make room for it, it was removed itself
            raise Refused("ArtifactNotFoundError")
        one.data, one.until, one.uploaded, one.revision, one.ttl = data, None, None, 1, ttl
        one.stored = one.since = one.updated = now
        one.expires = None if ttl is None else now + ttl
        for name, value in fields.items():
            setattr(one, name, value)
        self.prolong(one)

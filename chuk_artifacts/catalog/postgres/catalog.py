"""Records and sessions in PostgreSQL, shared by any number of processes and machines, durable and transactional.

A change needs to know its session beforehand, for instance for the ttl that records inherit. To save a round trip, this
module caches each session as it last was and sends along what depends on it. The statement changes nothing if the
session differs, and returns it: see :mod:`chuk_artifacts.catalog.postgres.statements`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg.errors import UniqueViolation

from chuk_artifacts import grid
from chuk_artifacts.arguments import LIMITS, Limits
from chuk_artifacts.catalog.contract import NO_USERS, Due, FilenameTakenError, Sessions
from chuk_artifacts.catalog.postgres import statements
from chuk_artifacts.catalog.postgres.client import Row
from chuk_artifacts.catalog.postgres.facts import server_facts
from chuk_artifacts.catalog.postgres.link import Link
from chuk_artifacts.catalog.postgres.searching import comparable, search_values
from chuk_artifacts.catalog.query import Found, Query
from chuk_artifacts.catalog.records import (
    DAMAGE,
    batches,
    counted,
    decode_record,
    decode_records,
    decode_sound,
    decoded,
    place,
    prefix_end,
    salvaged,
)
from chuk_artifacts.catalog.sessions import join_sessions, merged, updated
from chuk_artifacts.errors import GridError, SessionError, session_full
from chuk_artifacts.fields import decode, encode
from chuk_artifacts.instrumentation import looked_up
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, Usage, is_over, timestamp

_PORTION = 500  # rows that one transaction removes, adds or replaces
_READ_AT_ONCE = 1000
_SEARCHED_AT_ONCE = 2000  # records that one call of a search looks at
_LOOKED_AT_AT_ONCE = 1000
_SESSIONS_AT_ONCE = 32  # sessions that a search looks into with one round trip
_REMEMBERED = 10_000  # sessions
_SHORT_METADATA = 1024  # characters; a cached session has no longer custom metadata
_ATTEMPTS = 100
_EVERYTHING = 2**62
_UNKNOWN = "unknown"  # as in the statements


class _Known(NamedTuple):
    """A session as the server last returned it, or as this process last wrote it.

    Attributes:
        info: the session.
        custom_metadata: its custom metadata as they are stored.

    """

    info: SessionInfo
    custom_metadata: str


class PostgresCatalog:
    """A catalog in PostgreSQL; see :class:`chuk_artifacts.catalog.Catalog`.

    Args:
        link: sends statements to the server.
        sandbox_id: the namespace that the catalog is bound to.
        session_ttl: how long a new session lives, in seconds; None means for ever.

    """

    provider = "postgres"
    blocks = True
    returns_live_objects = False
    persistent = True

    def __init__(self, link: Link, sandbox_id: str, session_ttl: float | None) -> None:
        """Connect to nothing yet."""
        self._link = link
        self._sandbox_id = sandbox_id
        self._session_ttl = session_ttl
        self._sessions: dict[str, _Known] = {}
        self._is_indexed: bool | None = None  # whether there is an index of meta; None before the first search

    @property
    def connected(self) -> bool:
        """Whether there may be open connections."""
        return self._link.connected

    def add(
        self,
        records: Sequence[ArtifactMetadata],
        *,
        now: float,
        inheriting: Collection[str] = (),
        user_ids: Mapping[str, str] = NO_USERS,
        exclusive: bool = False,
        max_session_bytes: int | None = None,
    ) -> None:
        """Add new records with their sessions: one statement for each session, in one transaction."""
        by_session: defaultdict[str, list[ArtifactMetadata]] = defaultdict(list)
        for record in records:
            by_session[record.session_id].append(record)
        terms: dict[str, Any] = {
            "now": now,
            "inheriting": inheriting,
            "user_ids": user_ids,
            "session_ttl": self._session_ttl,
        }
        kind = exclusive, max_session_bytes is not None
        adds = [
            _Add(some, self._remembered(name, now), terms, kind=kind, most=max_session_bytes)
            for name, some in sorted(by_session.items())  # in one sequence everywhere, or two adds may wait mutually
        ]
        for _ in range(_ATTEMPTS):
            answers = self._send(adds, alone=any(kind))
            if all(answer[0] for answer in answers):
                for add in adds:
                    self._remember(add.session_id, add.new)
                return
            if any(answer[1] for answer in answers):
                raise FilenameTakenError
            if max_session_bytes is not None and any(answer[2] for answer in answers):
                raise session_full(max_session_bytes)
            for add, (fits, _, _, *info) in zip(adds, answers, strict=True):
                if not fits:
                    add.known = self._known(add.session_id, info)
                    self._remember(add.session_id, add.known)
        raise _gave_up()

    def _send(self, adds: Sequence[_Add], *, alone: bool) -> list[Row]:
        """Add the records as :meth:`_send_once` does, in place of any that another process has merged meanwhile."""
        try:
            return self._send_once(adds, alone=alone, replaces=False)
        except SessionError as error:
            if not isinstance(error.__cause__, UniqueViolation):
                raise
        return self._send_once(adds, alone=alone, replaces=True)

    def _send_once(self, adds: Sequence[_Add], *, alone: bool, replaces: bool) -> list[Row]:
        """Add the records if their sessions are as they are known, all or none; return the answer of each add.

        *alone*: wait for others that need a session alone. *replaces*: remove records of these ids first.
        """
        steps = [add.step() for add in adds]
        if len(adds) == 1 and not (alone or replaces):
            return self._link.change(*steps[0])
        first: list[tuple[str, Mapping[str, object]]]
        first = [(statements.LOCK_SESSION, add.session) for add in adds] if alone else []
        if replaces:
            first += [(statements.REMOVE, {**add.session, "artifact_ids": add.artifact_ids}) for add in adds]
        guards = []  # of a single session, a statement that does not add all records changes nothing
        if len(adds) > 1:
            ids = [artifact_id for add in adds for artifact_id in add.artifact_ids]
            guards = [(statements.ROLL_BACK_UNLESS_ADDED, {"artifact_ids": ids, "count": len(ids)})]
        answers = self._link.change_all([*first, *steps, *guards])
        return [rows[0] for rows in answers[len(first) : len(first) + len(adds)]]

    def merge(self, records: Sequence[ArtifactMetadata], *, now: float, replace_older: bool = False) -> list[bool]:
        """Add missing records, and replace older ones if asked to: a transaction for each portion."""
        written: set[str] = set()
        in_order = sorted(records, key=lambda record: _lock_order(record.artifact_id))
        for some in batches(in_order, _PORTION):
            if replace_older:
                steps = [(statements.REPLACE_OLDER, _replacement(record, 0)) for record in some]
                answers = self._link.change_all(steps)
                written.update(one.artifact_id for one, rows in zip(some, answers, strict=True) if rows[0][0])
            written |= self._merge(some, now)
        return [record.artifact_id in written for record in records]

    def _merge(self, records: Sequence[ArtifactMetadata], now: float) -> set[str]:
        """Add missing records, and return their ids."""
        by_session: defaultdict[str, list[ArtifactMetadata]] = defaultdict(list)
        for record in records:
            by_session[record.session_id].append(record)
        terms: dict[str, Any] = {"now": now, "inheriting": (), "user_ids": NO_USERS, "session_ttl": self._session_ttl}
        left = [
            _Add(some, self._remembered(name, now), terms, kind=statements.MERGING)
            for name, some in sorted(by_session.items())
        ]
        written: set[str] = set()
        for _ in range(_ATTEMPTS):
            answers = [rows[0] for rows in self._link.change_all([add.step() for add in left])]
            outdated = []
            for add, (fits, ids, _, *info) in zip(left, answers, strict=True):
                if fits:
                    written.update((ids or "").split(","))
                    self._remember(add.session_id, add.new)
                else:
                    add.known = self._known(add.session_id, info)
                    self._remember(add.session_id, add.known)
                    outdated.append(add)
            left = outdated
            if not left:
                return written
        raise _gave_up()

    def merge_sessions(self, sessions: Sequence[SessionInfo], *, now: float, prefer_given: bool = False) -> list[bool]:
        """Add missing sessions, and what others lack: a transaction for each portion."""
        changed: set[str] = set()
        for some in batches(sorted(sessions, key=lambda info: info.session_id), _PORTION):
            changed |= self._merge_sessions(some, now, prefer_given)
        return [info.session_id in changed for info in sessions]

    def _merge_sessions(self, sessions: Sequence[SessionInfo], now: float, prefer_given: bool) -> set[str]:  # noqa: FBT001 - a contract's argument, passed on
        """Change sessions that are as they were read; read the others again."""
        left = {info.session_id: info for info in sessions}
        changed: set[str] = set()
        for _ in range(_ATTEMPTS):
            named: dict[str, object] = {"sandbox_id": self._sandbox_id, "session_ids": [*left]}
            rows = self._link.look(statements.SESSIONS_NAMED, named)
            known = {row[0]: self._known(row[0], row[1:]) for row in rows}
            steps = {}
            for name, given in left.items():
                before = known.get(name)
                info = merged(None if before is None else before.info, given, now, prefer_given=prefer_given)
                if info is not None:
                    steps[name] = self._merge_step(info, before, now)
            answers = self._link.change_all([*steps.values()]) if steps else []
            done = {name for name, rows in zip(steps, answers, strict=True) if rows}
            changed |= done
            for name in done:
                self._sessions.pop(name, None)
            left = {name: left[name] for name in steps if name not in done}
            if not left:
                return changed
        raise _gave_up()

    def _merge_step(self, info: SessionInfo, known: _Known | None, now: float) -> tuple[str, dict[str, object]]:
        values = {**self._session(info.session_id), **_info_values(info), "custom_metadata": _text_of(info)}
        if known is None or is_over(known.info.expires_at, now):
            return statements.CREATE_SESSION, {**values, "now": timestamp(now)}
        before = {**_info_values(known.info), "custom_metadata": known.custom_metadata}
        return statements.MERGE_SESSION, {**values, **{f"known_{name}": value for name, value in before.items()}}

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, or None."""
        if len(artifact_ids) == 1:
            return [self._get_one(artifact_ids[0])]
        rows = [
            row
            for some in batches(artifact_ids, _READ_AT_ONCE)
            for row in self._link.look(
                statements.GET_MANY, {"artifact_ids": list(some), "sandbox_id": self._sandbox_id}
            )
        ]
        found = {record.artifact_id: record for record in decoded(rows, self._decode)}
        return [found.get(artifact_id) for artifact_id in artifact_ids]

    def _get_one(self, artifact_id: str) -> ArtifactMetadata | None:
        rows = self._link.look(statements.GET, {"artifact_id": artifact_id, "sandbox_id": self._sandbox_id})
        return decoded((rows[0][0], artifact_id, self._sandbox_id), _decode_one) if rows else None

    def replace(
        self, record: ArtifactMetadata, *, expected_revision: int, max_session_bytes: int | None = None
    ) -> bool:
        """Replace a record if it has the revision."""
        values = _replacement(record, expected_revision)
        if max_session_bytes is None:
            return bool(self._link.change(statements.REPLACE, values)[0][0])
        lock = (statements.LOCK_SESSION, self._session(record.session_id))
        within = (statements.REPLACE_WITHIN, {**values, "most": max_session_bytes})
        _, ((replaced, stored),) = self._link.change_all([lock, within])
        if stored > replaced:
            raise session_full(max_session_bytes)
        return bool(replaced)

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Replace records, each portion in one transaction."""
        replaced: dict[int, bool] = {}
        in_order = sorted(range(len(changes)), key=lambda number: _lock_order(changes[number][0].artifact_id))
        for some in batches(in_order, _PORTION):
            steps = [(statements.REPLACE, _replacement(*changes[number])) for number in some]
            replaced.update(zip(some, (bool(rows[0][0]) for rows in self._link.change_all(steps)), strict=True))
        return [replaced[number] for number in range(len(changes))]

    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records, in portions; skip expired ones that another cleaner has just locked."""
        values: dict[str, object] = {"sandbox_id": self._sandbox_id, "session_id": session_id}
        text = statements.REMOVE
        if expired_at is not None:
            text, values = statements.REMOVE_EXPIRED, {**values, "moment": timestamp(expired_at)}
        removed: list[ArtifactMetadata] = []
        for some in batches(artifact_ids, _PORTION):
            removed += self._removed(self._link.change(text, {**values, "artifact_ids": list(some)}))
        return removed

    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return a page of a session's listing, through the index of places."""
        prefix = comparable(prefix)
        end = prefix_end(prefix)
        values: dict[str, object] = {"prefix": prefix, "now": timestamp(now), "end": end}
        if after is not None:
            values |= {"filename": comparable(after[0]), "artifact_id": comparable(after[1])}
        return self._sound(statements.PAGES[after is not None, end is not None], values, limit, session_id)

    def search(self, session_ids: Sequence[str], query: Query, *, after: Any, limit: int, now: float) -> Found:
        """Return a page of a search; the server returns no record that can't match."""
        found: list[ArtifactMetadata] = []
        (number, start), left = after or (0, None), _SEARCHED_AT_ONCE
        values = search_values(query, now)
        if query.meta and self._is_indexed is None:
            self._is_indexed = bool(self._link.look(statements.HAS_SEARCH_INDEX, {})[0][0])
        while number < len(session_ids) and left > 0:
            some = session_ids[number : number + (1 if start is not None else _SESSIONS_AT_ONCE)]
            wanted = max(min(left, _LOOKED_AT_AT_ONCE) // len(some), 1)
            steps = [self._search_step(one, {**values, "limit": wanted}, start) for one in some]
            for session_id, rows in zip(some, self._link.look_all(steps), strict=True):
                for record in self._matching(rows, session_id):
                    if query.matches(record, now):
                        found.append(record)
                        if len(found) == limit:
                            return Found(found, (number, place(record)))
                left -= len(rows) + 1
                start = (rows[-1][1], rows[-1][0]) if len(rows) == wanted else None
                if start is not None:
                    break  # there is more in this session
                number += 1
        return Found(found, None if number == len(session_ids) else (number, start))

    def _search_step(
        self, session_id: str, values: dict[str, object], start: tuple[str, str] | None
    ) -> tuple[str, dict[str, object]]:
        texts = statements.SEARCHES_BY_META if self._is_indexed and values["meta"] != "{}" else statements.SEARCHES
        text = texts[start is not None, values["end"] is not None]
        behind = {} if start is None else {"filename": start[0], "artifact_id": start[1]}
        return text, {**values, **self._session(session_id), **behind}

    def _matching(self, rows: Sequence[Row], session_id: str) -> list[ArtifactMetadata]:
        matching = [row for row in rows if row[-1] is not None]
        return decode_sound(matching, lambda some: self._decode(some, session_id), _id_of)[0]

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the records with a filename, through the index of places."""
        values = {"filename": comparable(filename), "now": timestamp(now)}
        return self._sound(statements.NAMED, values, _EVERYTHING, session_id)

    def _sound(
        self, text: str, values: Mapping[str, object], limit: int, session_id: str | None
    ) -> list[ArtifactMetadata]:
        """Return as many records as *limit*, past those that can't be decoded."""

        def decode_some(rows: Sequence[Row]) -> list[ArtifactMetadata]:
            return self._decode(rows, session_id)

        wanted = limit
        while True:
            rows = self._link.look(text, {**values, **self._session(session_id), "limit": wanted})
            records, damaged = decode_sound(rows, decode_some, _id_of)
            if not damaged or len(rows) < wanted or len(records) >= limit:
                return records[:limit]
            wanted += 2 * len(damaged)

    def has_named(self, session_id: str, filename: str, now: float) -> bool | None:
        """Return whether there is an artifact with a filename, from the index and the columns."""
        values = {**self._session(session_id), "filename": comparable(filename), "now": timestamp(now)}
        ((latest,),) = self._link.look(statements.HAS_NAMED, values)
        return False if latest is None else latest > 0 or None

    def named_each(self, session_id: str, filenames: Sequence[str], now: float) -> list[list[ArtifactMetadata]]:
        """Return the records with each filename, through the index of places."""
        found: dict[str, list[ArtifactMetadata]] = {filename: [] for filename in filenames}
        for some in batches(list(found), _READ_AT_ONCE):
            values = {"filenames": list(map(comparable, some)), "now": timestamp(now)}
            for record in self._sound(statements.NAMED_ANY, values, _EVERYTHING, session_id):
                if record.filename is not None and record.filename in found:
                    found[record.filename].append(record)
        return [found[filename] for filename in filenames]

    def due(self, now: float, limit: int, after: Any = None) -> Due:
        """Return a page of the records that cleanup must look at; *after* is a due time and an id."""
        values: dict[str, object] = {"sandbox_id": self._sandbox_id, "now": timestamp(now), "limit": limit}
        if after is not None:
            values |= {"due": after[0], "artifact_id": after[1]}
        rows = self._link.look(statements.DUE[after is not None], values)
        records, damaged = decode_sound(rows, self._decode, _id_of)
        behind = (rows[-1][1], rows[-1][0]) if len(rows) == limit else None
        return Due(records, list(map(_id_of, damaged)), behind)

    def create_session(self, info: SessionInfo) -> bool:
        """Add a session, unless there is a living one."""
        text = _text_of(info)
        values = {**self._session(info.session_id), **_info_values(info), "custom_metadata": text}
        if not self._link.change(statements.CREATE_SESSION, {**values, "now": info.created_at}):
            return False
        self._remember(info.session_id, _Known(info, text))
        return True

    def sessions(self, now: float, limit: int, *, user_id: str | None = None, after: Any = None) -> Sessions:
        """Return a page of sessions, sorted by id, through the index of users for those of one."""
        values = {"sandbox_id": self._sandbox_id, "now": timestamp(now), "limit": limit, "after": after or ""}
        values["user_id"] = _stored_user(user_id)
        rows = self._link.look(statements.SESSIONS[user_id is not None], values)
        found, _ = decode_sound(rows, lambda some: [self._session_of(row) for row in some], _id_of)
        return Sessions(found, rows[-1][0] if len(rows) == limit else None)

    def _session_of(self, row: Row) -> SessionInfo:
        return _decode_session((row[0], self._sandbox_id, *row[1:]))

    def forget_user(self, user_id: str) -> None:
        """Do nothing: the index of users changes with the sessions."""

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        known = self._read_session(session_id)
        return None if known is None or is_over(known.info.expires_at, now) else known.info

    def _read_session(self, session_id: str) -> _Known | None:
        rows = self._link.look(statements.GET_SESSION, self._session(session_id))
        known = self._known(session_id, rows[0]) if rows else None
        self._remember(session_id, known)
        return known

    def update_session(
        self,
        session_id: str,
        now: float,
        *,
        custom_metadata: Mapping[str, object] | None = None,
        extend: float = 0,
        limits: Limits = LIMITS,
    ) -> SessionInfo | None:
        """Change a session if it is still as it is known; otherwise take the stored one and try again."""
        known = self._remembered(session_id, now) or self._read_session(session_id)
        for _ in range(_ATTEMPTS):
            if known is None or is_over(known.info.expires_at, now):
                return None
            info = updated(known.info, custom_metadata, extend, limits)
            text = known.custom_metadata if custom_metadata is None else _text_of(info)
            values = {
                **self._session(session_id),
                **_info_values(info),
                "custom_metadata": text,
                "known_expires_at": known.info.expires_at,
                "known_custom_metadata": known.custom_metadata,
                "known_ttl": known.info.ttl,
            }
            ((changed, *stored),) = self._link.change(statements.UPDATE_SESSION, values)
            known = _Known(info, text) if changed else self._known(session_id, stored)
            self._remember(session_id, known)
            if changed:
                return info
        raise SessionError(f"gave up after {_ATTEMPTS} attempts: other writers keep changing session {session_id!r}")

    def remove_session(self, session_id: str, now: float, limit: int) -> list[ArtifactMetadata] | None:
        """Remove a portion of a session's records, and with the last portion the session."""
        self._sessions.pop(session_id, None)
        removed: list[ArtifactMetadata] = []
        while len(removed) < limit:
            wanted = min(limit - len(removed), _PORTION)
            values = {**self._session(session_id), "now": timestamp(now), "limit": wanted}
            there, rows, gone = self._link.change_all(
                [
                    (statements.LOCK_LIVING_SESSION, values),
                    (statements.REMOVE_OF_SESSION, values),
                    (statements.REMOVE_EMPTY_SESSION, values),
                ]
            )
            if not there:
                return removed or None  # there is none, or another caller removed the rest
            removed += self._removed(rows)
            if gone[0][0]:
                break
        return removed

    def expire_sessions(
        self, now: float, *, dry_run: bool = False, gone: Callable[[Sequence[str]], None] | None = None
    ) -> int:
        """Remove the expired sessions, through their index, in portions that cleaners share."""
        values = {"sandbox_id": self._sandbox_id, "now": timestamp(now), "limit": _PORTION}
        if dry_run:
            return int(self._link.look(statements.COUNT_EXPIRED_SESSIONS, values)[0][0])
        expired = 0
        while rows := self._link.change(statements.EXPIRE_SESSIONS, values):
            expired += len(rows)
            if gone is not None:
                gone(list(map(_id_of, rows)))
        return expired

    def stats(self, now: float) -> dict[str, int]:
        """Count sessions, artifacts and their bytes."""
        ((*counts,),) = self._link.look(statements.STATS, {"sandbox_id": self._sandbox_id, "now": timestamp(now)})
        return dict(zip(("sessions", "artifacts", "bytes"), map(int, counts), strict=True))

    def usage(self, session_id: str | None) -> Usage:
        """Sum the counters of a session, or of all sessions."""
        ((files, size),) = self._link.look(statements.USAGE[session_id is not None], self._session(session_id))
        return Usage(artifacts=files, bytes=size)

    def recount(self) -> None:
        """Correct all counters by what they differ from the records, with one statement."""
        self._link.change(statements.RECOUNT, {"sandbox_id": self._sandbox_id})

    def identity(self, create: str | None = None) -> str | None:
        """Return the identity of the catalog in the sandbox."""
        values = {"sandbox_id": self._sandbox_id, "identity": create}
        rows = self._link.look(statements.GET_IDENTITY, values)
        while not rows and create is not None:  # a row that another process has just added is not visible at once
            rows = self._link.change(statements.MAKE_IDENTITY, values)
        return rows[0][0] if rows else None

    def sample(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return some living records."""
        found = self._sound(statements.SAMPLE, {"now": timestamp(now)}, limit, None)
        return [record for record in found if record.pending is None]

    def verify(self) -> int:
        """Count the damaged records, in portions."""
        damaged = 0
        behind = {"session_id": "", "filename": "", "artifact_id": ""}
        while rows := self._link.look(
            statements.VERIFY, {**behind, "sandbox_id": self._sandbox_id, "limit": _READ_AT_ONCE}
        ):
            damaged += sum(map(self._is_damaged, rows))
            behind = {"artifact_id": rows[-1][0], "session_id": rows[-1][1], "filename": rows[-1][3]}
        return damaged

    def check(self) -> dict[str, str]:
        """Write a few KiB and remove them, and return facts about the server."""
        return server_facts(self._link, self._sandbox_id)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def _session(self, session_id: str | None) -> dict[str, object]:
        return {"sandbox_id": self._sandbox_id, "session_id": session_id}

    def _known(self, session_id: str, row: Sequence[Any]) -> _Known | None:
        """Return a session from the columns that a statement returned, or None if they are empty."""
        if row[1] is None:
            return None
        return _Known(decoded((session_id, self._sandbox_id, *row), _decode_session), row[3])

    def _remembered(self, session_id: str, now: float) -> _Known | None:
        known = self._sessions.get(session_id)
        if known is not None and is_over(known.info.expires_at, now):
            known = None
        looked_up(cached=known is not None)
        return known

    def _remember(self, session_id: str, known: _Known | None) -> None:
        if known is None or len(known.custom_metadata) > _SHORT_METADATA:
            self._sessions.pop(session_id, None)
            return
        if len(self._sessions) >= _REMEMBERED:
            self._sessions.clear()
        self._sessions[session_id] = known

    def _decode(self, rows: Sequence[Row], session_id: str | None = None) -> list[ArtifactMetadata]:
        """Decode rows that begin with the id and end with the record."""
        return decode_records([row[-1] for row in rows], [row[0] for row in rows], self._sandbox_id, session_id)

    def _removed(self, rows: Sequence[Row]) -> list[ArtifactMetadata]:
        """Return the records of removed rows; salvage damaged ones."""
        records, damaged = decode_sound(rows, self._decode, _id_of)
        for artifact_id, session_id, filename, size, revision, expires_at, _ in damaged:
            try:
                records.append(
                    salvaged(
                        self._sandbox_id,
                        session_id,
                        artifact_id,
                        provider=self.provider,
                        filename=filename or None,
                        bytes=size,
                        revision=revision,
                        expires_at=expires_at,
                    )
                )
            except GridError:  # the session id is damaged too; an orphan sweep finds the bytes
                _log.warning("removed the record of %s without its bytes: its session is damaged", artifact_id)
        return records

    def _is_damaged(self, row: Row) -> bool:
        """Return whether a row can't be decoded, or its columns differ from its record."""
        try:
            record = decode_record(row[-1], row[0], self._sandbox_id)
            stored = dict(zip(statements.FILED[:-1], row[:-1], strict=True))
            expected = {**_columns(record), **self._session(record.session_id)}
            if record.released:  # its due time depends on the version that wrote it
                stored["due"] = expected["due"]
            return stored != expected or row[0][:8] != grid.slot_tag(self._sandbox_id, record.session_id)
        except DAMAGE:
            return True


class _Add:
    """The records that are added to one session, and what is known of it.

    Attributes:
        known: the session as it is known; None without one.
        new: the session as it will be, after :meth:`step`.
        session: the values that name the session.
        artifact_ids: the ids of the records.

    """

    def __init__(
        self,
        records: Sequence[ArtifactMetadata],
        known: _Known | None,
        terms: Mapping[str, Any],
        *,
        kind: tuple[bool, bool] | None,
        most: int | None = None,
    ) -> None:
        """Keep the arguments; *terms* are those of :func:`join_sessions`, *kind* selects the statement."""
        self.session_id = records[0].session_id
        self.known = known
        self.new: _Known | None = known
        self.session = {"sandbox_id": records[0].sandbox_id, "session_id": self.session_id}
        self.artifact_ids = [record.artifact_id for record in records]
        self._records = records
        self._now: float = terms["now"]
        self._terms = terms
        self._kind = kind
        self._most = most

    def step(self) -> tuple[str, dict[str, object]]:
        """Return the statement that adds the records if the session is as it is known, and its values."""
        known = self.known
        before = None if known is None else known.info
        records, infos = join_sessions(self._records, lambda _: before, **self._terms)
        info = infos.get(self.session_id)
        values: dict[str, object] = {
            **self.session,
            "now": timestamp(self._now),
            "rows": encode(list(map(_row, records))),
        }
        if self._most is not None:
            values |= {"more": sum(counted(record)[1] for record in records), "most": self._most}
        if self._kind and self._kind[0]:
            values["filenames"] = [record.filename for record in records if record.filename is not None]
        if info is None:
            self.new = known
            return statements.ADD_TO_SESSION[self._kind], {**values, **self._kept(records, known)}
        values |= _info_values(info)
        if known is None or before is None or is_over(before.expires_at, self._now):
            self.new = _Known(info, _text_of(info))
            return statements.ADD_WITH_SESSION[self._kind], {**values, "custom_metadata": self.new.custom_metadata}
        self.new = _Known(info, known.custom_metadata)
        values |= {
            "known_user_id": _stored_user(before.user_id),
            "known_expires_at": before.expires_at,
            "known_ttl": before.ttl,
        }
        return statements.ADD_AND_PROLONG[self._kind], values

    def _kept(self, records: Sequence[ArtifactMetadata], known: _Known | None) -> dict[str, object]:
        """Return what a session must be for records to be added without a change of it."""
        ends = [record.expires_at for record in records]
        inherits = any(record.artifact_id in self._terms["inheriting"] for record in records)
        return {
            "needed": None if None in ends else max(end for end in ends if end is not None),
            "ttl": None if known is None else known.info.ttl,
            "inherits": inherits,
            "user_id": self._terms["user_ids"].get(self.session_id),
        }


def _gave_up() -> SessionError:
    return SessionError(f"gave up after {_ATTEMPTS} attempts: other writers keep changing the sessions")


def _row(record: ArtifactMetadata) -> dict[str, object]:
    """Return what is stored of a record, except its session.

    Its *meta* is apart too: to find it in the record would take the server as long as all else. It is a string if it
    may hold U+0000, which jsonb can't.
    """
    text = record.to_json()
    return {**_columns(record), "record": text, "meta": _UNKNOWN if "\\u0000" in text else record.meta}


def _columns(record: ArtifactMetadata) -> dict[str, object]:
    """Return the columns that repeat a record, except those of its session."""
    files, occupied = counted(record)
    return {
        "artifact_id": record.artifact_id,
        "filename": place(record)[0],
        "mime": record.mime,
        "stored_at": record.stored_at,
        "bytes": record.bytes,
        "revision": record.revision,
        "expires_at": record.expires_at,
        "due": record.due,
        "files": files,
        "occupied": occupied,
    }


def _lock_order(artifact_id: str) -> tuple[str, int, str]:
    """Return where a record is among those that a transaction changes, the same everywhere: see :data:`REMOVE`."""
    return artifact_id[:8], ord(artifact_id[-1]) % 4, artifact_id


def _replacement(record: ArtifactMetadata, expected_revision: int) -> dict[str, object]:
    row = _row(record)
    return {
        **row,
        "meta": encode(row["meta"]),
        "sandbox_id": record.sandbox_id,
        "session_id": record.session_id,
        "expected_revision": expected_revision,
    }


def _info_values(info: SessionInfo) -> dict[str, object]:
    return {
        "user_id": _stored_user(info.user_id),
        "created_at": info.created_at,
        "expires_at": info.expires_at,
        "ttl": info.ttl,
    }


def _stored_user(user_id: str | None) -> str | None:
    """Return a user id as it is stored: PostgreSQL's texts can't hold U+0000."""
    if user_id is None or not ("\\" in user_id or "\0" in user_id):
        return user_id
    return user_id.replace("\\", "\\\\").replace("\0", "\\0")


def _user_of(stored: str | None) -> str | None:
    if stored is None or "\\" not in stored:
        return stored
    return "\\".join(part.replace("\\0", "\0") for part in stored.split("\\\\"))


def _text_of(info: SessionInfo) -> str:
    return encode(info.custom_metadata)


def _decode_session(stored: tuple[Any, ...]) -> SessionInfo:
    session_id, sandbox_id, user_id, created_at, expires_at, custom_metadata, ttl = stored
    return SessionInfo.restored(
        {
            "session_id": session_id,
            "sandbox_id": sandbox_id,
            "user_id": _user_of(user_id),
            "created_at": created_at,
            "expires_at": expires_at,
            "custom_metadata": decode(custom_metadata),
            "ttl": ttl,
        }
    )


def _decode_one(stored: tuple[str, str, str]) -> ArtifactMetadata:
    return decode_record(*stored)


def _id_of(row: Row) -> str:
    return str(row[0])

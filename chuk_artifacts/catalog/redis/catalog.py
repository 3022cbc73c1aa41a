"""Records and sessions in Redis, shared by any number of processes and machines.

Each change is one script that the server runs atomically: see :mod:`chuk_artifacts.catalog.redis.scripts`, which also
describes the keys. A change needs to know its session beforehand, for instance for the ttl that records inherit. To
save a round trip, this module caches each session as it last was and sends it along. The script compares it with the
stored one; if they differ, the script changes nothing and returns the stored one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import attrs

from chuk_artifacts import grid
from chuk_artifacts.arguments import LIMITS, Limits
from chuk_artifacts.catalog.contract import NO_USERS, Due, FilenameTakenError, Sessions
from chuk_artifacts.catalog.query import Found, Query
from chuk_artifacts.catalog.records import (
    DAMAGE,
    batches,
    counted,
    decode_record,
    decode_records,
    decode_session,
    decode_sound,
    decoded,
    has_artifact,
    place,
    prefix_end,
    salvaged,
)
from chuk_artifacts.catalog.redis import scripts
from chuk_artifacts.catalog.redis.facts import server_facts
from chuk_artifacts.catalog.redis.link import Answer, Link
from chuk_artifacts.catalog.redis.url import open_link
from chuk_artifacts.catalog.sessions import join_sessions, merged, updated
from chuk_artifacts.errors import OutcomeUnknownError, QuotaExceededError, SessionError, session_full
from chuk_artifacts.instrumentation import looked_up
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, Usage, is_over, seconds_of, timestamp
from chuk_artifacts.settings import RedisUrl, Settings

if TYPE_CHECKING:
    import redis

T = TypeVar("T")

KEPT_SECONDS = 7 * 86400.0
"""How long after its end Redis keeps a record if no cleanup removes it, in seconds.

Until then a cleanup finds the bytes that the record points to; afterwards only an orphan sweep finds them.
"""

_TAG_DIGITS = 2
"""How many digits of an id are the hash tag of its keys.

Sessions with the same tag share an index of due records, so that a cleanup reads at most 256 indexes.
"""

_ADDS_FOR_FORGETTING = 16
_BATCH = 1000  # keys in one command, or entries that it reads
_MERGED_AT_ONCE = 100  # records or sessions; takes a server about 3 ms
_REPLACED_AT_ONCE = 100  # takes a server about 3 ms, while all other clients wait
_NAMED_AT_ONCE = 500  # filenames to look up, mostly of one record each; takes a server about 3 ms
_FILED_AT_ONCE = 500  # records to remove or verify, each with two index entries; takes a server about 6 ms
_SESSION_AT_ONCE = 250  # records that one script removes with their session; takes a server about 3 ms
_ANSWER_KEPT_SECONDS = 60  # how long the server can repeat its answer to a removal
_COUNTED_AT_ONCE = 100  # sessions, most of a few records; takes a server about 3 ms
_SEARCHED_AT_ONCE = 500  # records; takes a server about 5 ms
_LARGEST = 1e300  # numbers in a query that a server compares
_REMEMBERED = 10_000  # sessions
_MOST_PORTIONS = 10_000  # of a session that is counted: 10 million records
_UNINDEXED_AFTER_SECONDS = 86400.0  # in a Cluster, an entry may be there before its session
_PATIENCE_SECONDS = 60.0  # a call does not take so long
_SHOWN = 200  # characters of a damaged name
_NEVER = "+inf"
_EXCLUSIVE, _MERGE, _MERGE_NEWER = "exclusive", "merge", "merge newer"  # modes of an add
_TAKEN, _FULL = 1, 2  # answers of scripts that have changed nothing; another one: count first
_GONE = b"1"  # the session was removed with the last of its records
_NULS = 6  # separators in the line of a record
_UNKNOWN = "unknown"  # the session of a damaged record whose own is lost; the key built with it names no bytes


class _Session(NamedTuple):
    """A session as the server last returned it, or as this process last wrote it."""

    info: SessionInfo
    text: str

    @classmethod
    def of(cls, info: SessionInfo, before: Self | None) -> Self:
        """Return a session that this process writes; *before* is what it was."""
        if before is not None and info.changed(expires_at=before.info.expires_at).__dict__ == before.info.__dict__:
            return cls(info, before.text)
        return cls(info, info.changed(expires_at=None).to_json())

    @classmethod
    def stored(cls, session_id: str, sandbox_id: str, text: bytes, expires_at: bytes) -> Self | None:
        """Return a session from the fields that the server returned, or None if they are empty."""
        return cls(*decoded((session_id, sandbox_id, text, expires_at), _decode_session)) if text else None


@attrs.define
class _Removal:
    """The removal of a session in progress.

    Attributes:
        tokens: the tokens of the scripts of a call that has not returned yet, or has failed.
        returned: the tokens of the call before it, whose answers the server can drop.

    """

    tokens: list[str] = attrs.field(factory=list)
    returned: list[str] = attrs.field(factory=list)


class _SessionExistsError(Exception):
    """There is a living session of that id."""


class RedisCatalog:
    """A catalog in Redis; see :class:`chuk_artifacts.catalog.Catalog`.

    Args:
        link: sends commands to the server.
        sandbox_id: the namespace that the catalog is bound to.
        session_ttl: how long a new session lives, in seconds; None means for ever.

    """

    provider = "redis"
    blocks = True
    returns_live_objects = False
    persistent = True

    def __init__(self, link: Link, sandbox_id: str, session_ttl: float | None) -> None:
        """Connect to nothing yet."""
        self._link = link
        self._sandbox_id = sandbox_id
        self._session_ttl = session_ttl
        self._sessions: dict[str, _Session] = {}
        self._adds = 0
        self._roots = [self._root(f"{tag:0{_TAG_DIGITS}x}") for tag in range(16**_TAG_DIGITS)]
        self._removals: dict[str, _Removal] = {}  # by session

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
        """Add new records with their sessions; in a Cluster, with one script for each hash tag."""
        added: list[str] = []
        terms: dict[str, Any] = {
            "now": now,
            "inheriting": inheriting,
            "user_ids": user_ids,
            "session_ttl": self._session_ttl,
        }
        try:
            for some in self._by_node(records, lambda record: record.artifact_id):
                joined = functools.partial(join_sessions, some, **terms)
                sessions = {record.session_id for record in some}
                self._add(sessions, joined, now, mode=_EXCLUSIVE if exclusive else "", most=max_session_bytes)
                added += [record.artifact_id for record in some]
        except (SessionError, FilenameTakenError, QuotaExceededError):
            self._take_back(added)
            raise
        except BaseException:  # an interrupt, perhaps after some of them were added
            if self._link.spread:
                with contextlib.suppress(SessionError):
                    self.remove([record.artifact_id for record in records])
            raise

    def merge(self, records: Sequence[ArtifactMetadata], *, now: float, replace_older: bool = False) -> list[bool]:
        """Add missing records, and replace older ones if asked to; in a Cluster, with scripts for each hash tag."""
        terms: dict[str, Any] = {"now": now, "inheriting": (), "user_ids": NO_USERS, "session_ttl": self._session_ttl}
        written: dict[str, bool] = {}
        for portion in self._by_node(records, lambda record: record.artifact_id):
            for some in batches(portion, _MERGED_AT_ONCE):
                joined = functools.partial(join_sessions, some, **terms)
                sessions = {record.session_id: None for record in some}
                mode = _MERGE_NEWER if replace_older else _MERGE
                answers = self._add([*sessions], joined, now, mode=mode, mark=os.urandom(8).hex())
                in_sequence = [one for session_id in sessions for one in some if one.session_id == session_id]
                written.update(zip((one.artifact_id for one in in_sequence), map(bool, answers), strict=True))
        return [written[record.artifact_id] for record in records]

    def merge_sessions(self, sessions: Sequence[SessionInfo], *, now: float, prefer_given: bool = False) -> list[bool]:
        """Add missing sessions, and what others lack; in a Cluster, with scripts for each hash tag."""
        changed: set[str] = set()
        for portion in self._by_node(sessions, lambda info: self._tag(info.session_id)):
            for some in batches(portion, _MERGED_AT_ONCE):
                changed |= self._merge_sessions({info.session_id: info for info in some}, now, prefer_given)
        return [info.session_id in changed for info in sessions]

    def _merge_sessions(self, given: Mapping[str, SessionInfo], now: float, prefer_given: bool) -> set[str]:  # noqa: FBT001 - a contract's argument, passed on
        changed: set[str] = set()

        def joined(
            known: Callable[[str], SessionInfo | None],
        ) -> tuple[list[ArtifactMetadata], dict[str, SessionInfo]]:
            infos = {name: merged(known(name), info, now, prefer_given=prefer_given) for name, info in given.items()}
            written = {name: info for name, info in infos.items() if info is not None}
            changed.clear()
            changed.update(written)
            return [], written

        self._add([*given], joined, now)
        return changed

    def get(self, artifact_ids: Sequence[str]) -> list[ArtifactMetadata | None]:
        """Return the record of each id, or None."""
        if len(artifact_ids) == 1:
            value = self._link.read("GET", self._record_key(artifact_ids[0]))
            return [None if value is None else self._record_of(artifact_ids[0], value)]
        found: dict[str, ArtifactMetadata] = {}
        for some in self._by_node(artifact_ids, str):
            values = self._link.read("MGET", *map(self._record_key, some))
            found.update(
                (name, self._record_of(name, value))
                for name, value in zip(some, values, strict=True)
                if value is not None
            )
        return [found.get(artifact_id) for artifact_id in artifact_ids]

    def replace(
        self, record: ArtifactMetadata, *, expected_revision: int, max_session_bytes: int | None = None
    ) -> bool:
        """Replace a record if it has the revision."""
        return self._replace([(record, expected_revision)], max_session_bytes)[0]

    def replace_each(self, changes: Sequence[tuple[ArtifactMetadata, int]]) -> list[bool]:
        """Replace records, many with one script; in a Cluster, with separate scripts for each hash tag."""
        replaced: dict[int, bool] = {}
        for portion in self._by_node(range(len(changes)), lambda number: changes[number][0].artifact_id):
            for numbers in batches(portion, _REPLACED_AT_ONCE):
                answers = self._replace([changes[number] for number in numbers])
                replaced.update(zip(numbers, answers, strict=True))
        return [replaced[number] for number in range(len(changes))]

    def remove(
        self, artifact_ids: Sequence[str], *, session_id: str | None = None, expired_at: float | None = None
    ) -> list[ArtifactMetadata]:
        """Remove records, in portions, so that other clients need not wait for all of them."""
        conditions = session_id or "", "" if expired_at is None else timestamp(expired_at)
        removed: list[ArtifactMetadata] = []
        for portion in self._by_node(artifact_ids, str):
            for some in batches(portion, _FILED_AT_ONCE):
                values, damaged = self._remove(some, *conditions)
                sound, undecoded = self._sound(values)
                removed += sound
                removed += [self._salvaged(value, "", _name(value)) for value in undecoded]
                removed += filter(None, (self._remove_damaged(name.decode(), *conditions) for name in damaged))
        return removed

    def page(
        self, session_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int, now: float
    ) -> list[ArtifactMetadata]:
        """Return a page of a session's listing."""
        end = prefix_end(prefix)
        last = "+" if end is None else f"({end}"
        return self._between(session_id, f"[{prefix}" if after is None else f"({_joined(after)}", last, limit, now)

    def search(self, session_ids: Sequence[str], query: Query, *, after: Any, limit: int, now: float) -> Found:
        """Return a page of a search; a script looks into the records, and returns those that may match."""
        number, first = after or (0, "")
        some = session_ids[number : number + (1 if self._link.spread else _BATCH)]
        if not some:
            return Found([], None)
        end = prefix_end(query.prefix)
        located = [(self._session_root(session_id), session_id) for session_id in some]
        values, done, first = self._link.look(
            scripts.SEARCH,
            [f"{root}index/{session_id}" for root, session_id in located],
            timestamp(now),
            _search_arguments(query),
            limit,
            _SEARCHED_AT_ONCE,
            first,
            f"[{query.prefix}",
            "+" if end is None else f"({end}",
            *itertools.chain.from_iterable(located),
        )
        number += done
        names = {*some}
        found = [one for one in self._sound(values)[0] if one.session_id in names and query.matches(one, now)]
        return Found(found, None if number == len(session_ids) else (number, first))

    def named(self, session_id: str, filename: str, now: float) -> list[ArtifactMetadata]:
        """Return the records with a filename: those whose places begin with it and a NUL."""
        return self._between(session_id, f"[{filename}\0", f"({filename}\1", None, now)

    def has_named(self, session_id: str, filename: str, now: float) -> bool | None:
        """Return whether there is an artifact with a filename."""
        return has_artifact(self.named(session_id, filename, now))

    def named_each(self, session_id: str, filenames: Sequence[str], now: float) -> list[list[ArtifactMetadata]]:
        """Return the records with each filename, of many filenames with one script."""
        root = self._session_root(session_id)
        found: dict[str, list[ArtifactMetadata]] = {filename: [] for filename in filenames}
        left = list(found)
        while left:
            some = left[:_NAMED_AT_ONCE]
            values, done = self._link.look(scripts.NAMED, [f"{root}index/{session_id}"], root, session_id, *some)
            for record in self._sound(values, session_id)[0]:
                if record.filename in found and not is_over(record.expires_at, now):
                    found[record.filename].append(record)
            if not done:  # the first has more records than the script returns
                done, found[left[0]] = 1, self.named(session_id, left[0], now)
            left = left[done:]
        return [found[filename] for filename in filenames]

    def _between(self, session_id: str, first: str, last: str, limit: int | None, now: float) -> list[ArtifactMetadata]:
        """Return the unexpired records whose places lie between two bounds of ZRANGEBYLEX, all if *limit* is None."""
        root = self._session_root(session_id)
        found: list[ArtifactMetadata] = []
        while limit is None or len(found) < limit:
            wanted = _BATCH if limit is None else min(limit - len(found), _BATCH)
            values, rest = self._link.look(
                scripts.PAGE, [f"{root}index/{session_id}"], root, session_id, first, last, wanted
            )
            records, _ = self._sound(values, session_id)
            found += [record for record in records if not is_over(record.expires_at, now)]
            if not rest:
                break
            first = rest
        return found

    def due(self, now: float, limit: int, after: Any = None) -> Due:
        """Return a page of the records that cleanup must look at."""
        moment = _number(timestamp(now))
        records: list[ArtifactMetadata] = []
        damaged: list[str] = []
        while True:
            values, after = self._walk(moment, "", limit - len(records) - len(damaged), after)
            sound, strange = self._sound(values)
            records += sound
            damaged += map(_name, strange)
            if after is None or len(records) + len(damaged) >= limit:
                return Due(records, damaged, after)

    def sample(self, now: float, limit: int) -> list[ArtifactMetadata]:
        """Return some artifacts, beginning with those that are due first."""
        found: list[ArtifactMetadata] = []
        behind = None
        while True:
            values, behind = self._walk(_NEVER, timestamp(now), limit, behind)
            found += self._sound(values)[0]
            if behind is None or len(found) >= limit:
                return found[:limit]

    def _walk(self, last: str, now: str, limit: int, behind: Any) -> tuple[list[bytes], Any]:
        """Return a portion of the records that :data:`scripts.WALK` visits, and the position where it stopped.

        *behind* is the position where the portion before stopped, None to begin; the returned one is None at the end.
        """
        number, score, line = behind or (0, "", "")
        some = self._roots[number : number + 1] if self._link.spread else self._roots[number:]
        keys = [f"{root}due" for root in some]
        values, done, score, line = self._link.look(scripts.WALK, keys, last, now, limit, score, line, *some)
        number += done
        return values, None if number == len(self._roots) else (number, score, line)

    def identity(self, create: str | None = None) -> str | None:
        """Return the identity of the catalog."""
        key = f"{self._root('0' * _TAG_DIGITS)}identity"
        text = self._link.read("GET", key) if create is None else self._link.run(scripts.IDENTITY, [key], create).value
        return None if text is None else decoded(text, _decode_identity)

    def verify(self) -> int:
        """Count damaged records, on each server by a scan of its keys."""
        sandbox = "".join(f"\\{letter}" if letter in r"*?[]^\-" else letter for letter in self._sandbox_id)
        pattern = f"chuk:{{{'?' * _TAG_DIGITS}}}:{sandbox}/record/*"

        def damaged_in(server: redis.Redis) -> int:
            keys = map(_text, server.scan_iter(pattern, _BATCH))
            damaged = 0
            while some := set(itertools.islice(keys, _FILED_AT_ONCE)):  # SCAN may return a key twice
                ids = [name for key in some if self._record_key(name := key.rpartition("/")[2]) == key]
                damaged += len(some) - len(ids) + sum(map(self._count_damaged, self._by_node(ids, str)))
            return damaged

        return sum(self._link.ask_servers(damaged_in))

    def _count_damaged(self, artifact_ids: Sequence[str]) -> int:
        located = itertools.chain.from_iterable((self._root(one), one) for one in artifact_ids)
        values = self._link.look(scripts.VERIFY, list(map(self._record_key, artifact_ids)), *located)
        found = [value for value in values if value is not None]
        sound, _ = self._sound([value for value in found if value])
        return len(found) - sum(self._has_right_tag(record) for record in sound)

    def _has_right_tag(self, record: ArtifactMetadata) -> bool:
        """Return whether the id of a record begins as the ids of its session do."""
        return record.artifact_id.startswith(grid.slot_tag(self._sandbox_id, record.session_id)[:_TAG_DIGITS])

    def create_session(self, info: SessionInfo) -> bool:
        """Add a session."""
        self._sessions.pop(info.session_id, None)  # it may have been removed since; the script knows

        def joined(
            known: Callable[[str], SessionInfo | None],
        ) -> tuple[list[ArtifactMetadata], dict[str, SessionInfo]]:
            if known(info.session_id) is not None:
                raise _SessionExistsError
            return [], {info.session_id: info}

        try:
            self._add([info.session_id], joined, seconds_of(info.created_at))
        except _SessionExistsError:
            return False
        return True

    def sessions(self, now: float, limit: int, *, user_id: str | None = None, after: Any = None) -> Sessions:
        """Return a page of sessions; those of a user through their index, which a missing one is made for first."""
        if user_id is None:
            return self._page_of_sessions(now, min(limit, _BATCH), after)
        if after is None and self._link.read("GET", self._users_key()) is None:
            self._index_users()
        found, after = self._indexed(user_id, min(limit, _BATCH), after)
        wrong = [name for name, _, info in found if info is None or info.user_id != user_id]
        if wrong:
            self._unindex(user_id, wrong, time.time() - _UNINDEXED_AFTER_SECONDS)
        infos = [info for _, _, info in found if info is not None and info.user_id == user_id]
        return Sessions([info for info in infos if not is_over(info.expires_at, now)], after)

    def forget_user(self, user_id: str) -> None:
        """Remove the entries of removed sessions from the index of a user."""
        after = None
        while True:
            found, after = self._indexed(user_id, _BATCH, after)
            gone = [(name, added) for name, added, info in found if info is None or info.user_id != user_id]
            if gone:
                self._unindex(user_id, [name for name, _ in gone], max(added for _, added in gone))
            if after is None:
                return

    def _page_of_sessions(self, now: float, limit: int, after: Any) -> Sessions:
        number, score, entry = after or (0, "", "")
        keys = [f"{root}sessions" for root in self._roots[number:]]
        values, done, score, entry = self._link.look(
            scripts.SESSIONS, keys[:1] if self._link.spread else keys, limit, score, entry
        )
        number += done
        infos = self._sound_sessions(_in_threes(values))
        living = [info for info in infos if info is not None and not is_over(info.expires_at, now)]
        return Sessions(living, None if number == len(self._roots) else (number, score, entry))

    def _indexed(self, user_id: str, limit: int, after: Any) -> tuple[list[tuple[str, float, SessionInfo | None]], Any]:
        """Return a page of the entries of a user, with the sessions as they are, and where the next page begins."""
        values = self._link.look(scripts.USER_SESSIONS, [self._user_key(user_id)], limit, *(after or ("", "")))
        added = {values[at].decode(): float(values[at + 1]) for at in range(0, len(values), 2)}
        stored: dict[str, tuple[bytes, bytes, bytes]] = {}
        for some in self._by_node([*added], self._tag):
            located = itertools.chain.from_iterable((self._session_root(name), name) for name in some)
            keys = [f"{self._session_root(name)}session/{name}" for name in some]
            fields = self._link.look(scripts.LOAD_SESSIONS, keys, *located)
            names = [name.encode() for name in some]
            stored |= zip(some, zip(names, fields[::2], fields[1::2], strict=True), strict=True)
        infos = self._sound_sessions([stored[name] for name in added])
        found = [(name, moment, info) for (name, moment), info in zip(added.items(), infos, strict=True)]
        return found, (values[-1], values[-2]) if len(added) == limit else None

    def _sound_sessions(self, values: Sequence[tuple[bytes, bytes, bytes]]) -> list[SessionInfo | None]:
        """Return the session in each name, info and end; None for one that is missing or can't be decoded."""

        def decode(values: Sequence[tuple[bytes, bytes, bytes]]) -> list[SessionInfo]:
            return [_decode_session((name.decode(), self._sandbox_id, text, end))[0] for name, text, end in values]

        stored = [value for value in values if value[1]]
        found, _ = decode_sound(stored, decode, lambda value: repr(value[0])[:_SHOWN])
        sound = {info.session_id.encode(): info for info in found}
        return [sound.get(name) for name, _, _ in values]

    def _index_users(self) -> None:
        """Index the users of sessions that earlier versions of this library wrote."""
        after = None
        while True:
            page = self._page_of_sessions(0, _BATCH, after)
            self._index([(info.user_id, info.session_id) for info in page.found if info.user_id is not None])
            after = page.after
            if after is None:
                break
        self._link.run(scripts.IDENTITY, [self._users_key()], "indexed")

    def _index(self, owned: Sequence[tuple[str, str]]) -> None:
        """Add sessions to the indexes of their users."""
        now = repr(time.time())
        for some in self._by_node(owned, lambda pair: self._tag(f"/{pair[0]}")):
            keys = [self._user_key(user_id) for user_id, _ in some]
            self._link.run(scripts.INDEX_USERS, keys, now, *(session_id for _, session_id in some))

    def _unindex(self, user_id: str, session_ids: Sequence[str], latest: float) -> None:
        """Remove sessions from the index of a user, unless they were added after *latest*."""
        self._link.run(scripts.UNINDEX_USER, [self._user_key(user_id)], repr(latest), *session_ids)

    def _tag(self, session_id: str) -> str:
        return grid.slot_tag(self._sandbox_id, session_id)

    def _user_key(self, user_id: str) -> str:
        return f"{self._session_root(f'/{user_id}')}user/{user_id}"  # no session id begins with a slash

    def _users_key(self) -> str:
        return f"{self._roots[0]}users"

    def get_session(self, session_id: str, now: float) -> SessionInfo | None:
        """Return a session, or None."""
        key = f"{self._session_root(session_id)}session/{session_id}"
        text, expires_at = self._link.read("HMGET", key, "info", "expires_at")
        known = None if text is None else _Session.stored(session_id, self._sandbox_id, text, expires_at)
        return None if known is None or is_over(known.info.expires_at, now) else known.info

    def update_session(
        self,
        session_id: str,
        now: float,
        *,
        custom_metadata: Mapping[str, object] | None = None,
        extend: float = 0,
        limits: Limits = LIMITS,
    ) -> SessionInfo | None:
        """Change a session."""
        root = self._session_root(session_id)
        mark = os.urandom(8).hex()
        known = self._remembered(session_id, now)
        while True:
            new = None if known is None else _Session.of(updated(known.info, custom_metadata, extend, limits), known)
            answer = self._link.run(
                scripts.UPDATE_SESSION,
                [f"{root}session/{session_id}", f"{root}sessions"],
                root,
                session_id,
                timestamp(now),
                *(("", "") if known is None else (known.text, known.info.expires_at or "")),
                *_session_arguments(new),
                mark,
            )
            if not answer.value or answer.value[2] == mark.encode():
                break
            if answer.repeated and new is not None:
                raise self._link.unknown()  # was it our first attempt that changed it, or another client?
            text, expires_at, _ = answer.value
            known = _Session.stored(session_id, self._sandbox_id, text, expires_at)
            if known is None:
                return None
        self._remember(session_id, new)
        return None if new is None else new.info

    def remove_session(self, session_id: str, now: float, limit: int) -> list[ArtifactMetadata] | None:
        """Remove a portion of a session.

        The server keeps what a script has removed for a minute, or until the next call. If an answer is lost, the same
        token gets the same answer again: in a repetition, and in the next call if this one fails.
        """
        self._sessions.pop(session_id, None)
        removal = self._removal(session_id)
        values: list[bytes] = []
        number, answer = 0, None
        for number in itertools.count():
            if number == len(removal.tokens):
                removal.tokens.append(os.urandom(8).hex())
            wanted = min(limit - len(values), _SESSION_AT_ONCE)
            answer = self._remove_some(session_id, now, wanted, removal.tokens[number], removal.returned)
            if answer is not None:
                values += answer[1:]
            if not answer or answer[0] == _GONE or len(values) >= limit:
                break
        sound, damaged = self._sound(values)
        removed = sound + [self._bury(value, session_id) for value in damaged]
        is_none = number == 0 and answer is None
        if answer is None or answer[0] == _GONE:
            self._removals.pop(session_id, None)
        else:
            removal.returned, removal.tokens = removal.tokens[: number + 1], removal.tokens[number + 1 :]
        return None if is_none else removed

    def _removal(self, session_id: str) -> _Removal:
        if len(self._removals) >= _REMEMBERED:
            self._removals.clear()
        return self._removals.setdefault(session_id, _Removal())

    def _remove_some(
        self, session_id: str, now: float, limit: int, token: str, returned: Sequence[str]
    ) -> list[bytes] | None:
        root = self._session_root(session_id)
        kept = [f"{root}removed/{one}" for one in (token, *returned)]
        milliseconds = _ANSWER_KEPT_SECONDS * 1000
        answer: list[bytes] | None = self._link.run(
            scripts.REMOVE_SESSION,
            [*kept, *_session_keys(root, session_id)],
            root,
            session_id,
            timestamp(now),
            limit,
            milliseconds,
            len(kept),
        ).value
        return answer

    def expire_sessions(
        self, now: float, *, dry_run: bool = False, gone: Callable[[Sequence[str]], None] | None = None
    ) -> int:
        """Remove the expired sessions, through their index."""
        moments = timestamp(now), _number(timestamp(now))
        count = 0
        for roots in self._all_roots():
            left, skip = roots, 0
            while left:
                keys = [f"{root}sessions" for root in left]
                arguments = *moments, _BATCH, skip, "dry" if dry_run else ""
                ended, done, skip, owned, ids = self._link.run(scripts.EXPIRE_SESSIONS, keys, *arguments, *left).value
                self._unindex_expired([name.decode() for name in owned])
                if gone is not None and ids:
                    gone([name.decode() for name in ids])
                count += ended
                left = left[done:]
        return count

    def _unindex_expired(self, owned: Sequence[str]) -> None:
        by_user: defaultdict[str, list[str]] = defaultdict(list)
        for user_id, session_id in zip(owned[::2], owned[1::2], strict=True):
            by_user[user_id].append(session_id)
        for user_id, session_ids in by_user.items():
            self._unindex(user_id, session_ids, time.time() - _PATIENCE_SECONDS)

    def stats(self, now: float) -> dict[str, int]:
        """Count sessions and records, in portions, so that other clients need not wait for all of them."""
        moments = timestamp(now), _number(timestamp(now))
        found = [0, 0, 0]
        for roots in self._all_roots():
            keys = [f"{root}{name}" for root in roots for name in ("due", "sessions")]
            behind: Sequence[Any] = ("", "")
            while keys:
                *some, done, score, entry = self._link.look(scripts.STATS, keys, *moments, _BATCH, *behind)
                found = list(map(sum, zip(found, some, strict=True)))
                keys, behind = keys[done:], (score, entry)
        return dict(zip(("sessions", "artifacts", "bytes"), found, strict=True))

    def usage(self, session_id: str | None) -> Usage:
        """Return the counters of a session, or add up those of all sessions that have not been removed."""
        artifacts = size = 0
        if session_id is not None:
            artifacts, size = self._usage(self._session_root(session_id), session_id)
            return Usage(artifacts=artifacts, bytes=size)
        for roots in self._all_roots():
            keys, behind = [f"{root}sessions" for root in roots], ("", "")
            while keys:
                *found, unknown, done, score, entry = self._link.look(scripts.USAGES, keys, _BATCH, *behind)
                counts = [tuple(map(int, found))]
                names = iter(unknown)
                counts += [self._usage(root.decode(), name.decode()) for root, name in zip(names, names, strict=True)]
                artifacts += sum(one for one, _ in counts)
                size += sum(one for _, one in counts)
                keys, behind = keys[done:], (score, entry)
        return Usage(artifacts=artifacts, bytes=size)

    def recount(self) -> None:
        """Count all sessions that have not been removed, in portions."""
        after = None
        while True:
            page = self._page_of_sessions(0, _BATCH, after)
            for some in self._by_node([info.session_id for info in page.found], self._tag):
                self._recount(some)
            after = page.after
            if after is None:
                return

    def _recount(self, session_ids: Sequence[str]) -> None:
        """Count sessions that one command can reach, many with each script."""
        left = session_ids
        while left:
            located = [(self._session_root(session_id), session_id) for session_id in left[:_COUNTED_AT_ONCE]]
            keys = [f"{root}index/{session_id}" for root, session_id in located]
            *_, is_complete, done = self._link.look(scripts.USAGE, keys, "anew", *itertools.chain(*located))
            if not is_complete:
                self._usage(*located[done - 1])
            left = left[done:]

    def _usage(self, root: str, session_id: str) -> tuple[int, int]:
        """Return the artifacts and bytes of a session; count it, in portions, if it has no counters."""
        for _ in range(_MOST_PORTIONS):
            keys = [f"{root}index/{session_id}"]
            artifacts, size, is_complete, _ = self._link.look(scripts.USAGE, keys, "", root, session_id)
            if is_complete:
                return int(artifacts), int(size)
        raise SessionError(f"session {session_id!r} can't be counted: others keep changing it")

    def check(self) -> dict[str, str]:
        """Write a few KiB, and return facts about the servers; those that differ are joined."""
        self._link.run(scripts.CHECK, [f"{self._session_root('')}check"])
        facts: defaultdict[str, list[str]] = defaultdict(list)
        for server in self._link.ask_servers(server_facts):
            for name, value in server.items():
                if value not in facts[name]:
                    facts[name].append(value)
        return {name: "; ".join(values) for name, values in facts.items()}

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def _add(
        self,
        session_ids: Collection[str],
        joined: Callable[[Callable[[str], SessionInfo | None]], tuple[list[ArtifactMetadata], dict[str, SessionInfo]]],
        now: float,
        *,
        mode: str = "",
        most: int | None = None,
        mark: str = "",
    ) -> list[int]:
        """Write records and sessions; repeat with the stored sessions for as long as the known ones are outdated.

        Return, in a mode that merges, 1 for each record that was written and 0 for the others, session by session.
        """
        known = {session_id: self._remembered(session_id, now) for session_id in session_ids}

        def info_of(session_id: str) -> SessionInfo | None:
            before = known[session_id]
            return None if before is None else before.info

        while True:
            records, infos = joined(info_of)
            new = {**known, **{name: _Session.of(info, known[name]) for name, info in infos.items()}}
            owned = _newly_owned(known, infos)
            if self._link.spread:
                self._index(owned)
                owned = []
            answer = self._send(known, records, new, owned, now, mode=mode, most=most, mark=mark)
            unlike = answer.value
            if isinstance(unlike, int):
                self._refused(unlike, session_ids, most)
                continue
            if not unlike or isinstance(unlike[0], int):
                written: list[int] = unlike
                break
            for name, text, expires_at, _ in unlike:
                session_id = name.decode()
                known[session_id] = _Session.stored(session_id, self._sandbox_id, text, expires_at)
            if answer.repeated and not records and known == new:  # our first attempt has created the session
                written = []
                break
        for session_id, session in new.items():
            self._remember(session_id, session)
        return written

    def _refused(self, answer: int, session_ids: Iterable[str], most: int | None) -> None:
        """Raise the error for the answer of a script that has changed nothing; return if it is to be sent again."""
        if answer == _TAKEN:
            raise FilenameTakenError
        if answer == _FULL:
            raise session_full(most or 0)
        for session_id in session_ids:
            self._usage(self._session_root(session_id), session_id)

    def _replace(self, changes: Sequence[tuple[ArtifactMetadata, int]], most: int | None = None) -> list[bool]:
        keys: dict[str, None] = {}
        values: list[object] = []
        for record, revision in changes:
            root = self._root(record.artifact_id)
            mark = os.urandom(8).hex()
            keys.update(dict.fromkeys([*_session_keys(root, record.session_id), f"{root}record/{record.artifact_id}"]))
            released = "released" if record.released else ""
            values += root, revision, released, *_record_arguments(record, mark), *_end_arguments(record.expires_at)
        while True:
            answer = self._link.run(scripts.REPLACE, [*keys], "" if most is None else most, *values)
            if answer.repeated and 0 in answer.value:
                raise self._link.unknown()  # was it our first attempt that changed it, or another client?
            if max(answer.value) <= 1:
                return list(map(bool, answer.value))
            self._refused(max(answer.value), [record.session_id for record, _ in changes], most)

    def _send(
        self,
        known: Mapping[str, _Session | None],
        records: Sequence[ArtifactMetadata],
        new: Mapping[str, _Session | None],
        owned: Sequence[tuple[str, str]],
        now: float,
        *,
        mode: str,
        most: int | None,
        mark: str,
    ) -> Answer:
        by_session: defaultdict[str, list[ArtifactMetadata]] = defaultdict(list)
        for record in records:
            by_session[record.session_id].append(record)
        keys: list[str] = []
        before: list[str] = []
        changes: list[object] = []
        for session_id, session in known.items():
            root = self._session_root(session_id)
            text, *end = _session_arguments(new[session_id])
            known_text = "" if session is None else session.text
            keys += _session_keys(root, session_id)
            before += root, session_id, known_text
            changes += ("" if text == known_text else text), *end, len(by_session[session_id])
            for record in by_session[session_id]:
                keys.append(f"{root}record/{record.artifact_id}")
                changes += _record_arguments(record, mark)
        for user_id, session_id in owned:
            keys.append(self._user_key(user_id))
            changes += self._user_key(user_id), session_id, repr(time.time())
        limits = mode, "" if most is None else most
        return self._link.run(
            scripts.ADD, keys, timestamp(now), self._forgotten_before(), *limits, len(known), *before, *changes
        )

    def _forgotten_before(self) -> str:
        """Return now and then the time before which Redis has dropped whatever ended, otherwise an empty text."""
        self._adds += 1
        return "" if self._adds % _ADDS_FOR_FORGETTING else repr(time.time() - KEPT_SECONDS)

    def _take_back(self, added: Sequence[str]) -> None:
        """Remove the part of a batch that was added before the rest failed."""
        try:
            self.remove(added)
        except SessionError as error:
            raise OutcomeUnknownError(str(error)) from error

    def _remove(self, artifact_ids: Sequence[str], session_id: str, moment: str) -> tuple[list[bytes], list[bytes]]:
        """Remove records; return them, and the ids of those not removed because their lines are damaged."""
        located = [(self._root(artifact_id), artifact_id) for artifact_id in artifact_ids]
        keys = {f"{root}due" for root, _ in located}.union(map(self._record_key, artifact_ids))
        answer = self._link.run(scripts.REMOVE, [*keys], session_id, moment, *itertools.chain.from_iterable(located))
        removed, damaged = answer.value
        if answer.repeated and len(removed) + len(damaged) < len(artifact_ids):
            raise self._link.unknown()  # did our first attempt remove the others, or another client?
        return removed, damaged

    def _remove_damaged(self, artifact_id: str, session_id: str, moment: str) -> ArtifactMetadata | None:
        """Remove a record whose line is damaged, if its entry among those due meets the conditions."""
        line = self._line(artifact_id)
        record = self._salvaged(line + b"\n", session_id, artifact_id)
        ends = record.expires_at
        is_its_session = session_id in {"", record.session_id} and artifact_id.startswith(
            grid.slot_tag(self._sandbox_id, session_id) if session_id else ""
        )
        if not is_its_session or (moment and (ends is None or ends > moment)):
            return None
        self._take(artifact_id, line)
        return record

    def _line(self, artifact_id: str) -> bytes:
        """Return the entry of a record among those due, b"" without one; this reads all entries."""
        rank = 0
        keys = [f"{self._root(artifact_id)}due"]
        while True:
            found = self._link.look(scripts.FIND, keys, artifact_id, rank)
            if not isinstance(found, int):
                return found or b""
            rank = found

    def _bury(self, value: bytes, session_id: str) -> ArtifactMetadata:
        """Return a stand-in for a damaged record that was removed with its session, and remove its entry."""
        name = _name(value)
        if value.partition(b"\n")[0].count(b"\0") != _NULS:
            line = self._line(name)
            self._take(name, line)
            value = line + b"\n"
        return self._salvaged(value, session_id, name)

    def _take(self, artifact_id: str, line: bytes) -> None:
        keys = [f"{self._root(artifact_id)}due", self._record_key(artifact_id)]
        self._link.run(scripts.TAKE, keys, self._root(artifact_id), artifact_id, line)

    def _salvaged(self, value: bytes, session_id: str, artifact_id: str) -> ArtifactMetadata:
        """Return a stand-in for a damaged record, built from its line if that is sound."""
        try:
            line = value.partition(b"\n")[0].decode()
            revision, _, its_session, length, ends, its_place = line.split("\0", 5)
            filename, _, its_id = its_place.rpartition("\0")
            return salvaged(
                self._sandbox_id,
                its_session,
                its_id,
                provider=self.provider,
                filename=filename or None,
                bytes=int(length),
                revision=int(revision),
                expires_at=timestamp(seconds_of(ends)) if ends else None,
            )
        except DAMAGE:
            return salvaged(self._sandbox_id, session_id or _UNKNOWN, artifact_id, provider=self.provider)

    def _record_of(self, artifact_id: str, value: bytes) -> ArtifactMetadata:
        """Return the record of an id; raise ``SessionError`` if the value is damaged, or another record's."""
        return decoded(value, lambda value: decode_record(_json_of(value), artifact_id, self._sandbox_id))

    def _sound(
        self, values: Sequence[bytes], session_id: str | None = None
    ) -> tuple[list[ArtifactMetadata], list[bytes]]:
        """Return the records in values, and the values that are damaged, with a logged warning."""

        def decode(values: Sequence[bytes]) -> list[ArtifactMetadata]:
            return decode_records(list(map(_json_of, values)), list(map(_name, values)), self._sandbox_id, session_id)

        return decode_sound(values, decode, _name)

    def _remembered(self, session_id: str, now: float) -> _Session | None:
        known = self._sessions.get(session_id)
        if known is not None and is_over(known.info.expires_at, now):
            known = None
        looked_up(cached=known is not None)
        return known

    def _remember(self, session_id: str, session: _Session | None) -> None:
        if session is not None:
            if len(self._sessions) >= _REMEMBERED:
                self._sessions.clear()
            self._sessions[session_id] = session

    def _root(self, artifact_id: str) -> str:
        """Return the prefix of all keys that concern an artifact."""
        return f"chuk:{{{artifact_id[:_TAG_DIGITS]}}}:{self._sandbox_id}/"

    def _session_root(self, session_id: str) -> str:
        """Return the prefix of all keys that concern a session; its artifacts have the same."""
        return self._root(grid.slot_tag(self._sandbox_id, session_id))

    def _record_key(self, artifact_id: str) -> str:
        return f"{self._root(artifact_id)}record/{artifact_id}"

    def _all_roots(self) -> list[list[str]]:
        """Return the prefixes of all keys, grouped by what one command can reach."""
        return [[root] for root in self._roots] if self._link.spread else [self._roots]

    def _by_node(self, items: Sequence[T], artifact_id: Callable[[T], str]) -> Iterator[Sequence[T]]:
        """Yield *items* in portions that one command can reach: in a Cluster, one for each hash tag."""
        if not self._link.spread:
            if items:
                yield items
            return
        by_root: defaultdict[str, list[T]] = defaultdict(list)
        for item in items:
            by_root[self._root(artifact_id(item))].append(item)
        yield from by_root.values()


def open_redis(settings: Settings) -> RedisCatalog:
    """Return the catalog in the Redis server of *settings*.

    Raises:
        InvalidInputError: the URL is invalid.

    """
    url = settings.redis_url or RedisUrl("")
    link = open_link(url.text, str(url), max_connections=settings.max_connections, max_retries=settings.max_retries)
    return RedisCatalog(link, settings.sandbox_id, settings.session_ttl)


def _search_arguments(query: Query) -> str:
    """Return a query as a script gets it, in JSON."""
    conditions = [
        {"name": name, **_condition(value)}
        for name, value in query.meta.items()
        if value is not None and not isinstance(value, (bool, str))
    ]
    times = {"stored_after": query.stored_after, "stored_before": query.stored_before}
    times = {name: moment for name, moment in times.items() if moment is not None}
    inside = {"conditions": conditions, "looks_inside": bool(conditions or times), **times}
    return json.dumps({"parts": query.parts, "lower_part": query.lower_part, **inside})


def _condition(value: object) -> dict[str, object]:
    """Return the Lua type of a JSON value, and the value if Lua can compare it."""
    if isinstance(value, (int, float)):
        return {"type": "number", **({"value": float(value)} if abs(value) < _LARGEST else {})}
    return {"type": "table"}


def _in_threes(values: Sequence[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    return list(zip(values[::3], values[1::3], values[2::3], strict=True))


def _newly_owned(known: Mapping[str, _Session | None], infos: Mapping[str, SessionInfo]) -> list[tuple[str, str]]:
    """Return the users and ids of sessions that will have another user than before."""
    return [
        (info.user_id, session_id)
        for session_id, info in infos.items()
        if info.user_id is not None and ((before := known[session_id]) is None or before.info.user_id != info.user_id)
    ]


def _joined(place: tuple[str, str]) -> str:
    """Return a place as the index stores it."""
    return "\0".join(place)


def _text(name: bytes | str) -> str:
    """Return a key as text; the driver has decoded it already if the URL says ``decode_responses``."""
    return name if isinstance(name, str) else name.decode(errors="replace")


def _name(value: bytes) -> str:
    """Return the id of the record in a value that a script returned, sound or damaged."""
    return value.partition(b"\n")[0].rpartition(b"\0")[2].decode(errors="replace")


def _json_of(value: bytes) -> str:
    """Return the JSON of a record, which follows its line."""
    return value[value.index(b"\n") + 1 :].decode()


def _decode_identity(text: bytes) -> str:
    if not text:
        raise ValueError("an empty identity")
    return text.decode()


def _decode_session(stored: tuple[str, str, bytes, bytes]) -> tuple[SessionInfo, str]:
    session_id, sandbox_id, *parts = stored
    text, expires_at = (part.decode() for part in parts)
    return decode_session(text, expires_at or None, session_id, sandbox_id), text


def _record_arguments(record: ArtifactMetadata, mark: str = "") -> tuple[str, str, str]:
    """Return the value of a record, when it is due as a number, and for how many milliseconds to keep it."""
    ends = record.expires_at
    mark += ":"
    if record.superseded or record.released:
        artifacts, size = counted(record)
        mark += f"{artifacts}:{size}"
    line = f"{record.revision}\0{mark}\0{record.session_id}\0{record.bytes}\0{ends or ''}\0{_joined(place(record))}"
    _, expires, milliseconds = _end_arguments(ends)
    due = record.due
    due_number = expires if due is None or due == ends else _number(due)
    return f"{line}\n{record.to_json()}", due_number, milliseconds


def _session_keys(root: str, session_id: str) -> list[str]:
    """Return the keys that a change of a session or its records needs, except the keys of the records."""
    return [f"{root}session/{session_id}", f"{root}sessions", f"{root}index/{session_id}", f"{root}due"]


def _session_arguments(session: _Session | None) -> tuple[str, ...]:
    """Return info, end, end as a number, and for how many milliseconds to keep it; empty texts without a session."""
    return ("", "", "", "") if session is None else (session.text, *_end_arguments(session.info.expires_at))


def _end_arguments(expires_at: str | None) -> tuple[str, str, str]:
    """Return an end, the end as a number, and for how many milliseconds to keep what ends then."""
    if expires_at is None:
        return "", _NEVER, ""
    # Redis uses the clock of its machine; time.time() is closer to it than the store's clock, which a test may set.
    seconds = seconds_of(expires_at)
    left = max(seconds - time.time(), 0) + KEPT_SECONDS
    return expires_at, repr(seconds), str(int(left * 1000))


def _number(moment: str) -> str:
    """Return a timestamp as seconds since the epoch, which Redis sorts by."""
    return repr(seconds_of(moment))

"""Rebuilding the catalog from the storage: what a lost catalog knew as of when the bytes were written.

The storage is listed for the facts of sessions and for artifacts: twice if it is remote; a local one is asked for the
facts of each session before its artifacts. Artifacts come in portions, whose objects are described side by side, in a
remote storage while portions before them are written. Only what the catalog lacks is described.

While the storage does not hold the identity of this catalog, and no other, the catalog was lost or is a new one. Then a
content that is newer than the catalog's record, which may come from an older export, replaces it. Otherwise such a
content is a write under way, or what a failed write left, and only missing records are added.

An artifact may be stored or deleted meanwhile. A record that its writer adds replaces the one that was found here, and
objects that are young, or whose record was missing in a catalog that is not lost, are looked at again later: if they
are gone, their record goes too. Objects that were written well after the start are left to their writers, so that a
run beside writers ends.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TypeVar, TypeVarTuple

import attrs

from chuk_artifacts import grid
from chuk_artifacts.catalog import later, new_session
from chuk_artifacts.catalog.records import batches
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ProviderError
from chuk_artifacts.models import ArtifactMetadata, ReindexReport, SessionInfo, is_over, seconds_of
from chuk_artifacts.operations import facts, identity
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.rebuilding import Content, Stored, contents_of, descriptions_of, rebuilt
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.walking import records_or_errors
from chuk_artifacts.operations.writing import first_ttl
from chuk_artifacts.storage import StoredObject
from chuk_artifacts.threads import Call, Threads, give_up

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

PORTION = 500
"""Artifacts that the catalog is asked for at once."""

PAUSE_SECONDS = 0.2
"""How long a delete may need between a record and its bytes, when the last records are looked at again."""

_AHEAD = 3  # portions of a remote storage that are being described while one is written
_MOST_IN_A_CALL = 8  # artifacts; handing each to a thread of its own takes longer than decoding what it says
_CALLS = 4  # for each thread, so that all have work until the portion ends
_LATER_SECONDS = 60.0  # by how much the clocks of a service's nodes may differ
_YOUNG_SECONDS = 3600.0
_MOST_FAILURES = 100
_NO_IDENTITY = "0" * 32


@operation
def reindex(scope: Scope, callback: Callback | None, *, dry_run: bool) -> ReindexReport:
    """Add records for what the storage holds and the catalog lacks; see :meth:`ArtifactStore.reindex`."""
    return _Run(scope.unbound_core("reindex"), callback, dry_run=dry_run).report()


@attrs.define
class _Portion:
    """Artifacts whose contents are being described.

    Attributes:
        artifacts: the artifacts.
        calls: the calls that describe them, a few each, where latency is worth hiding; otherwise none.

    """

    artifacts: list[Stored] = attrs.field(factory=list)
    calls: list[Call[list[list[Content] | Exception]]] = attrs.field(factory=list)

    def begin(self, core: Core) -> None:
        """Start the calls."""
        if core.storage.remote:
            size = min(max(len(self.artifacts) // (_CALLS * core.storage.parallel), 1), _MOST_IN_A_CALL)
            core.begin(partial(_described, core), [*batches(self.artifacts, size)], self.calls)

    def found(self, core: Core) -> Iterator[tuple[Stored, list[Content] | Exception]]:
        """Iterate over the artifacts with their contents."""
        parts = (call.result() for call in self.calls) if self.calls else iter([_described(core, self.artifacts)])
        return zip(self.artifacts, itertools.chain.from_iterable(parts), strict=True)


class _Found(NamedTuple):
    """Records to be written.

    Attributes:
        records: the records.
        users: the users of their sessions, where known.
        young: the ids of those whose objects are young.

    """

    records: list[ArtifactMetadata]
    users: dict[str, str]
    young: set[str]


class _Run:
    """One run of a reindex."""

    def __init__(self, core: Core, callback: Callback | None, *, dry_run: bool) -> None:
        self._core = core
        self._callback = callback
        self._dry_run = dry_run
        self._recovers = not identity.is_adopted(core)
        self._begun = core.clock()
        self._start = core.storage.now() if not dry_run else 0.0
        self._writer = Threads(1, "chuk-artifacts-reindex")
        self._writes: list[Call[tuple[list[ArtifactMetadata], int, int]]] = []
        self._infos: list[SessionInfo] = []
        self._ttls: dict[str, float | None] = {}
        self._counts = dict.fromkeys(
            ("artifacts", "versions", "sessions", "known", "expired", "incomplete", "bytes", "failed"), 0
        )
        self._failures: dict[str, str] = {}
        self._unsettled: list[ArtifactMetadata] = []

    def report(self) -> ReindexReport:
        """Do the work, and return its report."""
        if self._core.storage.remote:
            self._restore_sessions()
        self._restore_artifacts()
        adopted = False
        if not self._dry_run:
            self._core.catalog.recount()
            adopted = not self._counts["failed"] and (not self._recovers or identity.adopt(self._core))
        return ReindexReport(**self._counts, failures=self._failures, adopted=adopted)

    def _objects(self) -> Iterator[StoredObject]:
        return self._core.storage.list_objects(grid.sandbox_prefix(self._core.settings.sandbox_id))

    # Sessions

    def _restore_sessions(self) -> None:
        sandbox_id = self._core.settings.sandbox_id
        kept = (item for item in self._objects() if grid.session_of_facts(item.key, sandbox_id) is not None)
        for portion in _portions(kept):
            found = self._core.each(lambda item: _tried(self._core, facts.read, item), portion, lambda item: item.bytes)
            self._add_sessions(self._sound(portion, found))

    def _sound(
        self, items: Sequence[StoredObject], found: Sequence[SessionInfo | Exception | None]
    ) -> list[SessionInfo]:
        infos = []
        for item, info in zip(items, found, strict=True):
            if isinstance(info, Exception):
                self._fail(item.key, str(info))
            elif info is not None:
                infos.append(info)
                if info.ttl != first_ttl(self._core, info.session_id):
                    self._ttls[info.session_id] = info.ttl
        return infos

    def _restore_session(self, folder: str) -> None:
        """Read the facts of a session of a local storage, whose keys begin with *folder*."""
        core = self._core
        key = grid.facts_in(folder, core.settings.sandbox_id)
        item = None if key is None else core.storage.stat(key)
        if item is not None:
            self._infos += self._sound([item], [_tried(core, facts.read, item)])
            if len(self._infos) >= PORTION:
                self._flush_sessions()

    def _flush_sessions(self) -> None:
        infos, self._infos = self._infos, []
        if infos:
            self._add_sessions(infos)

    def _add_sessions(self, infos: Sequence[SessionInfo]) -> None:
        core, now = self._core, self._core.clock()
        if self._dry_run:
            known = [core.catalog.get_session(info.session_id, now) for info in infos]
            self._counts["sessions"] += sum(
                before is None and not is_over(info.expires_at, now) for before, info in zip(known, infos, strict=True)
            )
            return
        added = core.catalog.merge_sessions(infos, now=now, prefer_given=self._recovers)
        self._counts["sessions"] += sum(added)
        if self._recovers:
            return
        for info, is_new in zip(infos, added, strict=True):
            key = grid.facts_key(info.sandbox_id, info.session_id)
            if is_new and core.storage.stat(key) is None:  # deleted meanwhile
                core.catalog.remove_session(info.session_id, now, 1)

    # Artifacts

    def _restore_artifacts(self) -> None:
        ahead = _AHEAD if self._core.storage.remote else 1
        begun: list[_Portion] = []
        try:
            for artifacts in _portions(self._artifacts()):
                begun.append(_Portion())
                self._begin(begun[-1], artifacts)
                if len(begun) > ahead:
                    self._finish(begun[0])
                    del begun[0]
                self._advance(artifacts)
            for portion in begun:
                self._finish(portion)
            self._flush_sessions()
            self._join()
        except BaseException:
            for portion in begun:
                give_up(portion.calls)
            give_up(self._writes)
            raise
        finally:
            self._writer.close()
        if self._unsettled:
            time.sleep(PAUSE_SECONDS)
            self._counts["artifacts"] -= self._settle([])

    def _artifacts(self) -> Iterator[Stored]:
        """Iterate over the artifacts in the storage, each with its contents."""
        sandbox_id = self._core.settings.sandbox_id
        objects = self._objects() if self._core.storage.remote else self._objects_after_facts()
        named = ((grid.content_at(item.key, sandbox_id), item) for item in objects)
        for name, group in itertools.groupby(named, itemgetter(0)):
            if name is None:
                continue
            session_id, artifact_id = name
            contents = tuple(item for _, item in group if not self._is_later(item))
            if not artifact_id.startswith(grid.slot_tag(sandbox_id, session_id)):
                for item in contents:
                    self._fail(item.key, "its id is that of an artifact of another session")
            elif contents:
                yield Stored(session_id, artifact_id, contents)

    def _objects_after_facts(self) -> Iterator[StoredObject]:
        """Iterate over the objects of a local storage, after the facts of their session were read."""
        for folder, group in itertools.groupby(self._objects(), lambda item: item.key.rpartition("/")[0]):
            self._restore_session(folder)
            yield from group

    def _is_later(self, item: StoredObject) -> bool:
        """Return whether an object was written well after this run began; one that is dated in the future was not."""
        seconds = item.modified - self._start - _LATER_SECONDS
        return seconds > 0 and not self._dry_run and seconds <= self._core.clock() - self._begun

    def _begin(self, portion: _Portion, artifacts: Sequence[Stored]) -> None:
        """Begin to describe the contents of the artifacts that the catalog lacks."""
        now = self._core.clock()
        records = records_or_errors(self._core, [stored.artifact_id for stored in artifacts])
        for stored, record in zip(artifacts, records, strict=True):
            if isinstance(record, Exception):
                self._fail(stored.objects[0].key, str(record))
            elif record is None or self._is_outdated(record, stored, now):
                portion.artifacts.append(stored)
            else:
                self._counts["known"] += 1
        portion.begin(self._core)

    def _is_outdated(self, record: ArtifactMetadata, stored: Stored, now: float) -> bool:
        """Return whether the storage may have a later content of an artifact than its record points to."""
        if not self._recovers or is_over(record.expires_at, now):
            return False
        return any(item.key not in record.all_bytes for item in stored.objects)

    def _finish(self, portion: _Portion) -> None:
        """Add the records of a portion, where latency is worth hiding in another thread."""
        self._flush_sessions()
        now = self._core.clock()
        call = Call(self._keep, self._rebuilt(portion, now), now)
        self._join()
        self._writes.append(call)
        if self._core.storage.remote:
            self._writer.start(call)
        else:
            call.run()
            self._join()

    def _join(self) -> None:
        """Wait for the last write, and count what it did."""
        for call in self._writes:
            written, known, gone = call.result()
            self._counts["known"] += known
            self._counts["artifacts"] += len(written) - gone
            self._counts["versions"] += sum(len(record.superseded) for record in written)
            self._counts["bytes"] += sum(record.occupied for record in written)
        self._writes.clear()

    def _rebuilt(self, portion: _Portion, now: float) -> _Found:
        """Return the records of a portion."""
        records: list[ArtifactMetadata] = []
        users: dict[str, str] = {}
        young: set[str] = set()
        for stored, found in portion.found(self._core):
            if isinstance(found, Exception):
                self._fail(stored.objects[0].key, str(found))
            elif found:
                record = rebuilt(self._core, found, self._ttls, now)
                if is_over(record.expires_at, now):
                    self._counts["expired"] += 1
                    continue
                records.append(record)
                if found[-1].object.modified > self._start - _YOUNG_SECONDS:
                    young.add(record.artifact_id)
                self._counts["incomplete"] += not found[-1].is_whole
                users.update((stored.session_id, one.user_id) for one in found if one.user_id is not None)
        return _Found(records, users, young)

    def _keep(self, found: _Found, now: float) -> tuple[list[ArtifactMetadata], int, int]:
        """Write records, and settle those before.

        Return the records that were written, how many were known meanwhile, and how many others were removed.
        """
        written = self._write(found, now) if found.records and not self._dry_run else found.records
        unsettled = [record for record in written if not self._recovers or record.artifact_id in found.young]
        return written, len(found.records) - len(written), self._settle(unsettled)

    def _write(self, found: _Found, now: float) -> list[ArtifactMetadata]:
        catalog = self._core.catalog
        catalog.merge_sessions(self._sessions_of(found.records, found.users), now=now)
        merges = catalog.merge(found.records, now=now, replace_older=self._recovers)
        return [record for record, is_merged in zip(found.records, merges, strict=True) if is_merged]

    def _sessions_of(self, records: Sequence[ArtifactMetadata], users: dict[str, str]) -> list[SessionInfo]:
        """Return the sessions of records, as far as these know them."""
        infos: dict[str, SessionInfo] = {}
        for record in records:
            session_id = record.session_id
            info = infos.get(session_id)
            if info is None:
                info = new_session(
                    session_id,
                    record.sandbox_id,
                    now=seconds_of(record.stored_at),
                    ttl=self._ttls.get(session_id, first_ttl(self._core, session_id)),
                    user_id=users.get(session_id),
                )
            begins, ends = min(info.created_at, record.stored_at), later(info.expires_at, record.expires_at)
            if (begins, ends) != (info.created_at, info.expires_at):
                info = info.changed(expires_at=ends, created_at=begins)
            infos[session_id] = info
        return [*infos.values()]

    def _settle(self, written: list[ArtifactMetadata]) -> int:
        """Remove the records of the portion before whose bytes were removed meanwhile, and keep those of this one.

        Return how many records were removed.
        """
        before, self._unsettled = self._unsettled, [] if self._dry_run else written
        stats = self._core.each(self._core.storage.stat, [record.key for record in before], lambda _: 0)
        gone = {record.artifact_id: record for record, stat in zip(before, stats, strict=True) if stat is None}
        if not gone:
            return 0
        present = self._core.catalog.get([*gone])
        same = [one.artifact_id for one in present if one is not None and one.key == gone[one.artifact_id].key]
        return len(self._core.catalog.remove(same))

    # Reporting

    def _advance(self, artifacts: Sequence[Stored]) -> None:
        if self._callback is not None:
            self._callback.relative_update(len(artifacts))

    def _fail(self, key: str, reason: str) -> None:
        self._counts["failed"] += 1
        if len(self._failures) < _MOST_FAILURES:
            self._failures[key] = reason


def _portions(items: Iterator[T]) -> Iterator[list[T]]:
    while portion := list(itertools.islice(items, PORTION)):
        yield portion


def _described(core: Core, artifacts: Sequence[Stored]) -> list[list[Content] | Exception]:
    """Return the contents of artifacts, or errors.

    All descriptions are read before any is decoded: by turns, the processor takes a quarter longer for local files.
    """
    read = [_tried(core, descriptions_of, stored) for stored in artifacts]
    return [
        found if isinstance(found, Exception) else _tried(core, contents_of, stored, found)
        for stored, found in zip(artifacts, read, strict=True)
    ]


def _tried(core: Core, work: Callable[[Core, *Ts], R], *arguments: *Ts) -> R | Exception:
    """Return ``work(core, *arguments)``, or the error if the storage works, and only this object can't be read."""
    try:
        return work(core, *arguments)
    except ValueError as error:
        return error
    except ProviderError as error:
        core.storage.stat(f"{grid.identity_prefix(core.settings.sandbox_id)}{_NO_IDENTITY}")
        return error

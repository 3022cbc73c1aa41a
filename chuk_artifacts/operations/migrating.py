"""Copying artifacts from one store to another: bytes first, verified, then their records.

Artifacts are copied in portions. While the bytes of a portion are under way, the records of the one before it are
written. A run that is killed has copied all portions but the last two; the next run looks records up, and copies only
what the target lacks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import attrs

from chuk_artifacts import arguments, grid
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ArtifactStoreError, InvalidInputError, ProviderError
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata, MigrationReport, SessionInfo, Superseded, is_over
from chuk_artifacts.operations import facts, identity, quota
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.deleting import discard
from chuk_artifacts.operations.descriptions import description
from chuk_artifacts.operations.finding import public
from chuk_artifacts.operations.history import origin_of, superseded_by_next, with_content
from chuk_artifacts.operations.reading import chunks_of, corrupted
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.uploads import measured
from chuk_artifacts.operations.walking import all_sessions, known_records, pages_of
from chuk_artifacts.operations.writing import check_bytes
from chuk_artifacts.source import CHUNK_SIZE, Stream
from chuk_artifacts.storage import Description, ObjectMissingError
from chuk_artifacts.threads import Call, Threads, give_up

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

_AT_ONCE = 200  # artifacts, or sessions
_IN_MEMORY = 4 * 1024**2  # bytes; longer contents are streamed
_SHOWN_FAILURES = 100
_MOST_IN_A_ROW = 25  # failures of the storage, without a success between them
_COUNTED: tuple[str, ...] = (
    "sessions",
    "artifacts",
    "bytes",
    "present",
    "newer",
    "expired",
    "uploads",
    "altered",
    "damaged",
    "failed",
)


@attrs.frozen
class Terms:
    """The checked options of a migration.

    Attributes:
        sessions: the sessions to copy; None: all.
        max_workers: how many contents are copied side by side.
        dry_run: whether to copy nothing, and only count.

    """

    sessions: Sequence[str] | None
    max_workers: int
    dry_run: bool


@operation
def migrate(source: Scope, target: Scope, terms: Terms, callback: Callback | None) -> MigrationReport:
    """Copy artifacts from *source* to *target*; see :func:`chuk_artifacts.migrate`."""
    source.unbound_core("migrate")
    return _migrate_into(target, source, terms, callback)


@operation
def _migrate_into(target: Scope, source: Scope, terms: Terms, callback: Callback | None) -> MigrationReport:
    target.unbound_core("migrate")
    if _share_records(source.core, target.core):
        raise InvalidInputError(
            "source and target are the same store, or share a catalog: give the target one of its own"
        )
    report = _Migration(source, target, terms, callback).run()
    _log.debug("migrate %s", report.artifacts)
    return report


def _share_records(source: Core, target: Core) -> bool:
    """Return whether two stores have the same records, so that the target would seem to have everything already.

    A server may have several addresses, but its catalog has one identity.
    """
    ours, theirs = source.settings, target.settings
    if source is target:
        return True
    if ours.sandbox_id != theirs.sandbox_id or ours.session_provider != theirs.session_provider:
        return False
    places = [(one.sqlite_path, one.redis_url, one.postgres_url, one.postgres_schema) for one in (ours, theirs)]
    if source.catalog.persistent and places[0] == places[1]:
        return True
    if ours.sqlite_path is not None:
        return False
    identity_of_source = source.catalog.identity()
    return identity_of_source is not None and identity_of_source == target.catalog.identity()


def _share_storage(source: Core, target: Core) -> bool:
    """Return whether both stores keep their bytes in one place, with the same rights."""
    if source.storage is target.storage:
        return True
    places = [
        (one.storage_provider, one.fs_root, one.bucket, one.url, one.storage_options)
        for one in (source.settings, target.settings)
    ]
    return source.storage.persistent and places[0] == places[1]


class _Original(NamedTuple):
    """An artifact of the source, and the user of its session."""

    record: ArtifactMetadata
    user_id: str | None


@attrs.frozen
class _Copied:
    """An artifact whose bytes are in the target.

    Attributes:
        record: its new record.
        keys: the keys that were written.
        bytes: the length of what was copied.

    """

    record: ArtifactMetadata
    keys: list[str]
    bytes: int


@attrs.frozen
class _Portion:
    """Artifacts that are copied together.

    Attributes:
        copies: each artifact to copy, and the call that copies it.
        last: whether an artifact that changed meanwhile is not copied again.
        begun: when this began, in seconds since the epoch.

    """

    copies: list[tuple[_Original, Call[_Copied]]]
    last: bool
    begun: float


class _Migration:
    """A migration, which counts what it does.

    Args:
        source: where artifacts are read.
        target: where they are copied to.
        terms: the options.
        callback: receives the number of bytes in all, then those of the artifacts that are done.

    """

    def __init__(self, source: Scope, target: Scope, terms: Terms, callback: Callback | None) -> None:
        self._source = source
        self._target = target
        self._terms = terms
        self._callback = callback
        self._shares_storage = _share_storage(source.core, target.core)
        self._is_remote = source.core.storage.remote or target.core.storage.remote
        self._counts: dict[str, int] = dict.fromkeys(_COUNTED, 0)
        self._failures: dict[str, str] = {}
        self._threads = Threads(terms.max_workers, "chuk-artifacts-migrate")
        self._calls: list[Call[_Copied]] = []
        self._lost = 0  # failures of the storage since the last success

    def run(self) -> MigrationReport:
        """Copy everything, and return the report."""
        source, target = self._source.core, self._target.core
        if self._callback is not None:
            self._callback.set_size(self._size())
        if not (self._terms.dry_run or target.identified):
            identity.establish(target)
        before: _Portion | None = None
        try:
            for infos, originals in self._portions():
                self._merge_sessions(infos)
                begun = self._begin(originals)
                if before is not None:
                    self._end(before)
                before = begun
            if before is not None:
                self._end(before)
        except BaseException:
            give_up(self._calls)
            raise
        finally:
            self._threads.close()
        if self._terms.sessions is None:
            self._counts["damaged"] = source.catalog.verify()
        return MigrationReport(**self._counts, failures=self._failures)

    # What there is

    def _size(self) -> int:
        """Return the number of bytes that there are to copy, including those that the target has."""
        ids: Sequence[str | None] = (None,) if self._terms.sessions is None else self._terms.sessions
        return sum(self._source.core.catalog.usage(session_id).bytes for session_id in ids)

    def _portions(self) -> Iterator[tuple[list[SessionInfo], list[_Original]]]:
        """Yield sessions and artifacts of the source, a few hundred at a time."""
        infos: list[SessionInfo] = []
        originals: list[_Original] = []
        for info in self._infos():
            infos.append(info)
            for record in itertools.chain.from_iterable(pages_of(self._source, info.session_id, 0)):
                originals.append(_Original(record, info.user_id))
                if len(originals) == _AT_ONCE:
                    yield infos, originals
                    infos, originals = [], []
            if len(infos) == _AT_ONCE:
                yield infos, originals
                infos, originals = [], []
        yield infos, originals

    def _infos(self) -> Iterator[SessionInfo]:
        if self._terms.sessions is None:
            yield from all_sessions(self._source)
            return
        for session_id in self._terms.sessions:
            core = self._source.open_core
            info = core.catalog.get_session(session_id, core.clock())
            if info is None:
                self._counts["failed"] += 1
                self._note(session_id, "there is no such session")
            else:
                yield info

    def _merge_sessions(self, infos: Sequence[SessionInfo]) -> None:
        core = self._target.open_core
        self._counts["sessions"] += len(infos)
        moved = {info.session_id: self._moved_session(info) for info in infos}
        if moved and not self._terms.dry_run:
            merged = core.catalog.merge_sessions([*moved.values()], now=core.clock(), prefer_given=True)
            facts.keep_each(core, itertools.compress(moved.values(), merged))

    def _moved_session(self, info: SessionInfo) -> SessionInfo:
        metadata = arguments.copy_json(info.custom_metadata)
        return info.changed(sandbox_id=self._target.core.settings.sandbox_id, custom_metadata=metadata)

    # Copy

    def _begin(self, originals: Sequence[_Original], *, last: bool = False) -> _Portion:
        """Begin to copy the artifacts that the target lacks."""
        core, now = self._target.core, self._source.core.clock()
        living = [original for original in originals if self._can_be_copied(original.record, now)]
        moved = [self._moved(original.record) for original in living]
        known = known_records(core, [record.artifact_id for record in moved])
        copies = []
        for original, new, there in zip(living, moved, known, strict=True):
            if there is not None and there.revision >= new.revision:
                self._done(original.record, "present" if _state(there) == _state(new) else "newer")
            elif self._terms.dry_run:
                self._counts["bytes"] += sum({one.key: one.bytes for one in _versions(new)}.values())
                self._done(original.record, "artifacts")
            else:
                copies.append((original, self._start(original, new, there)))
        return _Portion(copies, last, core.clock())

    def _can_be_copied(self, record: ArtifactMetadata, now: float) -> bool:
        """Return whether a record is a living artifact; count it otherwise."""
        if record.pending is not None and not record.released:
            self._done(record, "uploads")
        elif record.released or is_over(record.expires_at, now):
            self._done(record, "expired")
        else:
            return True
        return False

    def _moved(self, record: ArtifactMetadata) -> ArtifactMetadata:
        """Return a record of the source as it will be in the target, with the earlier contents that are kept."""
        source, target = self._source.core, self._target.core
        sandbox_id, session_id = target.settings.sandbox_id, record.session_id
        kept = tuple(
            earlier._replace(key=grid.key_in(sandbox_id, session_id, earlier.key))
            for earlier in record.superseded
            if earlier.kept
        )
        return public(source, record).changed(
            artifact_id=grid.artifact_id_in(sandbox_id, session_id, record.artifact_id),
            sandbox_id=sandbox_id,
            key=grid.key_in(sandbox_id, session_id, record.key),
            superseded=kept,
            storage_provider=target.storage.provider,
            session_provider=target.catalog.provider,
        )

    def _start(self, original: _Original, new: ArtifactMetadata, there: ArtifactMetadata | None) -> Call[_Copied]:
        """Start to copy an artifact; small contents of two local storages are copied here and now."""
        call: Call[_Copied] = Call(self._copy, original, new, there)
        self._calls.append(call)
        if self._is_remote or original.record.occupied > _IN_MEMORY:
            self._threads.start(call)
            return call
        call.run()
        interrupt = call.exception()
        if interrupt is not None and not isinstance(interrupt, Exception):
            raise interrupt
        return call

    def _copy(self, original: _Original, new: ArtifactMetadata, there: ArtifactMetadata | None) -> _Copied:
        """Copy the contents of an artifact that the target lacks. This runs in a thread."""
        core = self._target.core
        quota.check_size(core, new.bytes)
        quota.admit(core, new.session_id, (), new.occupied - (0 if there is None else there.occupied))
        present = {} if there is None else _hashes(there)
        if any(present.get(key, sha256) != sha256 for key, sha256 in _hashes(new).items()):
            raise ArtifactStoreError("the target has other bytes under the key of one of its contents")
        copied: dict[str, int] = {}
        for before, after in zip(_versions(original.record), _versions(new), strict=True):
            if after.key in present or after.key in copied:
                continue
            self._transfer(before, after, original.user_id)
            copied[after.key] = after.bytes
        return _Copied(new if there is None else _over(there, new, core.clock()), [*copied], sum(copied.values()))

    def _transfer(self, before: ArtifactMetadata, after: ArtifactMetadata, user_id: str | None) -> None:
        """Copy one content, verified."""
        source, target = self._source.core.storage, self._target.core

        def about(_: str, size: int | None) -> Description:
            return description(after, size, user_id)

        if self._shares_storage and before.key == after.key:
            found = measured(target, after.key, after.bytes, None)
        elif self._shares_storage:
            known = target.storage.copy(before.key, after.key, after.bytes, hashed=True, about=about)
            found = measured(target, after.key, after.bytes, known)
        elif before.bytes <= _IN_MEMORY:
            found = target.storage.put(after.key, source.get(before.key), about=about)
        else:
            found = target.storage.put(after.key, self._stream(before), about=about)
        if found != (after.bytes, after.sha256):
            if before.key != after.key or not self._shares_storage:
                discard(target, [after.key])
            raise corrupted(before)

    def _stream(self, record: ArtifactMetadata) -> Stream:
        storage = self._source.core.storage

        def begin() -> Iterator[bytes]:
            file = storage.open(record.key, record.bytes)
            return chunks_of(record, file, 0, None, CHUNK_SIZE, verify=False)

        return Stream(begin, rewindable=True, measure=lambda: record.bytes)

    # Record

    def _end(self, portion: _Portion) -> None:
        """Wait for the copies of a portion, and add their records."""
        copied: list[tuple[_Original, _Copied | None]] = []
        errors: list[ProviderError] = []
        for original, call in portion.copies:
            error = call.exception()
            if error is None:
                copied.append((original, call.result()))
            elif isinstance(error, ObjectMissingError):
                copied.append((original, None))
            elif isinstance(error, ArtifactStoreError):
                self._lose(original.record, str(error))
                errors += [error] if isinstance(error, ProviderError) else []
            else:
                raise error
        self._calls = [call for call in self._calls if not call.done()]
        self._check_outage(errors, is_lost=not copied)
        self._record(copied, portion)

    def _check_outage(self, errors: Sequence[ProviderError], *, is_lost: bool) -> None:
        """Raise if a storage does not answer, or refuses everything: if *is_lost*, nothing was copied."""
        if not is_lost:
            self._lost = 0
        elif errors:
            self._lost += len(errors)
            for core in (self._source.core, self._target.core):
                core.storage.stat(f"{grid.identity_prefix(core.settings.sandbox_id)}{'0' * 32}")
            if self._lost >= _MOST_IN_A_ROW:
                raise errors[0]

    def _record(self, copied: Sequence[tuple[_Original, _Copied | None]], portion: _Portion) -> None:
        """Add the records of copies whose originals have not changed meanwhile; copy the others once more."""
        present = known_records(self._source.core, [original.record.artifact_id for original, _ in copied])
        good: list[tuple[ArtifactMetadata, _Copied]] = []
        again: list[_Original] = []
        for (original, copy), now in zip(copied, present, strict=True):
            record = original.record
            is_there = now is not None and not now.released
            if now is not None and is_there and now.revision == record.revision:
                if copy is None:
                    self._lose(record, "its bytes are gone from the storage of the source")
                else:
                    good.append((record, copy))
                continue
            if copy is not None:
                self._discard(copy)
            if now is not None and is_there and not portion.last:
                again.append(original._replace(record=now))
            else:
                self._done(record, "altered")
        self._add(good, portion.begun)
        if again:
            self._end(self._begin(again, last=True))

    def _add(self, copied: Sequence[tuple[ArtifactMetadata, _Copied]], begun: float) -> None:
        """Add records to the target."""
        core = self._target.open_core
        check_bytes(core, [key for _, copy in copied for key in copy.keys], begun)
        if not copied:
            return
        merged = core.catalog.merge([copy.record for _, copy in copied], now=core.clock(), replace_older=True)
        for (record, copy), is_merged in zip(copied, merged, strict=True):
            self._counts["bytes"] += copy.bytes
            self._done(record, "artifacts" if is_merged else "newer")

    def _discard(self, copy: _Copied) -> None:
        """Remove what was copied of an artifact, unless a record of the target refers to it."""
        (there,) = known_records(self._target.core, [copy.record.artifact_id])
        used = {} if there is None else there.all_bytes
        discard(self._target.core, [key for key in copy.keys if key not in used])

    def _done(self, record: ArtifactMetadata, count: str) -> None:
        self._counts[count] += 1
        if self._callback is not None:
            self._callback.relative_update(record.occupied)

    def _lose(self, record: ArtifactMetadata, reason: str) -> None:
        self._done(record, "failed")
        self._note(record.artifact_id, reason)

    def _note(self, name: str, reason: str) -> None:
        if len(self._failures) < _SHOWN_FAILURES:
            self._failures[name] = reason


def _versions(record: ArtifactMetadata) -> list[ArtifactMetadata]:
    """Return a record with each content that is kept for good, and with its own, which comes last."""
    return [*(_with(record, earlier) for earlier in record.superseded if earlier.kept), record]


def _with(record: ArtifactMetadata, earlier: Superseded) -> ArtifactMetadata:
    return with_content(record, earlier).changed(revision=earlier.revision, updated_at=earlier.stored_at)


def _state(record: ArtifactMetadata) -> tuple[int, str, str]:
    """Return what two records of an artifact share that are the same revision of it."""
    return record.revision, record.sha256, record.updated_at


def _hashes(record: ArtifactMetadata) -> dict[str, str]:
    """Return the SHA-256 of the content at each key of a record, where it is known."""
    return {
        **{earlier.key: earlier.sha256 for earlier in record.superseded if earlier.sha256},
        record.key: record.sha256,
    }


def _over(there: ArtifactMetadata, new: ArtifactMetadata, now: float) -> ArtifactMetadata:
    """Return *new*, which replaces the record *there*, whose other contents stay readable for a while."""
    keys = new.all_bytes
    earlier = (*there.superseded, superseded_by_next(there, origin_of(there), now))
    rest = [one._replace(kept=False) for one in earlier if one.key not in keys]
    return new.changed(superseded=tuple(sorted((*rest, *new.superseded), key=lambda one: one.revision)))

"""Reading artifacts: look up the record, then fetch its bytes and verify them."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from chuk_artifacts import arguments
from chuk_artifacts.errors import (
    ArtifactCorruptedError,
    ArtifactNotFoundError,
    FileTakenError,
    InvalidInputError,
    shown,
)
from chuk_artifacts.folders import claim
from chuk_artifacts.listings import Listing
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata, ArtifactVersion
from chuk_artifacts.operations.calls import SIGNALS, operation, operation_of, public_error
from chuk_artifacts.operations.finding import find, find_all, find_named
from chuk_artifacts.operations.history import content_at, versions_of
from chuk_artifacts.operations.kept import Kept, not_kept
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.source import CHUNK_SIZE
from chuk_artifacts.storage import ObjectMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec.callbacks import Callback

_FEW_BYTES = 64 * 1024
"""A file of at most so many bytes is read whole when it is opened by its path: cheaper than to keep it open."""
BatchItem: TypeAlias = "str | ArtifactMetadata | tuple[str, int | None]"
"""An item of a batch that is read: an id, metadata that a store returned earlier, or an id and a revision."""

# By id, or by metadata that a store returned earlier


@operation
def retrieve(scope: Scope, artifact: str | ArtifactMetadata, revision: int | None = None) -> bytes:
    """Return the bytes of an artifact, verified."""
    record, exact = readable(scope, "retrieve %s", artifact, revision)
    return _content(scope, record, exact=exact)


@operation
def retrieve_batch(scope: Scope, artifacts: Iterable[BatchItem]) -> list[bytes]:
    """Return the bytes of several artifacts, verified; fetch them concurrently where that pays."""
    now = scope.core.clock()
    wanted = [_wanted_item(item, now) for item in arguments.check_items("artifact_ids", artifacts)]
    ids = [artifact_id for artifact_id, _ in wanted]
    _log.debug("retrieve_batch %s", ids)
    records = [
        (record if select is None else select(record), select is not None)
        for record, (_, select) in zip(find_all(scope, ids), wanted, strict=True)
    ]
    return scope.core.each(lambda one: _content(scope, one[0], exact=one[1]), records, lambda one: one[0].bytes)


def _wanted_item(item: Any, now: float) -> tuple[Any, Callable[[ArtifactMetadata], ArtifactMetadata] | None]:
    """Return the id in an item of a batch, and what selects the wanted content of its record; None: the current one."""
    if isinstance(item, ArtifactMetadata):
        kept = Kept.of(item)
        return kept.artifact_id, kept.content_of
    if not isinstance(item, tuple):
        return item, None
    if len(item) != 2 or isinstance(item[0], ArtifactMetadata):  # noqa: PLR2004 - a pair
        raise InvalidInputError("artifact_ids: an item must be an id, metadata, or a pair (id, revision)")
    artifact_id, revision = item
    if revision is None:
        return artifact_id, None
    return artifact_id, partial(content_at, revision=arguments.check_count("revision", revision, 1), now=now)


@operation_of("open")
def open_reader(scope: Scope, artifact: str | ArtifactMetadata, revision: int | None = None) -> BinaryIO:
    """Return a seekable binary reader of an artifact."""
    record, exact = readable(scope, "open %s", artifact, revision)
    return _opened(scope, record, exact=exact)[1]


@operation
def stream(
    scope: Scope,
    artifact: str | ArtifactMetadata,
    start: int,
    end: int | None,
    chunk_size: int,
    *,
    revision: int | None = None,
) -> Iterator[bytes]:
    """Iterate over a range of an artifact in chunks; a whole artifact is verified."""
    record, exact = readable(scope, "stream %s", artifact, revision)
    return _chunks(scope, record, start, end, chunk_size, exact=exact)


@operation
def download(
    scope: Scope,
    artifact: str | ArtifactMetadata,
    path: str | os.PathLike[str],
    callback: Callback | None,
    *,
    overwrite: bool,
    revision: int | None = None,
) -> Path:
    """Write an artifact to a local file, verified and atomically."""
    record, exact = readable(scope, "download %s", artifact, revision)
    target, is_claimed = _target(record, path, overwrite=overwrite)
    return _save(scope, record, target, callback, exact=exact, is_claimed=is_claimed)


@operation
def versions(scope: Scope, artifact_id: str) -> Listing[ArtifactVersion]:
    """Return the contents of an artifact that can be read, the newest first."""
    _log.debug("versions %s", artifact_id)
    return Listing(versions_of(find(scope, artifact_id), scope.core.clock()))


@operation
def record_at(scope: Scope, artifact_id: str, revision: int) -> ArtifactMetadata:
    """Return the record of an artifact, with the content of a revision."""
    return content_at(find(scope, artifact_id), revision, scope.core.clock())


# By session and name, as a path has them


@operation
def named_content(
    scope: Scope,
    session_id: str,
    name: str,
    start: int | None = None,
    end: int | None = None,
    *,
    revision: int | None = None,
) -> bytes | None:
    """Return the bytes of the file that a path leads to, or a slice of them; None if it leads to no file.

    All bytes are verified, a slice only by the length of the whole.
    """
    found = _named(scope, session_id, name, revision)
    if not found:
        return None
    record, exact = found[0], revision is not None
    if start is None and end is None:
        return _content(scope, record, exact=exact)
    begin, stop, _step = slice(start, end).indices(record.bytes)
    return b"".join(_chunks(scope, record, begin, stop, stop - begin, exact=exact)) if begin < stop else b""


@operation
def open_named(
    scope: Scope, session_id: str, name: str, revision: int | None = None
) -> tuple[list[ArtifactMetadata], BinaryIO] | None:
    """Return the artifacts that a path leads to, the newest first, and a reader of that; None if it leads to no file.

    The first record is the one that is read: that of *revision*, or else the latest, which may be a later one than the
    catalog returned at first. A small file is read at once, and verified.
    """
    found = _named(scope, session_id, name, revision)
    if not found:
        return None
    record, exact = found[0], revision is not None
    if record.bytes <= _FEW_BYTES:
        found[0], data = _loaded(scope, record, exact=exact)
        return found, io.BytesIO(data)
    found[0], file = _opened(scope, record, exact=exact)
    return found, file


def _named(scope: Scope, session_id: str, name: str, revision: int | None) -> list[ArtifactMetadata]:
    """Return the artifacts that a path leads to, the newest first, that with the content of a revision if one is given.

    Raises:
        InvalidInputError: *revision* is not an int above 0.
        ArtifactNotFoundError: the content of *revision* is not kept.

    """
    if revision is None:
        return find_named(scope, session_id, name)
    revision = arguments.check_count("revision", revision, 1)
    found = find_named(scope, session_id, name)
    return [at_revision(scope, found[0], revision), *found[1:]] if found else []


# By a record that the caller has just found in the same scope


@operation
def open_record(
    scope: Scope, record: ArtifactMetadata, *, start: int = 0, exact: bool = False
) -> tuple[ArtifactMetadata, BinaryIO]:
    """Return the record that is read (*record*, or a later revision unless *exact*) and a reader at *start*."""
    return _opened(scope, record, start=start, exact=exact)


@operation
def path_of(scope: Scope, record: ArtifactMetadata) -> str | None:
    """Return the absolute path of the local file of a record's bytes, or None where another program can't trust it."""
    return scope.core.storage.path(record.key)


@operation
def retrieve_record(scope: Scope, record: ArtifactMetadata, *, exact: bool = False) -> bytes:
    """Return the bytes of a record, verified; those of a later revision unless *exact*."""
    return _content(scope, record, exact=exact)


@operation
def stream_record(
    scope: Scope,
    record: ArtifactMetadata,
    start: int = 0,
    end: int | None = None,
    chunk_size: int = CHUNK_SIZE,
    *,
    exact: bool = False,
) -> Iterator[bytes]:
    """Iterate over a range of a record's bytes in chunks; over those of a later revision unless *exact*."""
    return _chunks(scope, record, start, end, chunk_size, exact=exact)


@operation
def download_record(
    scope: Scope,
    record: ArtifactMetadata,
    path: str | os.PathLike[str],
    callback: Callback | None,
    *,
    exact: bool = False,
) -> Path:
    """Write the bytes of a record to a local file, verified, atomically; those of a later revision unless *exact*."""
    target, is_claimed = _target(record, path, overwrite=False)
    return _save(scope, record, target, callback, exact=exact, is_claimed=is_claimed)


def at_revision(scope: Scope, record: ArtifactMetadata, revision: int | None) -> ArtifactMetadata:
    """Return *record* with the content of a revision; None: as it is.

    Raises:
        ArtifactNotFoundError: the content is not kept.

    """
    return record if revision is None else content_at(record, revision, scope.core.clock())


def readable(
    scope: Scope, line: str, artifact: str | ArtifactMetadata, revision: int | None
) -> tuple[ArtifactMetadata, bool]:
    """Return the catalog's record of an artifact, and whether the caller requested exactly its bytes.

    Metadata in an argument is not trusted: see :mod:`~chuk_artifacts.operations.kept`.
    """
    if revision is not None:
        revision = arguments.check_count("revision", revision, 1)
        if isinstance(artifact, ArtifactMetadata):
            raise InvalidInputError("metadata selects a revision already: pass the artifact_id with revision")
        _log.debug(line, artifact)
        return record_at(scope, artifact, revision), True
    if isinstance(artifact, str) or not isinstance(artifact, ArtifactMetadata):
        _log.debug(line, artifact)
        return find(scope, artifact), False
    wanted = Kept.of(artifact)
    _log.debug(line, wanted.artifact_id)
    return wanted.content_of(find(scope, wanted.artifact_id)), True


def latest(scope: Scope, record: ArtifactMetadata, *, exact: bool = False) -> ArtifactMetadata:
    """Return the latest record of an artifact, after the bytes of *record* were not found.

    Raises:
        ArtifactNotFoundError: *exact* asks for those very bytes, or the record has not changed.

    """
    found = find(scope, record.artifact_id)
    if exact and found.key != record.key:
        raise not_kept(record) from None
    if found.key == record.key:
        raise ArtifactNotFoundError(f"artifact {record.artifact_id}: its bytes are gone from the storage") from None
    return found


def corrupted(record: ArtifactMetadata) -> ArtifactCorruptedError:
    """Return the error for bytes that do not match their record."""
    return ArtifactCorruptedError(f"artifact {record.artifact_id}: the stored bytes do not match its record")


def chunks_of(
    record: ArtifactMetadata, file: BinaryIO, start: int, end: int | None, chunk_size: int, *, verify: bool = True
) -> Generator[bytes, None, None]:
    """Read a range of the bytes of *record* from *file*, positioned at *start*, then close the file.

    A whole artifact is verified unless *verify* is False.
    """
    stop = record.bytes if end is None else min(end, record.bytes)
    digest = hashlib.sha256() if verify and start == 0 and stop == record.bytes else None
    with file:
        position = start
        while position < stop:
            chunk = file.read(min(chunk_size, stop - position))
            if not chunk:
                raise corrupted(record)
            position += len(chunk)
            if digest is not None:
                digest.update(chunk)
            yield chunk
    if digest is not None and digest.hexdigest() != record.sha256:
        raise corrupted(record)


def _content(scope: Scope, record: ArtifactMetadata, *, exact: bool = False) -> bytes:
    return _loaded(scope, record, exact=exact)[1]


def _loaded(scope: Scope, record: ArtifactMetadata, *, exact: bool) -> tuple[ArtifactMetadata, bytes]:
    """Return the record that is read (*record*, or a later revision unless *exact*) and its bytes, verified."""
    try:
        data = scope.core.storage.get(record.key)
    except ObjectMissingError:
        return _loaded(scope, latest(scope, record, exact=exact), exact=False)
    if len(data) != record.bytes or hashlib.sha256(data).hexdigest() != record.sha256:
        raise corrupted(record)
    return record, data


def _opened(
    scope: Scope, record: ArtifactMetadata, *, start: int = 0, exact: bool = False
) -> tuple[ArtifactMetadata, BinaryIO]:
    begin = min(start, record.bytes)  # some systems can't seek much further
    try:
        file = scope.core.storage.open(record.key, record.bytes, start=begin)
    except ObjectMissingError:  # the next revision may be longer: it gets the caller's own *start*
        return _opened(scope, latest(scope, record, exact=exact), start=start)
    except SIGNALS as error:  # an iterator opens after its call has ended
        raise public_error(error) from error
    size = file.seek(0, os.SEEK_END)
    file.seek(begin)
    if size != record.bytes:
        file.close()
        raise corrupted(record)
    return record, file


def _chunks(
    scope: Scope, record: ArtifactMetadata, start: int, end: int | None, chunk_size: int, *, exact: bool = False
) -> Iterator[bytes]:
    yield from chunks_of(*_opened(scope, record, start=start, exact=exact), start, end, chunk_size)


def _target(record: ArtifactMetadata, path: str | os.PathLike[str], *, overwrite: bool) -> tuple[Path, bool]:
    """Return the file that a download writes, and whether it must not exist, as its name came from the artifact."""
    from pathlib import Path  # noqa: PLC0415 - importing it takes longer than importing this package

    target = Path(arguments.check_path("path", path))
    is_folder = target.is_dir()
    if is_folder:
        target /= record.artifact_id if record.filename is None else arguments.name_in_folder(record.filename)
    if not target.parent.is_dir():
        raise InvalidInputError(f"path: the folder {shown(str(target.parent))} does not exist")
    is_claimed = is_folder and not overwrite
    if is_claimed and os.path.lexists(target):  # fail before the first byte is read
        raise _taken(target)
    return target, is_claimed


def _save(
    scope: Scope,
    record: ArtifactMetadata,
    target: Path,
    callback: Callback | None,
    *,
    exact: bool = False,
    is_claimed: bool = False,
) -> Path:
    """Write the bytes of a record to *target*, which must not exist yet if *is_claimed* is set."""
    if callback is not None:
        callback.set_size(record.bytes)
    part = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with part.open("xb") as file:
            for chunk in _chunks(scope, record, 0, None, CHUNK_SIZE, exact=exact):
                file.write(chunk)
                if callback is not None:
                    callback.relative_update(len(chunk))
        if is_claimed:
            claim(str(part), str(target))
        else:
            part.replace(target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if is_claimed and isinstance(error, FileExistsError):
            raise _taken(target) from error
        raise
    return target


def _taken(target: Path) -> FileTakenError:
    return FileTakenError(f"{shown(str(target))} exists: name another file, or replace it (overwrite=True, --force)")

"""Records as catalogs store them: decoding what is stored, and the sequence in which records are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from chuk_artifacts import grid
from chuk_artifacts.arguments import OCTET_STREAM
from chuk_artifacts.errors import SessionError
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, is_over, timestamp

T = TypeVar("T")
R = TypeVar("R")

DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What decoding may raise for a record that was damaged, or that this library did not write."""

_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)  # code points that UTF-8 can't encode


def salvaged(
    sandbox_id: str,
    session_id: str,
    artifact_id: str,
    *,
    provider: str,
    filename: str | None = None,
    bytes: int = 0,
    revision: int = 1,
    expires_at: str | None = None,
) -> ArtifactMetadata:
    """Return a stand-in for a record that can't be decoded, built from the keys and columns it was stored under.

    Its storage key is that of the first content. Those of later contents are lost; an orphan sweep finds the bytes.
    """
    return ArtifactMetadata(
        artifact_id=artifact_id,
        session_id=session_id,
        sandbox_id=sandbox_id,
        key=grid.artifact_key(sandbox_id, session_id, artifact_id),
        mime=OCTET_STREAM,
        summary="",
        meta={},
        filename=filename,
        bytes=bytes,
        sha256="",
        stored_at=timestamp(0),
        updated_at=timestamp(0),
        expires_at=expires_at,
        ttl=None,
        revision=revision,
        storage_provider="",
        session_provider=provider,
    )


def decoded(stored: T, decode: Callable[[T], R]) -> R:
    """Return ``decode(stored)``; raise ``SessionError`` if what is stored is damaged."""
    try:
        return decode(stored)
    except DAMAGE as error:
        raise damaged_record(error) from error


def damaged_record(error: Exception) -> SessionError:
    """Return the error for a stored record whose decoding raised *error*, one of :data:`DAMAGE`."""
    return SessionError(f"catalog: a record is damaged: {type(error).__name__}: {error}")


def decode_record(text: str, artifact_id: str, sandbox_id: str) -> ArtifactMetadata:
    """Return the record in a JSON text; raise one of :data:`DAMAGE` if it is invalid or belongs elsewhere."""
    record = ArtifactMetadata.from_json(text)
    if record.artifact_id != artifact_id or record.sandbox_id != sandbox_id:
        raise _misfiled(record, artifact_id, sandbox_id)
    return record


def decode_records(
    texts: Sequence[str], artifact_ids: Sequence[str], sandbox_id: str, session_id: str | None = None
) -> list[ArtifactMetadata]:
    """Return the records in JSON texts; raise one of :data:`DAMAGE` if one is invalid or belongs elsewhere.

    Args:
        texts: the texts.
        artifact_ids: the ids they are stored under.
        sandbox_id: the sandbox that the catalog is bound to.
        session_id: the session they are listed in; None if they may come from any.

    """
    read_one = len(texts) == 1  # takes half as long as a list of one
    records = [ArtifactMetadata.from_json(texts[0])] if read_one else ArtifactMetadata.from_jsons(texts)
    for record, artifact_id in zip(records, artifact_ids, strict=True):
        if record.artifact_id != artifact_id or record.sandbox_id != sandbox_id:
            raise _misfiled(record, artifact_id, sandbox_id)
        if record.session_id != session_id and session_id is not None:
            raise _misfiled(record, artifact_id, session_id)
    return records


def _misfiled(record: ArtifactMetadata, *stored_under: str) -> ValueError:
    fields = record.artifact_id, record.sandbox_id, record.session_id
    return ValueError(f"stored under {stored_under!r:.200}, but its fields are {fields!r:.200}")


def decode_session(text: str, expires_at: str | None, session_id: str, sandbox_id: str) -> SessionInfo:
    """Return the session in a JSON text, with its end *expires_at*; raise as :func:`decode_record` does."""
    info = SessionInfo.restored({**SessionInfo.from_json(text).__dict__, "expires_at": expires_at})
    if info.session_id != session_id or info.sandbox_id != sandbox_id:
        raise ValueError(f"stored under {session_id!r:.80}, but its session_id is {info.session_id!r:.80}")
    return info


def decode_sound(
    stored: Sequence[T], decode: Callable[[Sequence[T]], list[R]], name: Callable[[T], str]
) -> tuple[list[R], list[T]]:
    """Decode many stored records; return the sound ones decoded, and the damaged ones as they are stored.

    Damaged records are logged as a warning with their ids, which *name* returns.
    """
    try:
        return decode(stored), []  # all at once, because that is several times faster
    except DAMAGE:
        pass
    sound, damaged = [], []
    for one in stored:
        try:
            sound += decode([one])
        except DAMAGE:
            damaged.append(one)
    _log.warning("damaged records were skipped: %s", list(map(name, damaged)))
    return sound, damaged


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield *items* in slices of at most *size*."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def place(record: ArtifactMetadata) -> tuple[str, str]:
    """Return the sort key of *record* in the listing of its session: its place."""
    return record.filename or "", record.artifact_id


def takes_filename(record: ArtifactMetadata, now: float) -> bool:
    """Return whether *record* keeps others from its filename: not once expired, nor while its bytes are pending."""
    return record.pending is None and not is_over(record.expires_at, now)


def can_merge(record: ArtifactMetadata, revisions: Mapping[str, int], *, replace_older: bool) -> bool:
    """Return whether a catalog merges *record*, given the revisions of its records by id."""
    revision = revisions.get(record.artifact_id)
    return revision is None or (replace_older and revision < record.revision)


def has_artifact(records: Sequence[ArtifactMetadata]) -> bool | None:
    """Return whether there is an artifact among records; None if all of them are pending."""
    for record in records:
        if record.pending is None:
            return True
    return None if records else False


def counted(record: ArtifactMetadata) -> tuple[int, int]:
    """Return how many artifacts (0 or 1) and bytes *record* adds to the usage of its session.

    A pending record adds nothing, and a released one nothing any more. An expired one counts until it is released.
    """
    if record.pending is not None or record.released:
        return 0, 0
    return 1, record.occupied if record.superseded else record.bytes


def sizes_by_session(records: Iterable[ArtifactMetadata]) -> dict[str, int]:
    """Return how many bytes *records* add to the usage of each session."""
    sizes: dict[str, int] = {}
    for record in records:
        sizes[record.session_id] = sizes.get(record.session_id, 0) + counted(record)[1]
    return sizes


def filed(record: ArtifactMetadata) -> tuple[int, int]:
    """Return what :func:`counted` returns for a record that keeps one content, from the columns it is stored with.

    A pending record has the revision 0. A released one is due after its end.
    """
    due, ends = record.due, record.expires_at
    is_kept = record.revision > 0 and (due is None or ends is None or due <= ends)
    return (1, record.bytes) if is_kept else (0, 0)


def is_filed(record: ArtifactMetadata) -> bool:
    """Return whether :func:`counted` and :func:`filed` agree on a record."""
    return not (record.superseded or record.released) or counted(record) == filed(record)


def prefix_end(prefix: str) -> str | None:
    """Return the smallest text greater than all that begin with *prefix*, by code points; None if there is no such."""
    while prefix:
        following = ord(prefix[-1]) + 1
        prefix = prefix[:-1]
        if following <= _LAST_CODE_POINT:
            return prefix + chr(_SURROGATES.stop if following in _SURROGATES else following)
    return None

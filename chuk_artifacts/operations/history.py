"""The contents that an artifact had: which are kept, which a revision had, what is known of each."""

from __future__ import annotations

from collections.abc import Sequence

from chuk_artifacts.errors import ArtifactNotFoundError
from chuk_artifacts.fields import JsonObject
from chuk_artifacts.models import (
    GRACE_SECONDS,
    ArtifactMetadata,
    ArtifactVersion,
    Origin,
    Superseded,
    is_over,
    timestamp,
)
from chuk_artifacts.usual import LARGEST

MAX_SUPERSEDED = 16
"""The maximum number of earlier contents that one artifact keeps for an hour."""


def origin_of(record: ArtifactMetadata) -> Origin:
    """Return since when an artifact has its content.

    The records of an earlier version of this library do not contain this. If the content was replaced, nothing shows
    when, and only the present revision surely has it.
    """
    if record.origin is not None:
        return record.origin
    if record.revision == 1 or _is_first(record):
        return Origin(1, record.stored_at, None)
    return Origin(record.revision, record.updated_at, None)


def is_lost(record: ArtifactMetadata) -> bool:
    """Return whether the next revision of *record* must contain its origin, because nothing else shows it."""
    return record.origin is None and not _is_first(record)


def _is_first(record: ArtifactMetadata) -> bool:
    """Return whether the key is that of the first content, which needs no number."""
    return record.key.endswith(record.artifact_id)


def superseded_by_next(record: ArtifactMetadata, origin: Origin, now: float) -> Superseded:
    """Return the present content of an artifact, with its *origin*, as an earlier one for its next revision to keep."""
    # by position, which takes half as long as by name
    return Superseded(
        record.key,
        timestamp(now + GRACE_SECONDS),
        record.bytes,
        False,
        origin.revision,
        record.revision,
        record.sha256,
        record.mime,
        record.filename,
        origin.stored_at,
    )


def retained(superseded: Sequence[Superseded], number: int, moment: str) -> tuple[Superseded, ...]:
    """Return the earlier contents to keep at a moment, oldest first: the last *number* for good, others an hour."""
    if number or any([earlier.kept for earlier in superseded]):  # noqa: C419 - twice as fast as a generator
        superseded = _marked(superseded, number)
    return split_superseded(superseded, moment)[0]


def _marked(superseded: Sequence[Superseded], number: int) -> list[Superseded]:
    """Mark the last *number* earlier contents as kept, and no others."""
    known = [earlier.revision for earlier in superseded if earlier.revision]
    first = known[-min(number, len(known))] if number and known else LARGEST
    marked = []
    for earlier in superseded:
        kept = earlier.revision >= first
        marked.append(earlier if earlier.kept == kept else earlier._replace(kept=kept))
    return marked


def split_superseded(
    superseded: Sequence[Superseded], moment: str
) -> tuple[tuple[Superseded, ...], tuple[Superseded, ...]]:
    """Split earlier contents into those to keep at a moment, and those to drop: not kept, and over or too many."""
    surplus = len(superseded) - MAX_SUPERSEDED
    kept: list[Superseded] = []
    dropped: list[Superseded] = []
    for index, earlier in enumerate(superseded):
        stays = earlier.kept or (index >= surplus and earlier.until > moment)
        (kept if stays else dropped).append(earlier)
    return tuple(kept), tuple(dropped)


def versions_of(record: ArtifactMetadata, now: float) -> list[ArtifactVersion]:
    """Return the contents of an artifact that can be read, the newest first."""
    return [ArtifactVersion(**fields) for fields in version_fields(record, now)]


def version_fields(record: ArtifactMetadata, now: float) -> list[JsonObject]:
    """Return the fields of each item of :func:`versions_of`; making the items takes three times as long."""
    origin = origin_of(record)
    current = _fields_of(record, origin.revision, origin.stored_at, current=True)
    return [
        current,
        *(
            _fields_of(earlier, earlier.revision, earlier.stored_at, current=False)
            for earlier in reversed(record.superseded)
            if _is_readable(earlier, now)
        ),
    ]


def _fields_of(content: ArtifactMetadata | Superseded, revision: int, stored_at: str, *, current: bool) -> JsonObject:
    return {
        "revision": revision,
        "bytes": content.bytes,
        "sha256": content.sha256,
        "mime": content.mime,
        "filename": content.filename,
        "stored_at": stored_at,
        "current": current,
    }


def _is_readable(earlier: Superseded, now: float) -> bool:
    return earlier.revision > 0 and (earlier.kept or not is_over(earlier.until, now))


def earlier_at(record: ArtifactMetadata, revision: int, now: float) -> Superseded | None:
    """Return the earlier content that an artifact had at a revision; None: it still has that content.

    Raises:
        ArtifactNotFoundError: there was no such revision yet, or its content is no longer kept.

    """
    if origin_of(record).revision <= revision <= record.revision:
        return None
    for earlier in record.superseded:
        if earlier.revision <= revision <= earlier.last and _is_readable(earlier, now):
            return earlier
    known = "there is no such revision" if revision > record.revision else "its content is not kept"
    raise ArtifactNotFoundError(f"artifact {record.artifact_id}, revision {revision}: {known}").about(
        artifact_id=record.artifact_id
    )


def content_at(record: ArtifactMetadata, revision: int, now: float) -> ArtifactMetadata:
    """Return *record* with the content, media type and filename of a revision; raises as :func:`earlier_at`."""
    earlier = earlier_at(record, revision, now)
    if earlier is None:
        return record
    return with_content(record, earlier)


def with_content(record: ArtifactMetadata, earlier: Superseded) -> ArtifactMetadata:
    """Return *record* with an earlier content, its media type and its filename."""
    return record.changed(
        key=earlier.key,
        bytes=earlier.bytes,
        sha256=earlier.sha256,
        mime=earlier.mime,
        filename=earlier.filename,
    )

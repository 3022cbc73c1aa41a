"""Rebuilding a record from the stored objects of an artifact and what they say of themselves.

Nothing an object says is trusted: session and artifact come from its key, its length from the listing, and its SHA-256
is verified by whoever reads it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import attrs

from chuk_artifacts.arguments import OCTET_STREAM
from chuk_artifacts.catalog.records import DAMAGE
from chuk_artifacts.core import Core
from chuk_artifacts.fields import JsonObject, decode
from chuk_artifacts.models import GRACE_SECONDS, ArtifactMetadata, Origin, Superseded, seconds_of, timestamp
from chuk_artifacts.operations.history import retained
from chuk_artifacts.source import CHUNK_SIZE
from chuk_artifacts.storage import Description, ObjectMissingError, StoredObject
from chuk_artifacts.usual import LARGEST

_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_CUT_DETAILS = frozenset({"filename", "summary", "meta"})


@attrs.frozen
class Stored:
    """The stored objects of one artifact.

    Attributes:
        session_id: its session, from the key.
        artifact_id: its id, from the key.
        objects: its contents.

    """

    session_id: str
    artifact_id: str
    objects: tuple[StoredObject, ...]


class Content(NamedTuple):
    """One content of an artifact.

    Attributes:
        object: the stored object.
        sha256: its SHA-256.
        revision: the first revision with this content; 0: not known.
        record: the record of it when it was written, but for the SHA-256, the revision and what depends on others.
        user_id: the user that the session was to belong to, or None.
        keep_versions: how many earlier contents are kept for good, or None.
        inherits: whether the artifact has the ttl of its session.
        is_whole: whether it said everything.

    """

    object: StoredObject
    sha256: str
    revision: int
    record: ArtifactMetadata
    user_id: str | None = None
    keep_versions: int | None = None
    inherits: bool = False
    is_whole: bool = False


def descriptions_of(core: Core, stored: Stored) -> list[Description | None]:
    """Return what each object of an artifact says of itself; None: nothing, or nothing that can be read.

    Raises:
        ProviderError: the storage fails.

    """
    return [_description(core, item) for item in stored.objects]


def _description(core: Core, item: StoredObject) -> Description | None:
    try:
        return core.storage.description(item.key)
    except DAMAGE:
        return None


def contents_of(core: Core, stored: Stored, descriptions: Sequence[Description | None]) -> list[Content]:
    """Return the contents of an artifact that still exist, oldest first.

    Args:
        core: the backends.
        stored: the artifact.
        descriptions: what :func:`descriptions_of` returned for it.

    Raises:
        ProviderError: the storage fails.

    """
    found = [_content(core, stored, *one) for one in zip(stored.objects, descriptions, strict=True)]
    return _in_order([content for content in found if content is not None])


def _content(core: Core, stored: Stored, item: StoredObject, description: Description | None) -> Content | None:
    """Return a content, or None if it was removed since it was listed."""
    try:
        try:
            if description is not None and (description.mime or description.details):
                return _described(core, stored, item, description)
        except DAMAGE:  # it says what no record could
            return _undescribed(core, stored, item)
        return _undescribed(core, stored, item)
    except ObjectMissingError:
        return None


def _undescribed(core: Core, stored: Stored, item: StoredObject) -> Content:
    moment = timestamp(item.modified)
    fields = {"stored_at": moment, "updated_at": moment}  # no expiry: it is not known
    return Content(item, digest(core, item), 0, _checked(core, stored, item, fields))


def _described(core: Core, stored: Stored, item: StoredObject, description: Description) -> Content:
    """Return a content from its description; raise one of :data:`DAMAGE` if that is invalid."""
    details = description.details
    ttl = details.get("ttl")
    stored_at = details.get("stored-at") or timestamp(item.modified)
    meta: Any = details.get("meta")
    fields = {
        "mime": description.mime or OCTET_STREAM,
        "summary": details.get("summary", ""),
        "meta": {} if meta is None or "meta" in description.cut else decode(meta),
        "filename": details.get("filename"),
        "stored_at": stored_at,
        "updated_at": details.get("updated-at", stored_at),
        "expires_at": details.get("expires-at"),
        "ttl": None if ttl is None else float(ttl),
    }
    record = _checked(core, stored, item, fields)
    sha256 = details.get("sha256", "")
    is_of_these = details.get("bytes", str(item.bytes)) == str(item.bytes)
    keep_versions = details.get("keep-versions")
    return Content(
        item,
        sha256 if is_of_these and _SHA256(sha256) else digest(core, item),
        _count(details.get("revision")),
        record,
        details.get("user"),
        None if keep_versions is None else _count(keep_versions),
        details.get("inherits") == "1",
        not description.cut & _CUT_DETAILS,
    )


def _count(text: str | None) -> int:
    number = 0 if text is None else int(text)
    if not 0 <= number <= LARGEST:
        raise ValueError(f"a count is {number}")
    return number


def _checked(core: Core, stored: Stored, item: StoredObject, fields: Mapping[str, object]) -> ArtifactMetadata:
    """Return a record, checked as those that come from a catalog; raise one of :data:`DAMAGE`."""
    values = {  # in the order in which the catalogs know a usual record by its end
        "artifact_id": stored.artifact_id,
        "session_id": stored.session_id,
        "sandbox_id": core.settings.sandbox_id,
        "key": item.key,
        "mime": OCTET_STREAM,
        "summary": "",
        "meta": {},
        "filename": None,
        "bytes": item.bytes,
        "sha256": "0" * 64,
        "stored_at": "",
        "updated_at": "",
        "expires_at": None,
        "ttl": None,
        "revision": 1,
        "storage_provider": core.storage.provider,
        "session_provider": core.catalog.provider,
        "superseded": [],
        "released": False,
        "pending": None,
        **fields,
    }
    return ArtifactMetadata.checked(values)


def digest(core: Core, item: StoredObject) -> str:
    """Return the SHA-256 of an object, from its bytes."""
    if item.bytes <= CHUNK_SIZE:
        return hashlib.sha256(core.storage.get(item.key)).hexdigest()
    found = hashlib.sha256()
    with core.storage.open(item.key, item.bytes) as file:
        while chunk := file.read(CHUNK_SIZE):
            found.update(chunk)
    return found.hexdigest()


def _in_order(contents: Sequence[Content]) -> list[Content]:
    """Return contents in the order of their revisions, or by age if some are not known; of equal ones the last."""
    if len(contents) == 1:
        return [contents[0] if contents[0].revision else contents[0]._replace(revision=1)]
    if all(content.revision for content in contents):
        in_order = sorted(contents, key=lambda content: (content.revision, content.object.modified))
        return list({content.revision: content for content in in_order}.values())
    by_age = sorted(contents, key=lambda content: (content.object.modified, content.object.key))
    revision, numbered = 0, []
    for content in by_age:
        revision = max(revision + 1, content.revision)
        numbered.append(content._replace(revision=revision))
    return numbered


def _superseded(contents: Sequence[Content], now: float) -> list[Superseded]:
    """Return the contents but for the last as earlier ones."""
    return [
        Superseded(
            one.object.key,
            timestamp(now + GRACE_SECONDS),
            one.object.bytes,
            False,
            one.revision,
            following.revision - 1,
            one.sha256,
            one.record.mime,
            one.record.filename,
            one.record.updated_at,
        )
        for one, following in pairwise(contents)
    ]


def rebuilt(core: Core, contents: Sequence[Content], ttls: Mapping[str, float | None], now: float) -> ArtifactMetadata:
    """Return the record of an artifact with these contents, of which the last is the current one.

    Args:
        core: the backends.
        contents: one or more contents, oldest first.
        ttls: the ttl of the sessions that have one of their own, in seconds.
        now: the present, in seconds since the epoch.

    """
    last = contents[-1]
    record, keep = last.record, last.keep_versions
    fields: JsonObject = {"sha256": last.sha256, "revision": last.revision}
    if last.revision > 1 or keep is not None:
        fields["origin"] = Origin(last.revision, record.updated_at, keep)
    if len(contents) > 1:
        number = core.settings.keep_versions if keep is None else keep
        fields["superseded"] = retained(_superseded(contents, now), number, timestamp(now))
    if last.inherits and record.session_id in ttls:
        ttl = ttls[record.session_id]
        expires_at = None if ttl is None else timestamp(seconds_of(record.stored_at) + ttl)
        fields |= {"ttl": ttl, "expires_at": expires_at}
    return record.changed(**fields)

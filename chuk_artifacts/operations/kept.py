"""Metadata as an argument: it selects a revision of an artifact, and is not trusted.

It may come from a client's JSON, a queue or a pickle, with any field forged. So it can only narrow what is read: the
store looks the artifact up in the catalog, and uses the catalog's record for everything else. It ignores media type,
filename, expiry and superseded contents of the argument.
"""

from __future__ import annotations

from typing import Self

import attrs

from chuk_artifacts.errors import ArtifactNotFoundError, InvalidInputError, shown
from chuk_artifacts.fields import JsonObject
from chuk_artifacts.models import ArtifactMetadata

_TYPES: dict[str, type] = {
    **dict.fromkeys(("artifact_id", "session_id", "sandbox_id", "key", "sha256"), str),
    **dict.fromkeys(("bytes", "revision"), int),
}


@attrs.frozen
class Kept:
    """The requested content, in values of exact types, as a subclass of ``str`` could override comparison.

    Attributes:
        artifact_id: the artifact.
        session_id: its required session.
        sandbox_id: its required sandbox.
        key: the content's required key.
        bytes: its required length.
        sha256: its required SHA-256.
        revision: the revision that it belongs to.

    """

    artifact_id: str
    session_id: str
    sandbox_id: str
    key: str
    bytes: int
    sha256: str
    revision: int

    @classmethod
    def of(cls, metadata: ArtifactMetadata) -> Self:
        """Return the content that *metadata* requests.

        Raises:
            InvalidInputError: a field is missing or has the wrong type, or the metadata is that of a pending upload.

        """
        fields: JsonObject = vars(metadata)
        for name, kind in _TYPES.items():
            if type(fields.get(name)) is not kind:
                raise InvalidInputError(f"metadata: {name} must be of type {kind.__name__}")
        if fields["revision"] < 1 or fields.get("pending") is not None or fields.get("released", False) is not False:
            raise InvalidInputError("metadata: it does not describe an artifact that can be read")
        return cls(**{name: fields[name] for name in _TYPES})

    def content_of(self, record: ArtifactMetadata) -> ArtifactMetadata:
        """Return the catalog's *record* with the requested content, the latest or an earlier one.

        Where the record of an earlier version of this library lacks the SHA-256 of an earlier content, its bytes are
        verified against the caller's.

        Raises:
            ArtifactNotFoundError: the catalog does not know this content.

        """
        if self.session_id == record.session_id and self.sandbox_id == record.sandbox_id:
            latest = (record.key, record.bytes, record.sha256)
            if self.revision <= record.revision and (self.key, self.bytes, self.sha256) == latest:
                return record
            if self.revision < record.revision:
                for earlier in record.superseded:
                    is_same = (self.key, self.bytes) == (earlier.key, earlier.bytes)
                    if is_same and earlier.sha256 in {"", self.sha256}:
                        return record.changed(key=earlier.key, bytes=earlier.bytes, sha256=self.sha256)
        raise not_kept(self)


def not_kept(wanted: Kept | ArtifactMetadata) -> ArtifactNotFoundError:
    """Return the error for a content that was never stored or is no longer kept."""
    return ArtifactNotFoundError(f"artifact {shown(wanted.artifact_id)}: the bytes of that revision are not kept")

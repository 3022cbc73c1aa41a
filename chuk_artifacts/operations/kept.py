"""Metadata that a caller hands in: it says which content of an artifact is wanted, and is trusted in nothing.

It may come from a client's JSON, a queue or a pickle, and be forged in every field. So it only narrows what is read:
the catalog is asked, and what is read, checked, named and written follows from the catalog's record. Mime, filename,
expiry and the earlier contents that it lists are not looked at.
"""

from __future__ import annotations

from typing import Any, Self

import attrs

from chuk_artifacts.errors import ArtifactNotFoundError, InvalidInputError, shown
from chuk_artifacts.models import ArtifactMetadata

_TYPES: dict[str, type] = {
    **dict.fromkeys(("artifact_id", "session_id", "sandbox_id", "key", "sha256"), str),
    **dict.fromkeys(("bytes", "revision"), int),
}


@attrs.frozen
class Kept:
    """Which content is wanted, in values of plain types: a subclass of ``str`` may compare as it likes.

    Attributes:
        artifact_id: the artifact.
        session_id: the session it has to be of.
        sandbox_id: the sandbox it has to be of.
        key: the key that the content has to have.
        bytes: the length that it has to have.
        sha256: the SHA-256 that it has to have.
        revision: the revision that it is of.

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
        """Return what *metadata* asks for.

        Raises:
            InvalidInputError: a field is missing or of another type, or it is no artifact that it speaks of.

        """
        fields: dict[str, Any] = vars(metadata)
        for name, kind in _TYPES.items():
            if type(fields.get(name)) is not kind:
                raise InvalidInputError(f"metadata: {name} must be of type {kind.__name__}")
        if fields["revision"] < 1 or fields.get("pending") is not None or fields.get("released", False) is not False:
            raise InvalidInputError("metadata: it is not that of an artifact that can be read")
        return cls(**{name: fields[name] for name in _TYPES})

    def content_of(self, record: ArtifactMetadata) -> ArtifactMetadata:
        """Return the catalog's *record* with the content that is wanted, the latest one or one before it.

        Of one before the catalog does not know the SHA-256. It is the caller's, and the bytes are compared with it.

        Raises:
            ArtifactNotFoundError: the catalog knows no such content of the artifact.

        """
        if self.session_id == record.session_id and self.sandbox_id == record.sandbox_id:
            latest = (record.key, record.bytes, record.sha256)
            if self.revision <= record.revision and (self.key, self.bytes, self.sha256) == latest:
                return record
            if self.revision < record.revision:
                for earlier in record.superseded:
                    if (self.key, self.bytes) == (earlier.key, earlier.bytes):
                        return record.changed(key=earlier.key, bytes=earlier.bytes, sha256=self.sha256)
        raise not_kept(self)


def not_kept(wanted: Kept | ArtifactMetadata) -> ArtifactNotFoundError:
    """Return the error of a content that is not there, or not any more."""
    return ArtifactNotFoundError(f"artifact {shown(wanted.artifact_id)}: the bytes of that revision are not kept")

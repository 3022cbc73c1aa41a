"""Forged metadata: that of an artifact the attacker may read, with fields changed to reach another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chuk_artifacts import ArtifactMetadata
from chuk_artifacts.models import Pending, Superseded, timestamp

LATER = timestamp(4_000_000_000)
"""A moment after the end of every test."""


class Equal(str):
    """A string that equals every other."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        """Return True."""
        return True

    def __ne__(self, other: object) -> bool:
        """Return False."""
        return False

    def __hash__(self) -> int:
        """Return the hash of the text."""
        return str.__hash__(self)


def pending_forms(own: ArtifactMetadata, victim: ArtifactMetadata) -> Iterator[ArtifactMetadata]:
    """Yield metadata of uploads that do not exist."""
    upload = Pending(LATER, True, None)
    fields: dict[str, Any] = {"pending": upload, "revision": 0, "expires_at": LATER}
    yield own.changed(**fields, key=victim.key)
    yield own.changed(**fields, key=f"{victim.key}~upload")
    yield own.changed(**{**fields, "revision": own.revision}, key=victim.key, bytes=victim.bytes, sha256=victim.sha256)
    yield victim.changed(**fields, session_id=own.session_id)
    yield victim.changed(
        **fields,
        session_id=own.session_id,
        sandbox_id=victim.sandbox_id,
        mime="text/html\r\nSet-Cookie: a=b",
        filename="../../x\0",
        superseded=(Superseded(victim.key, LATER, 1), Superseded("signing.key", LATER, 1)),
    )


def forgeries(own: ArtifactMetadata, victim: ArtifactMetadata) -> Iterator[ArtifactMetadata]:
    """Yield metadata that an attacker, who may read *own*, can forge to reach *victim*."""
    yield victim
    yield victim.changed(session_id=own.session_id)
    yield victim.changed(sandbox_id=own.sandbox_id)
    yield victim.changed(sandbox_id=own.sandbox_id, session_id=own.session_id)
    content = {"key": victim.key, "bytes": victim.bytes, "sha256": victim.sha256}
    yield own.changed(**content)
    yield own.changed(**content, revision=own.revision - 1 or 1)
    yield own.changed(**content, superseded=(Superseded(victim.key, LATER, victim.bytes),))
    yield own.changed(**content, session_id=victim.session_id, sandbox_id=victim.sandbox_id)
    for key in ("signing.key", "catalog.sqlite3", "../signing.key", f"{own.key}/../{victim.key}", f"{own.key}~2", ""):
        yield own.changed(key=key)
    for name in ("artifact_id", "session_id", "sandbox_id", "key", "sha256"):
        yield own.changed(**{**content, name: Equal(getattr(victim, name))})
        yield own.changed(**{name: Equal(getattr(own, name))}, released=True)
        for wrong in (None, 0, True, b"", [], {}, ()):
            yield own.changed(**{name: wrong})
    for name in ("bytes", "revision"):
        for wrong in (None, True, 1.0, -1, 2**63, "1", [], own.revision + own.bytes + 1):
            yield own.changed(**{name: wrong})
    yield own.changed(released=True)
    yield object.__new__(ArtifactMetadata)
    yield from pending_forms(own, victim)

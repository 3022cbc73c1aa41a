"""HMAC-signed URLs that expire: make and check.

The signature covers the method, the sandbox, the path (the artifact id) and the literal query of the URL: expiry,
content type and size limit. A check therefore also refuses every other spelling of the same values. The query needs no
percent-encoding (RFC 3986 section 2.3), because some HTTP clients encode a URL again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from chuk_artifacts.errors import AccessDeniedError

DOWNLOAD, UPLOAD = "GET", "PUT"
ARCHIVE = "archive"
"""The last segment of an archive's URL, in place of an artifact id, and what it is signed for."""

_SCHEME = "chuk-artifacts-1"
_ARTIFACT = r"[0-9a-f]{32}"
_EXPIRES = r"expires=(?P<expires>[0-9]{1,12}\.[0-9]{3})"
_SIGNATURE = r"&signature=(?P<signature>[A-Za-z0-9_-]{43})"
_ARCHIVE_QUERY = (
    rf"(?P<signed>{_EXPIRES}&session=(?P<session>[A-Za-z0-9_-]+)(&prefix=(?P<prefix>[A-Za-z0-9_-]+))?){_SIGNATURE}"
)
_QUERY = (
    rf"(?P<signed>{_EXPIRES}(&type=(?P<type>[A-Za-z0-9_-]+))?(&max=(?P<max>[0-9]+))?"
    rf"(&revision=(?P<revision>[0-9]{{1,19}}))?){_SIGNATURE}"
)


class Grant(NamedTuple):
    """What a URL allows.

    Attributes:
        artifact_id: the artifact to download, or to make of an upload.
        mime: the content type that an upload must have; None: any, and for downloads.
        max_bytes: the greatest length of an upload in bytes; None: any.
        revision: the revision to download; None: the latest, and for uploads.

    """

    artifact_id: str
    mime: str | None = None
    max_bytes: int | None = None
    revision: int | None = None


class ArchiveGrant(NamedTuple):
    """What the URL of an archive allows.

    Attributes:
        session_id: the session whose artifacts are in the archive.
        prefix: the beginning of their filenames.

    """

    session_id: str
    prefix: str = ""


class Signer:
    """Signs the URLs of one sandbox, and checks them.

    Its only state is its keys; any number of threads may use it.

    Args:
        keys: secrets. The first key signs; a signature by any key is accepted, for rotation.
        sandbox_id: the namespace of the artifacts.

    """

    def __init__(self, keys: Sequence[str], sandbox_id: str) -> None:
        """Hash the keys once, for all signatures."""
        self._sandbox_id = sandbox_id
        self._keys = [hmac.new(key.encode(), digestmod=hashlib.sha256) for key in keys]

    def sign(self, method: str, grant: Grant, expires_at: float) -> str:
        """Return the last segment and the query of a URL.

        Args:
            method: ``DOWNLOAD`` or ``UPLOAD``.
            grant: what the URL allows.
            expires_at: when the URL expires, in seconds since the epoch.

        Returns:
            ``{artifact_id}?expires=…&signature=…``, which follows the gateway's URL and a slash.

        """
        query = _ending(expires_at)
        if grant.mime is not None:
            query += f"&type={_encoded(grant.mime.encode())}"
        if grant.max_bytes is not None:
            query += f"&max={grant.max_bytes}"
        if grant.revision is not None:
            query += f"&revision={grant.revision}"
        return self._signed(method, grant.artifact_id, query)

    def sign_archive(self, grant: ArchiveGrant, expires_at: float) -> str:
        """Return the last segment and the query of the URL of an archive, as :meth:`sign` does for an artifact."""
        query = f"{_ending(expires_at)}&session={_encoded(grant.session_id.encode())}"
        if grant.prefix:
            query += f"&prefix={_encoded(grant.prefix.encode())}"
        return self._signed(ARCHIVE, ARCHIVE, query)

    def _signed(self, method: str, path: str, query: str) -> str:
        return f"{path}?{query}&signature={self._signature(self._keys[0], method, path, query)}"

    def check(self, method: str, path: str, query: str, now: float) -> Grant:
        """Return what a URL allows.

        Args:
            method: ``DOWNLOAD`` or ``UPLOAD``.
            path: the last segment of the URL, decoded.
            query: the query of the URL, as it was received.
            now: the present, in seconds since the epoch.

        Returns:
            the grant that was signed.

        Raises:
            AccessDeniedError: none of the keys signed this, or the URL has expired. The message is the same for both.

        """
        parts = self._checked(_QUERY, method, path, query, now)
        if re.fullmatch(_ARTIFACT, path) is None:
            raise _refused()
        return Grant(
            path,
            mime=None if parts["type"] is None else _decoded(parts["type"]).decode(),
            max_bytes=None if parts["max"] is None else int(parts["max"]),
            revision=None if parts["revision"] is None else int(parts["revision"]),
        )

    def check_archive(self, query: str, now: float) -> ArchiveGrant:
        """Return what the URL of an archive allows; raises as :meth:`check`.

        Args:
            query: the query of the URL, as it was received.
            now: the present, in seconds since the epoch.

        """
        parts = self._checked(_ARCHIVE_QUERY, ARCHIVE, ARCHIVE, query, now)
        return ArchiveGrant(_decoded(parts["session"]).decode(), _decoded(parts["prefix"] or "").decode())

    def _checked(self, form: str, method: str, path: str, query: str, now: float) -> re.Match[str]:
        """Return the parts of a query, which has this form, was signed and has not expired."""
        parts = re.fullmatch(form, query)
        if parts is None or not self._is_signed(method, path, parts) or float(parts["expires"]) <= now:
            raise _refused()
        return parts

    def _is_signed(self, method: str, path: str, parts: re.Match[str]) -> bool:
        signature = parts["signature"]
        return any(
            hmac.compare_digest(signature, self._signature(key, method, path, parts["signed"])) for key in self._keys
        )

    def _signature(self, key: hmac.HMAC, method: str, artifact_id: str, query: str) -> str:
        """Sign lines of text. No value can contain the end of a line, so two grants never sign the same text."""
        digest = key.copy()
        digest.update(f"{_SCHEME}\n{method}\n{self._sandbox_id}\n{artifact_id}\n{query}".encode())
        return _encoded(digest.digest())


def _ending(expires_at: float) -> str:
    return f"expires={math.floor(expires_at * 1000) / 1000:.3f}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refused() -> AccessDeniedError:
    return AccessDeniedError("the URL is not signed, altered or expired")

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

_SCHEME = "chuk-artifacts-1"
_ARTIFACT = r"[0-9a-f]{32}"
_QUERY = (
    r"(?P<signed>expires=(?P<expires>[0-9]{1,12}\.[0-9]{3})(&type=(?P<type>[A-Za-z0-9_-]+))?(&max=(?P<max>[0-9]+))?"
    r"(&revision=(?P<revision>[0-9]{1,19}))?)"
    r"&signature=(?P<signature>[A-Za-z0-9_-]{43})"
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
        query = f"expires={math.floor(expires_at * 1000) / 1000:.3f}"
        if grant.mime is not None:
            query += f"&type={_encoded(grant.mime.encode())}"
        if grant.max_bytes is not None:
            query += f"&max={grant.max_bytes}"
        if grant.revision is not None:
            query += f"&revision={grant.revision}"
        signature = self._signature(self._keys[0], method, grant.artifact_id, query)
        return f"{grant.artifact_id}?{query}&signature={signature}"

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
        parts = re.fullmatch(_QUERY, query)
        if parts is None or re.fullmatch(_ARTIFACT, path) is None or not self._is_signed(method, path, parts):
            raise _refused()
        if float(parts["expires"]) <= now:
            raise _refused()
        return Grant(
            path,
            mime=None if parts["type"] is None else _decoded(parts["type"]).decode(),
            max_bytes=None if parts["max"] is None else int(parts["max"]),
            revision=None if parts["revision"] is None else int(parts["revision"]),
        )

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


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refused() -> AccessDeniedError:
    return AccessDeniedError("the URL is not signed, altered or expired")

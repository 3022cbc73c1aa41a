"""AWS Signature Version 4 of a request to S3, with the signing key of the day kept.

Its definition: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import attrs

ALGORITHM = "AWS4-HMAC-SHA256"


@attrs.frozen
class Scope:
    """Where a signature is valid.

    Attributes:
        region: the region of the service.
        service: the name of the service, ``s3`` as a rule.

    """

    region: str
    service: str


@attrs.frozen
class Signable:
    """What a signature covers.

    Attributes:
        method: the method.
        path: the path of the URL, percent-encoded.
        query: the query of the URL, percent-encoded and sorted.
        headers: the headers by their names in lower case, ``host`` and ``x-amz-date`` among them.
        payload: the SHA-256 of the body in hex, or the word that stands for it.

    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    payload: str


class Signer:
    """Signs requests; one serves all threads."""

    def __init__(self) -> None:
        """Keep no key yet."""
        self._kept: tuple[tuple[str, ...], bytes] = ((), b"")

    def authorization(self, request: Signable, scope: Scope, access_key: str, secret_key: str) -> str:
        """Return the header ``Authorization`` of a request."""
        headers = request.headers
        names = sorted(headers)
        signed = ";".join(names)
        lines = "".join([f"{name}:{' '.join(headers[name].split())}\n" for name in names])
        canonical = f"{request.method}\n{request.path}\n{request.query}\n{lines}\n{signed}\n{request.payload}"
        moment = headers["x-amz-date"]
        day = moment[:8]
        where = f"{day}/{scope.region}/{scope.service}/aws4_request"
        text = f"{ALGORITHM}\n{moment}\n{where}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = _hmac(self._key(secret_key, day, scope.region, scope.service), text).hex()
        return f"{ALGORITHM} Credential={access_key}/{where}, SignedHeaders={signed}, Signature={signature}"

    def _key(self, secret_key: str, *parts: str) -> bytes:
        """Return the signing key; the last one is kept, with what it was made of in the same tuple."""
        wanted = (secret_key, *parts)
        kept, key = self._kept
        if kept != wanted:
            key = f"AWS4{secret_key}".encode()
            for part in (*parts, "aws4_request"):
                key = _hmac(key, part)
            self._kept = (wanted, key)
        return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")

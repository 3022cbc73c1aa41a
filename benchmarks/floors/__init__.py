"""The bare calls under a verb: what it could cost at least. One module a backend."""

from __future__ import annotations

import hashlib
import hmac

RECORD = "r" * 700  # about as long as a record in JSON
_KEY = b"k" * 64


def bare_signature(name: str) -> str:
    """Return a URL with an HMAC of it."""
    path = f"/v1/download/{name}?expires=1900000000"
    return f"http://localhost{path}&signature={hmac.digest(_KEY, path.encode(), hashlib.sha256).hex()}"

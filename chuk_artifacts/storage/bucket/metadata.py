"""Objects that describe themselves: the content type and user metadata that go with each write."""

from __future__ import annotations

from chuk_artifacts.storage.bucket.answers import Answer
from chuk_artifacts.storage.description import LIMIT, Description, pack, unpack

SIGNATURE = "write"
"""The user metadata that lets a write recognize its own object."""

_RESERVED_BYTES = 128  # for the signature, and the names of what was cut


def describe(description: Description | None, signature: str = "") -> dict[str, object]:
    """Return the arguments of a write that make the object describe itself."""
    signed = {SIGNATURE: signature} if signature else {}
    if description is None:
        return {"Metadata": signed} if signed else {}
    return {
        "ContentType": description.mime,
        "Metadata": {**pack(description, LIMIT - _RESERVED_BYTES), **signed},
    }


def described(stored: Answer) -> Description | None:
    """Return the description in the answer to a HEAD request; None if it has no metadata of ours."""
    metadata = {name: value for name, value in stored.get("Metadata", {}).items() if name.lower() != SIGNATURE}
    return unpack(metadata, stored.get("ContentType", "")) if metadata else None
